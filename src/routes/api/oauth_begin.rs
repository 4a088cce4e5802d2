//! The first half of a sign-in: where a browser is sent, or what a person enters where.

use actix_web::HttpResponse;
use actix_web::http::header::HOST;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::{Host, Url};

use super::connection_checks::{check_address, home_of};
use super::connection_find::stored;
use super::connection_form::{Home, blank, fill_named};
use super::oauth::{Asked, caller, check_ready};
use super::oauth_end::refused;
use crate::providers::oauth::{AUTH_TYPE, Flow, OauthSpec, pkce};
use crate::routes::{Call, Form, Refusal};
use crate::store::{ConnectionRow, OauthLoginRow};

/// Where a browser comes back to when nobody says otherwise: the page of a tool on the person's own machine, or none, and
/// then the person copies the address.
const USUAL_REDIRECT: &str = "http://localhost:8080/callback";

/// What must be known at the end of a sign-in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Particulars {
    /// Proves that who ends it is who began it.
    pub(super) verifier: Option<String>,
    /// Where the browser was told to come back to.
    pub(super) redirect_uri: String,
    /// What the server knows a device by.
    pub(super) device_code: String,
    /// The connection that it is for.
    pub(super) wish: Wish,
}

/// The connection that a sign-in is for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Wish {
    /// One that is there.
    pub(super) connection: Option<String>,
    /// The name of a new one.
    pub(super) name: String,
    /// The data of a new one.
    pub(super) data: Value,
}

impl Wish {
    /// What the caller wants, checked before anybody signs in for nothing.
    pub(super) async fn read(call: &Call, spec: &OauthSpec, form: &mut Form) -> Result<Self, Refusal> {
        let connection = form.text("connectionId", 1..=100);
        let home = home(call, spec)?;
        if let Some(id) = &connection {
            let listed = stored(call, id)?;
            if listed.row.provider != home.id() {
                form.problem("connectionId", "Belongs to another provider");
            }
            for field in ["name", "providerSpecificData"] {
                if form.has(field) {
                    form.problem(field, "Is for a new connection; change the one that is there by itself");
                }
            }
        }
        let mut row = draft(&home, call.now());
        fill_named(form, &mut row);
        Ok(Self { connection, name: row.name, data: row.provider_specific_data })
    }

    /// A connection that requests could use once it is signed in: nobody should sign in for one that they cannot.
    pub(super) async fn check(&self, call: &Call, spec: &OauthSpec) -> Result<(), Refusal> {
        if self.connection.is_none() {
            check_address(call, &self.row(&home(call, spec)?, call.now())).await?;
        }
        Ok(())
    }

    /// The new connection.
    pub(super) fn row(&self, home: &Home, now: i64) -> ConnectionRow {
        ConnectionRow {
            name: self.name.clone(),
            provider_specific_data: if self.data.is_object() { self.data.clone() } else { Value::Object(Map::new()) },
            ..draft(home, now)
        }
    }
}

/// Whose connections this server makes; an own endpoint may be named by its prefix.
pub(super) fn home(call: &Call, spec: &OauthSpec) -> Result<Home, Refusal> {
    let nodes = call.app.directory.nodes();
    let by_prefix = nodes.iter().find(|node| node.prefix == spec.provider).map(|node| node.id.clone());
    home_of(call, by_prefix.as_deref().unwrap_or(&spec.provider))
}

fn draft(home: &Home, now: i64) -> ConnectionRow {
    ConnectionRow { auth_type: AUTH_TYPE.into(), ..blank(uuid::Uuid::now_v7().to_string(), home.id(), now) }
}

/// Where to send a browser.
pub(super) async fn authorize(call: &Call, Asked { spec, mut form }: Asked) -> Result<HttpResponse, Refusal> {
    if !spec.offers(Flow::AuthorizationCode) && spec.offers(Flow::DeviceCode) {
        return Ok(HttpResponse::Ok().json(json!({
            "authUrl": null, "state": null, "codeVerifier": null, "codeChallenge": null, "redirectUri": null,
            "flowType": "device_code", "fixedPort": null, "callbackPath": null,
        })));
    }
    check_ready(&spec, Flow::AuthorizationCode)?;
    let given = form.text("redirectUri", 1..=2_000).or_else(|| form.text("redirect_uri", 1..=2_000));
    let redirect = given.or_else(|| spec.redirect_uri.clone()).unwrap_or_else(|| USUAL_REDIRECT.to_owned());
    if !may_come_back_to(call, &spec, &redirect) {
        form.problem("redirectUri", "Is not allowed; add it to oauth.redirect_uris, or use a loopback address");
    }
    let wish = Wish::read(call, &spec, &mut form).await?;
    form.finish()?;
    wish.check(call, &spec).await?;

    let (state, verifier) = (secret()?, secret()?);
    let challenge = pkce::challenge(&verifier);
    let endpoints = call.app.oauth.endpoints(&spec).await.map_err(|failure| refused(&failure.into()))?;
    let place =
        endpoints.authorization.ok_or_else(|| Refusal::bad_gateway("The server names no page to sign in at"))?;
    let url = address(&spec, &place, [&redirect, state.expose_secret(), &challenge])
        .ok_or_else(|| Refusal::bad_gateway("The server's page to sign in at is no valid address"))?;
    let verifier = Some(verifier.expose_secret().to_owned());
    let particulars = Particulars { verifier, redirect_uri: redirect.clone(), wish, ..Particulars::default() };
    keep(call, &spec, &state, Pace::none(), &particulars).await?;
    call.audit("provider.oauth.begun", &spec.id, json!({"flow": Flow::AuthorizationCode.as_str()})).await;
    let path = Url::parse(&redirect).map(|url| url.path().to_owned()).unwrap_or_default();
    Ok(HttpResponse::Ok().json(json!({
        "authUrl": url, "state": state.expose_secret(), "codeVerifier": null, "codeChallenge": challenge,
        "redirectUri": redirect, "flowType": "authorization_code_pkce", "fixedPort": null, "callbackPath": path,
    })))
}

fn address(spec: &OauthSpec, place: &str, [redirect, state, challenge]: [&str; 3]) -> Option<String> {
    let mut url = Url::parse(place).ok()?;
    let client = spec.client_id.as_deref()?;
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("response_type", "code").append_pair("client_id", client);
        query.append_pair("redirect_uri", redirect);
        if !spec.scopes.is_empty() {
            query.append_pair("scope", &spec.scopes.join(" "));
        }
        query.append_pair("state", state).append_pair("code_challenge", challenge);
        query.append_pair("code_challenge_method", "S256").extend_pairs(&spec.authorize_params);
    }
    Some(url.into())
}

/// A code goes to nobody but the operator's own places: those that are listed, this gateway's page, a person's own machine.
fn may_come_back_to(call: &Call, spec: &OauthSpec, redirect: &str) -> bool {
    let listed = &call.app.config.load().oauth.redirect_uris;
    if listed.iter().any(|known| known == redirect) || spec.redirect_uri.as_deref() == Some(redirect) {
        return true;
    }
    let Ok(url) = Url::parse(redirect) else { return false };
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return false;
    }
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "http" && loopback || is_own_page(call, spec, &url)
}

/// The gateway's own page, at the address that the caller himself uses.
fn is_own_page(call: &Call, spec: &OauthSpec, url: &Url) -> bool {
    let host = call.request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let own = Url::parse(&format!("{}://{host}/api/oauth/{}/callback", url.scheme(), spec.id));
    url.scheme() == "https" && own.is_ok_and(|own| own == *url)
}

/// What a person enters where.
pub(super) async fn device(call: &Call, Asked { spec, mut form }: Asked) -> Result<HttpResponse, Refusal> {
    check_ready(&spec, Flow::DeviceCode)?;
    let wish = Wish::read(call, &spec, &mut form).await?;
    form.finish()?;
    wish.check(call, &spec).await?;
    let device = call.app.oauth.begin_device(&spec).await.map_err(|refusal| refused(&refusal))?;
    let handle = secret()?;
    let pace = Pace { lives_s: device.expires_in, every_ms: device.interval_ms };
    let particulars = Particulars {
        verifier: device.verifier.as_ref().map(|verifier| verifier.expose_secret().to_owned()),
        device_code: device.code.expose_secret().to_owned(),
        wish,
        ..Particulars::default()
    };
    keep(call, &spec, &handle, pace, &particulars).await?;
    call.audit("provider.oauth.begun", &spec.id, json!({"flow": Flow::DeviceCode.as_str()})).await;
    Ok(HttpResponse::Ok().json(json!({
        "device_code": handle.expose_secret(),
        "user_code": device.user_code,
        "verification_uri": device.verification_uri,
        "verification_uri_complete": device.verification_uri_complete,
        "expires_in": device.expires_in,
        "interval": (device.interval_ms + 999) / 1_000,
        "codeVerifier": null,
    })))
}

/// How long a sign-in may take, and how often the server may be asked about it.
#[derive(Debug, Clone, Copy)]
struct Pace {
    lives_s: i64,
    every_ms: i64,
}

impl Pace {
    /// Nobody is asked; the gateway's own patience counts.
    const fn none() -> Self {
        Self { lives_s: i64::MAX, every_ms: 0 }
    }
}

async fn keep(
    call: &Call,
    spec: &OauthSpec,
    secret: &SecretString,
    pace: Pace,
    particulars: &Particulars,
) -> Result<(), Refusal> {
    let now = call.now();
    let patience = i64::try_from(call.app.config.load().oauth.login_ttl_s).unwrap_or(i64::MAX);
    let device = pace.every_ms > 0 || !particulars.device_code.is_empty();
    let lives_s = if device { pace.lives_s } else { patience };
    let particulars = serde_json::to_string(particulars).map_err(|_| Refusal::internal())?;
    let row = OauthLoginRow {
        id_hash: pkce::fingerprint(secret.expose_secret()),
        provider: spec.id.clone(),
        caller: caller(call),
        kind: if device { Flow::DeviceCode } else { Flow::AuthorizationCode }.as_str().to_owned(),
        particulars: particulars.into(),
        expires_at: now.saturating_add(lives_s.saturating_mul(1_000)),
        ask_after: now.saturating_add(pace.every_ms),
        ask_every_ms: pace.every_ms,
    };
    Ok(call.app.store.oauth_logins().insert(&row, now).await?)
}

fn secret() -> Result<SecretString, Refusal> {
    pkce::secret().map_err(|error| {
        tracing::error!(%error, "no randomness for a sign-in");
        Refusal::internal()
    })
}
