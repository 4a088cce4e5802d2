//! Signing in with an account of a provider, against one that does everything right or one thing wrong.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::{App, HttpResponse, HttpServer, web};
use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::EcdsaKeyPair;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::auth::id_token::forge;
use crate::routes::testing::{PASSWORD, bare, site};

/// What the provider will say to the next code.
#[derive(Clone, Default)]
struct Script {
    challenge: String,
    header: Value,
    claims: Value,
}

struct Provider {
    issuer: String,
    script: Arc<ArcSwap<Script>>,
}

/// A provider on a port of its own, for as long as the test's runtime lives.
fn provider() -> Provider {
    let (pair, script) = (Arc::new(forge::pair()), Arc::new(ArcSwap::from_pointee(Script::default())));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}/realm", listener.local_addr().unwrap());
    let (of_provider, of_script) = (issuer.clone(), script.clone());
    let app = move || {
        App::new()
            .app_data(web::Data::new((of_provider.clone(), pair.clone(), of_script.clone())))
            .route("/realm/.well-known/openid-configuration", web::get().to(discovery))
            .route("/realm/jwks", web::get().to(jwks))
            .route("/realm/token", web::post().to(token))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap().run();
    actix_web::rt::spawn(server);
    Provider { issuer, script }
}

type Shared = web::Data<(String, Arc<EcdsaKeyPair>, Arc<ArcSwap<Script>>)>;

async fn discovery(shared: Shared) -> HttpResponse {
    let issuer = &shared.0;
    HttpResponse::Ok().json(json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
    }))
}

async fn jwks(shared: Shared) -> HttpResponse {
    HttpResponse::Ok().json(forge::published(&shared.1))
}

async fn token(shared: Shared, form: web::Form<HashMap<String, String>>) -> HttpResponse {
    let script = shared.2.load();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(form["code_verifier"].as_bytes()));
    if challenge != script.challenge || form["code"] != "the code" || !form["redirect_uri"].ends_with("/callback") {
        return HttpResponse::BadRequest().json(json!({"error": "invalid_grant"}));
    }
    HttpResponse::Ok().json(json!({"id_token": forge::signed(&shared.1, &script.header, &script.claims)}))
}

/// Sign in with this token and this state; the answer's status, who it is, and what was written down.
async fn sign_in(change: impl Fn(&mut Script), state: Option<&str>) -> (u16, Value, Vec<String>) {
    let provider = provider();
    let issuer = provider.issuer.clone();
    let bed = bare(move |config| {
        config.server.public_url = "http://gw.example".into();
        (config.oidc.issuer, config.oidc.client_id) = (issuer, "gateway".into());
        config.oidc.operators = vec!["ops".into()];
    })
    .await;
    bed.management.admin.setup_token(Some(&PASSWORD.into())).await.unwrap();
    let site = site(bed).await;
    let sent = site.send("GET", "/api/auth/oidc/login", None, &[]).await;
    assert_eq!(sent.status, 302, "{}", sent.text);
    let cookie = sent.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let asked: HashMap<String, String> =
        Url::parse(sent.header("location").unwrap()).unwrap().query_pairs().into_owned().collect();
    let now = site.bed.app.clock.wall().0 / 1_000;
    let mut script = Script {
        challenge: asked["code_challenge"].clone(),
        header: json!({"alg": "ES256", "kid": "k"}),
        claims: json!({
            "iss": provider.issuer, "aud": "gateway", "sub": "ada", "email": "ada@example.org", "groups": ["ops"],
            "nonce": asked["nonce"], "exp": now + 300, "iat": now,
        }),
    };
    change(&mut script);
    provider.script.store(Arc::new(script));

    let back = format!("/api/auth/oidc/callback?code=the%20code&state={}", state.unwrap_or(&asked["state"]));
    let answer = site.send("GET", &back, None, &[("cookie", &cookie)]).await;
    if answer.status == 200 {
        site.keep_cookie(&answer);
    }
    let status = site.ask("GET", "/api/auth/status", None).await.json();
    let log = site.bed.app.store.audit().list(5).await.unwrap();
    (answer.status, status, log.into_iter().map(|row| row.action).collect())
}

#[actix_web::test]
async fn an_account_of_the_provider_signs_in_with_the_role_of_its_claim() {
    let (status, who, log) = sign_in(|_| (), None).await;

    assert_eq!((status, &who["role"]), (200, &json!("operator")));
    assert_eq!(who["user"], json!("oidc:ada (ada@example.org)"));
    assert_eq!(log[0], "auth.login.success");
}

#[actix_web::test]
async fn whatever_does_not_fit_signs_nobody_in() {
    type Change = fn(&mut Script);
    let wrong: [(&str, Change); 7] = [
        ("nonce", |script| script.claims["nonce"] = json!("another")),
        ("audience", |script| script.claims["aud"] = json!("another")),
        ("issuer", |script| script.claims["iss"] = json!("https://another")),
        ("expired", |script| script.claims["exp"] = json!(1)),
        ("alg none", |script| script.header = json!({"alg": "none"})),
        ("verifier", |script| script.challenge = "another".into()),
        ("role", |script| script.claims["groups"] = json!(["nobody"])),
    ];

    for (what, change) in wrong {
        let (status, who, log) = sign_in(change, None).await;
        assert_eq!((status, &who["authenticated"]), (401, &json!(false)), "{what}");
        assert_eq!(log[0], "auth.oidc.failed", "{what}");
    }
    let (status, who, _) = sign_in(|_| (), Some("forged")).await;
    assert_eq!((status, &who["authenticated"]), (401, &json!(false)));
}

#[actix_web::test]
async fn without_a_provider_there_is_nothing_to_sign_in_with() {
    let site = site(crate::routes::testing::bed().await).await;

    let answers = [
        site.send("GET", "/api/auth/oidc/login", None, &[]).await.status,
        site.send("GET", "/api/auth/oidc/callback?code=x&state=y", None, &[]).await.status,
    ];

    assert_eq!(answers, [400, 400]);
}
