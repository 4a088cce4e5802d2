//! Another instance's configuration, and what clients that keep their settings alike ask.

use std::sync::atomic::Ordering::SeqCst;

use omniroute::infra::crypto::Vault;
use omniroute::infra::sync::{Wish, seal};
use omniroute::store::Held;
use omniroute_testkit::gateway::Builder;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::area::Area;
use super::oauth::Place;
use crate::common::scripted::{Asked, Scripted};
use crate::common::calm;

const SHARED: &str = "a key that both operators share, long enough";

pub fn gateway() -> Builder {
    calm()
}

pub async fn walk(area: &Area) {
    alone(area).await;
    for_clients(area).await;
    for_managers(area).await;
    for_accounts(area).await;
    together(area).await;
}

/// Without a peer everything says so.
async fn alone(area: &Area) {
    let shown = area.call("GET /api/sync/cloud").says(200).await;
    let told = area.call("GET /api/sync/initialize").says(200).await;
    area.expect("no peer", (&shown["enabled"], &told["initialized"]), (&json!(false), &json!(false)));
    area.call("POST /api/sync/cloud").json(json!({"action": "dance"})).says(400).await;
    area.call("POST /api/sync/cloud").json(json!({"action": "enable"})).says(400).await;
    area.call("POST /api/sync/initialize").says(400).await;
    area.call("POST /api/sync/cloud").json(json!({"action": "disable"})).says(200).await;
}

async fn for_clients(area: &Area) {
    let own = &area.site.at_b.connections[0];
    let narrow = area.site.admin.create_key_with(&json!({"name": "narrow", "allowedConnections": [own]})).await.key;
    let all = area.call("POST /api/cloud/auth").says(200).await;
    let some = area.call("POST /api/cloud/auth").by(&narrow).says(200).await;
    area.expect("the service key sees both", all["connections"].as_array().map(Vec::len), Some(2));
    area.expect("a narrow one its own", some["connections"].as_array().map(Vec::len), Some(1));
    area.expect("and only that", &some["connections"][0]["id"], &json!(own));
    area.expect("no end of a credential", &all["connections"][0]["maskedApiKey"], &Value::Null);

    area.call("PUT /api/cloud/models/alias").json(json!({"alias": "near", "model": "a/m"})).says(200).await;
    area.call("PUT /api/cloud/models/alias").json(json!({"alias": "near"})).says(400).await;
    let listed = area.call("GET /api/cloud/models/alias").says(200).await;
    area.expect("an alias is listed", &listed["aliases"]["near"], &json!("a/m"));
    let resolve = || area.call("POST /api/cloud/model/resolve");
    let found = resolve().json(json!({"alias": "near"})).says(200).await;
    area.expect("and leads on", &found["model"], &json!("m"));
    let fields = json!({"name": "elsewhere", "allowedModels": ["b/*"]});
    let elsewhere = area.site.admin.create_key_with(&fields).await.key;
    let none = area.call("GET /api/cloud/models/alias").by(&elsewhere).says(200).await;
    area.expect("names of models that are not its own", &none["aliases"], &json!({}));
    resolve().json(json!({"alias": "near"})).by(&elsewhere).says(404).await;
    resolve().json(json!({})).says(400).await;
    resolve().json(json!({"alias": "nothing"})).says(404).await;
}

async fn for_managers(area: &Area) {
    for update in ["POST /api/cloud/credentials/update", "PUT /api/cloud/credentials/update"] {
        let send = |body: Value| area.call(update).json(body);
        let key = format!("sk-by-{}", &update[..3]);
        send(json!({"provider": area.site.at_a.node, "credentials": {"accessToken": key}})).says(200).await;
        area.asks("a/m", 200).await;
        let sent = area.site.a.control.requests().pop().map(|asked| asked.key);
        area.expect("the new credential is used", sent, Some(key));
        send(json!({"provider": area.site.at_a.node, "credentials": {}})).says(400).await;
        send(json!({"provider": "mistral", "credentials": {"accessToken": "x"}})).says(404).await;
    }
}

/// What is brought for an account that is signed in is used at once, and what is not brought stays.
async fn for_accounts(area: &Area) {
    let Some(place) = Place::open(area).await else { return };
    let tokens = json!({"accessToken": "at-old", "refreshToken": "rt7", "email": "ann@acme.example"});
    place.admin.post("/api/oauth/acme/import", &tokens).await;
    area.expect("the account serves", place.serves(area).await, (200, Some("at-old".to_owned())));

    let send = |operation: &'static str, tokens: Value| {
        let call = area.call(operation).within(&place.gateway, &place.admin);
        call.json(json!({"provider": place.node, "credentials": tokens}))
    };
    let told = area.call("POST /api/cloud/auth").within(&place.gateway, &place.admin).says(200).await;
    area.expect("a token is told of", &told["connections"][0]["hasRefreshToken"], &json!(true));
    for operation in ["POST /api/cloud/credentials/update", "PUT /api/cloud/credentials/update"] {
        let access = format!("at-by-{}", &operation[..3]);
        send(operation, json!({"accessToken": access, "expiresIn": 3_600})).says(200).await;
        area.expect("the new token is used", place.serves(area).await, (200, Some(access)));
        send(operation, json!({"expiresIn": 3_600})).says(400).await;
    }
    place.server.accepts(7);
    send("PUT /api/cloud/credentials/update", json!({"refreshToken": "rt7"})).says(200).await;
    area.expect("a refresh token is proved", place.serves(area).await, (200, Some("at8".to_owned())));
    place.server.state.is_down.store(true, SeqCst);
    for operation in ["POST /api/cloud/credentials/update", "PUT /api/cloud/credentials/update"] {
        send(operation, json!({"refreshToken": "rt8"})).says(502).await;
    }
    let shown = place.admin.get("/api/providers").await;
    area.expect("whose it is stays known", &shown["connections"][0]["email"], &json!("ann@acme.example"));
}

/// A peer that answers as the path of its address says.
async fn together(area: &Area) {
    let peer = Scripted::start(|nth, asked| match asked.path.starts_with("/down") {
        true => (503, String::new()),
        false => (200, envelope(nth, asked)),
    });
    let peer = peer.await;
    let Some((builder, _schema)) = area.engine.fresh(reader(&peer.url("/good"))) else { return };
    let reader_of = builder.start().await;
    let admin = reader_of.admin().await;
    let sync = |call: &'static str| area.call(call).within(&reader_of, &admin);

    sync("POST /api/sync/initialize").says(200).await;
    sync("POST /api/sync/cloud").json(json!({"action": "enable"})).says(200).await;
    let done = sync("POST /api/sync/cloud").json(json!({"action": "sync"})).says(200).await;
    let shown = sync("GET /api/sync/cloud").says(200).await;
    area.expect("what was fetched is in force", (&done["success"], &shown["connected"]), (&json!(true), &json!(true)));
    // The peer's clock runs backwards: what it makes now is older than what was taken.
    sync("POST /api/sync/cloud").json(json!({"action": "sync"})).says(409).await;

    let Some((builder, _schema)) = area.engine.fresh(reader(&peer.url("/down"))) else { return };
    let lonely = builder.start().await;
    let admin = lonely.admin().await;
    area.call("POST /api/sync/initialize").within(&lonely, &admin).says(502).await;
    area.call("POST /api/sync/cloud").within(&lonely, &admin).json(json!({"action": "sync"})).says(502).await;
}

fn reader(peer: &str) -> Builder {
    calm()
        .set("sync.peer_url", peer)
        .set("sync.peer_token", "a token")
        .set("sync.shared_key", SHARED)
        .set("upstream.allow_http", "true")
}

/// An empty configuration, signed; each is a second older than the one before.
fn envelope(nth: usize, asked: &Asked) -> String {
    let nonce = asked.path.split_once("nonce=").map(|(_, nonce)| nonce.to_owned()).unwrap_or_default();
    let shared = Vault::shared(&SecretString::from(SHARED));
    let at = jiff::Timestamp::now().as_millisecond() - i64::try_from(nth).unwrap_or_default() * 60_000;
    let wish = Wish { instance: "peer".into(), at, nonce, shared: Some(&shared), with_credentials: false };
    let sealed = seal(Held::default(), wish).expect("an envelope");
    serde_json::to_string(&sealed).expect("an envelope")
}
