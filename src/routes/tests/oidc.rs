//! Signing in with an account of a provider, against one that does everything right or one thing wrong.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_http::Request;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, web};
use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::EcdsaKeyPair;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::auth::id_token::forge;
use crate::config::Config;
use crate::routes::api::recheck_accounts;
use crate::routes::testing::{Answer, Answering, Bed, PASSWORD, Site, bare, site};

/// What the provider will say to the next code.
#[derive(Clone, Default)]
struct Script {
    challenge: String,
    header: Value,
    claims: Value,
    /// What a renewal answers; nothing: no token that renews is given.
    renewal: Option<Renewal>,
}

#[derive(Clone)]
enum Renewal {
    /// With an ID token of these claims.
    Says(Value),
    /// Without one, and these from the page about the user.
    Tells(Value),
    Refuses,
    IsAway,
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
            .route("/realm/user", web::get().to(user))
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
        "userinfo_endpoint": format!("{issuer}/user"),
    }))
}

async fn jwks(shared: Shared) -> HttpResponse {
    HttpResponse::Ok().json(forge::published(&shared.1))
}

async fn token(shared: Shared, form: web::Form<HashMap<String, String>>) -> HttpResponse {
    let script = shared.2.load();
    let signed = |claims: &Value| forge::signed(&shared.1, &script.header, claims);
    if form["grant_type"] == "refresh_token" {
        assert!(form["refresh_token"].starts_with("renews"), "{form:?}");
        return match &script.renewal {
            Some(Renewal::Says(claims)) => {
                HttpResponse::Ok().json(json!({"id_token": signed(claims), "refresh_token": "renews again"}))
            }
            Some(Renewal::Tells(_)) => HttpResponse::Ok().json(json!({"access_token": "looks"})),
            Some(Renewal::IsAway) => HttpResponse::ServiceUnavailable().finish(),
            Some(Renewal::Refuses) | None => HttpResponse::BadRequest().json(json!({"error": "invalid_grant"})),
        };
    }
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(form["code_verifier"].as_bytes()));
    if challenge != script.challenge || form["code"] != "the code" || !form["redirect_uri"].ends_with("/callback") {
        return HttpResponse::BadRequest().json(json!({"error": "invalid_grant"}));
    }
    let renews = script.renewal.as_ref().map(|_| "renews");
    HttpResponse::Ok().json(json!({"id_token": signed(&script.claims), "refresh_token": renews}))
}

async fn user(shared: Shared, request: HttpRequest) -> HttpResponse {
    match &shared.2.load().renewal {
        Some(Renewal::Tells(claims)) if request.headers().get("authorization").unwrap() == "Bearer looks" => {
            HttpResponse::Ok().json(claims)
        }
        _ => HttpResponse::Unauthorized().finish(),
    }
}

/// A gateway that knows this provider, for changed settings.
async fn bed_at(provider: &Provider, change: impl FnOnce(&mut Config)) -> Bed {
    let issuer = provider.issuer.clone();
    let bed = bare(move |config| {
        config.server.public_url = "http://gw.example".into();
        (config.oidc.issuer, config.oidc.client_id) = (issuer, "gateway".into());
        config.auth.session_idle_s = 7_200;
        config.oidc.operators = vec!["ops".into()];
        change(config);
    })
    .await;
    bed.management.admin.setup_token(Some(&PASSWORD.into())).await.unwrap();
    bed
}

/// Sign in with this token and this state.
async fn enter<S>(site: &Site<S>, provider: &Provider, change: impl Fn(&mut Script), state: Option<&str>) -> Answer
where
    S: Service<Request, Response = ServiceResponse<Answering>, Error = Error>,
{
    let sent = site.send("GET", "/api/auth/oidc/login", None, &[]).await;
    assert_eq!(sent.status, 302, "{}", sent.text);
    let cookie = sent.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let asked: HashMap<String, String> =
        Url::parse(sent.header("location").unwrap()).unwrap().query_pairs().into_owned().collect();
    let now = site.bed.app.clock.wall().0 / 1_000;
    let mut claims = claims(provider, now, "ops");
    claims["nonce"] = json!(asked["nonce"]);
    let (challenge, header) = (asked["code_challenge"].clone(), json!({"alg": "ES256", "kid": "k"}));
    let mut script = Script { challenge, header, claims, renewal: None };
    change(&mut script);
    provider.script.store(Arc::new(script));

    let back = format!("/api/auth/oidc/callback?code=the%20code&state={}", state.unwrap_or(&asked["state"]));
    let answer = site.send("GET", &back, None, &[("cookie", &cookie)]).await;
    if answer.status == 200 {
        site.keep_cookie(&answer);
    }
    answer
}

fn claims(provider: &Provider, now_s: i64, group: &str) -> Value {
    json!({
        "iss": provider.issuer, "aud": "gateway", "sub": "ada", "email": "ada@example.org", "groups": [group],
        "exp": now_s + 300, "iat": now_s,
    })
}

/// The answer's status, who it is, and what was written down.
async fn sign_in(change: impl Fn(&mut Script), state: Option<&str>) -> (u16, Value, Vec<String>) {
    let provider = provider();
    let site = site(bed_at(&provider, |_| ()).await).await;
    let answer = enter(&site, &provider, change, state).await;
    let status = site.ask("GET", "/api/auth/status", None).await.json();
    (answer.status, status, log(&site.bed).await)
}

async fn log(bed: &Bed) -> Vec<String> {
    bed.app.store.audit().list(5).await.unwrap().into_iter().map(|row| row.action).collect()
}

/// Signed in with a token that renews; half an hour later the provider says this. The role then, and the last row of the log.
async fn half_an_hour_later(renewal: impl Fn(&Provider, i64) -> Renewal) -> (Value, String) {
    let provider = provider();
    let site = site(bed_at(&provider, |config| config.oidc.viewers = vec!["readers".into()]).await).await;
    enter(&site, &provider, |script| script.renewal = Some(Renewal::IsAway), None).await;
    site.bed.clock.advance(Duration::from_secs(1_800));
    let mut script = Script::clone(&provider.script.load());
    script.renewal = Some(renewal(&provider, site.bed.app.clock.wall().0 / 1_000));
    provider.script.store(Arc::new(script));

    recheck_accounts(site.bed.app.clone(), site.bed.management.sessions.clone()).await;

    let status = site.ask("GET", "/api/auth/status", None).await.json();
    (status["role"].clone(), log(&site.bed).await.swap_remove(0))
}

#[actix_web::test]
async fn who_is_signed_in_has_the_role_that_the_provider_says_now() {
    let says = half_an_hour_later(|provider, now| Renewal::Says(claims(provider, now, "readers"))).await;
    let tells = half_an_hour_later(|provider, now| Renewal::Tells(claims(provider, now, "readers"))).await;
    let same = half_an_hour_later(|provider, now| Renewal::Says(claims(provider, now, "ops"))).await;

    let changed = (json!("viewer"), "auth.session.role_changed".to_owned());
    assert_eq!((says, tells), (changed.clone(), changed));
    assert_eq!(same, (json!("operator"), "auth.login.success".to_owned()));
}

#[actix_web::test]
async fn who_may_nothing_any_more_is_signed_out() {
    let no_role = half_an_hour_later(|provider, now| Renewal::Says(claims(provider, now, "strangers"))).await;
    let refused = half_an_hour_later(|_, _| Renewal::Refuses).await;
    let another = half_an_hour_later(|provider, now| {
        let mut claims = claims(provider, now, "ops");
        claims["sub"] = json!("eve");
        Renewal::Says(claims)
    })
    .await;

    let ended = (Value::Null, "auth.session.ended".to_owned());
    assert_eq!([no_role, refused, another], [ended.clone(), ended.clone(), ended]);
}

#[actix_web::test]
async fn a_provider_that_is_away_ends_nothing_at_once_and_everything_in_time() {
    let provider = provider();
    let site = site(bed_at(&provider, |_| ()).await).await;
    enter(&site, &provider, |script| script.renewal = Some(Renewal::IsAway), None).await;
    let after = async |minutes: u64| {
        site.bed.clock.advance(Duration::from_secs(minutes * 60));
        recheck_accounts(site.bed.app.clone(), site.bed.management.sessions.clone()).await;
        site.ask("GET", "/api/auth/status", None).await.json()["role"].clone()
    };

    let roles = [after(16).await, after(30).await, after(13).await, after(2).await];

    assert_eq!(roles, [json!("operator"), json!("operator"), json!("operator"), Value::Null]);
    assert_eq!(log(&site.bed).await[0], "auth.session.ended");
}

#[actix_web::test]
async fn a_session_ends_with_its_id_token_where_that_is_the_rule_and_nothing_renews_it() {
    for (rule, renewal, lives) in [(true, None, false), (false, None, true), (true, Some(Renewal::IsAway), true)] {
        let provider = provider();
        let site = site(bed_at(&provider, |config| config.oidc.end_with_token = rule).await).await;
        enter(&site, &provider, |script| script.renewal = renewal.clone(), None).await;

        site.bed.clock.advance(Duration::from_secs(301));

        let status = site.ask("GET", "/api/auth/status", None).await.json();
        assert_eq!(status["authenticated"], json!(lives), "{rule}");
    }
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
