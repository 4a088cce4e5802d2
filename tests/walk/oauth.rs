//! Accounts that are signed in.

use std::sync::atomic::Ordering::SeqCst;

use omniroute_testkit::admin::Admin;
use omniroute_testkit::gateway::{Builder, Gateway};
use serde_json::json;

use super::area::{Area, text};
use super::call::Call;
use crate::common::authorization::AuthorizationServer;
use crate::common::engine::Schema;
use crate::common::{calm, chat};

const GET: &str = "GET /api/oauth/{provider}/{action}";
const POST: &str = "POST /api/oauth/{provider}/{action}";

pub fn gateway() -> Builder {
    calm()
}

/// A gateway that knows one server, `acme`, for the accounts of its node `signed`, whose upstream is the area's `a`.
pub struct Place {
    pub gateway: Gateway,
    pub admin: Admin,
    pub server: AuthorizationServer,
    pub node: String,
    _file: tempfile::TempDir,
    _schema: Option<Schema>,
}

impl Place {
    /// Open it beside the area's own gateway, on a new database of the same kind.
    pub async fn open(area: &Area) -> Option<Self> {
        let server = AuthorizationServer::start().await;
        let file = tempfile::tempdir().expect("a folder");
        let path = file.path().join("oauth.toml");
        std::fs::write(&path, server.entry("acme", "signed")).expect("a file");
        let (builder, schema) = area.engine.fresh(calm().set("oauth.file", &path.display().to_string()))?;
        let gateway = builder.start().await;
        let admin = gateway.admin().await;
        let node = admin.create_node("signed", &area.site.a.base_url()).await;
        Some(Self { gateway, admin, server, node, _file: file, _schema: schema })
    }

    /// Ask a model of the account; what the provider was sent as its key.
    pub async fn serves(&self, area: &Area) -> (u16, Option<String>) {
        let answer = self.gateway.ask(&chat("signed/m", false)).await;
        (answer.status(), area.site.a.control.requests().pop().map(|asked| asked.key))
    }

    fn call<'a>(&'a self, area: &'a Area, operation: &'static str, action: &str) -> Call<'a> {
        area.call(operation).within(&self.gateway, &self.admin).at("acme").at(action)
    }
}

pub async fn walk(area: &Area) {
    let Some(place) = Place::open(area).await else { return };
    let connection = signed_in(area, &place).await;
    refreshed(area, &place, &connection).await;
    let post = |action: &str| place.call(area, POST, action);
    place.call(area, GET, "dance").says(400).await;
    post("dance").says(400).await;
    post("refresh").json(json!({"connectionId": "nobody"})).says(404).await;
    for call in [GET, POST] {
        area.call(call).at("nobody").at("authorize").says(404).await;
        area.call(call).at("gitlab").at("authorize").says(409).await;
    }
    place.server.state.is_down.store(true, SeqCst);
    place.call(area, GET, "device-code").says(502).await;
    post("client-credentials").says(502).await;
}

/// The code that a browser brought back ends the sign-in once, for who began it.
async fn signed_in(area: &Area, place: &Place) -> String {
    let begun = place.call(area, GET, "authorize").says(200).await;
    let code = format!("code.{}", text(&begun["codeChallenge"]));
    let back = json!({"code": code, "state": begun["state"]});
    let stranger = place.gateway.admin().await;
    let exchange = area.call(POST).at("acme").at("exchange");
    exchange.within(&place.gateway, &stranger).json(back.clone()).says(400).await;
    let made = place.call(area, POST, "exchange").json(back.clone()).says(200).await;
    area.expect("the account serves", place.serves(area).await, (200, Some("at1".to_owned())));
    place.call(area, POST, "exchange").json(back).says(400).await;
    text(&made["connection"]["id"]).to_owned()
}

async fn refreshed(area: &Area, place: &Place, connection: &str) {
    let refresh = || place.call(area, POST, "refresh").json(json!({"connectionId": connection}));
    refresh().says(200).await;
    area.expect("the next token", place.serves(area).await, (200, Some("at2".to_owned())));
    place.server.accepts(90);
    refresh().says(401).await;
    // A provider at another place gets none of it: the account is signed out.
    let moved = json!({"providerSpecificData": {"baseUrl": area.site.b.base_url()}});
    let put = area.call("PUT /api/providers/{id}").within(&place.gateway, &place.admin).at(connection);
    put.json(moved).says(200).await;
    refresh().says(422).await;
}
