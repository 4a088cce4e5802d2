//! Credentials that are exchanged for a short-lived token before a call: how each kind asks, and what its answer says.
//!
//! | kind | credential | asks with |
//! |---|---|---|
//! | `google_service_account` | the JSON of a service account; anything else is a token already | a signed JWT |
//! | `ibm_iam` | an API key | the key |
//! | `gigachat` | the authorization key, or `CLIENT_ID:CLIENT_SECRET` | Basic |
//! | `oauth` | a sign-in that the gateway keeps; no entry of the catalogue says it, the connection does | see [`super::oauth`] |
//! | `sap` | the JSON of a service key, or `CLIENT_ID:CLIENT_SECRET`; anything else is a token already | client credentials |
//!
//! [`plan`] is pure and runs when a connection is built; [`TokenMinter`] asks, on the control arbiter, when the
//! connection's actor says so.

pub(in crate::providers) mod ask;
mod gigachat;
mod google;
mod ibm;
mod mint;
pub(in crate::providers) mod reply;
mod sap;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use omniroute_actors::connection::token::Exchange;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

pub use mint::TokenMinter;

use super::catalog::{Catalog, ProviderSpec};

/// How a credential is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeKind {
    /// Google's service accounts.
    GoogleServiceAccount,
    /// IBM Cloud's keys.
    IbmIam,
    /// Sber's GigaChat.
    Gigachat,
    /// SAP's service keys.
    Sap,
    /// An account that was signed in: the connection says so, not the catalogue.
    #[serde(skip)]
    Oauth,
}

impl ExchangeKind {
    const ALL: [Self; 5] = [Self::GoogleServiceAccount, Self::IbmIam, Self::Gigachat, Self::Sap, Self::Oauth];

    fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// What the catalogue says of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangeSpec {
    /// How it is done.
    pub kind: ExchangeKind,
    /// Where, unless the credential or the connection says otherwise.
    pub token_url: Option<String>,
    /// What the token is asked for, unless the connection says otherwise.
    pub scope: Option<String>,
}

/// What becomes of a credential.
#[derive(Debug, Default)]
pub struct Plan {
    /// How it is exchanged; none when it is sent as it is.
    pub exchange: Option<Exchange>,
    /// Variables of the URL that the credential knows.
    pub variables: BTreeMap<String, String>,
}

/// What a credential says about itself.
#[derive(Debug, Default)]
struct Found {
    /// It must be exchanged.
    exchanged: bool,
    token_url: Option<String>,
    variables: BTreeMap<String, String>,
}

/// What becomes of the credential of a connection with this data.
///
/// # Errors
/// Why it cannot be exchanged; nothing of it is in the words.
pub fn plan(spec: &ProviderSpec, credential: Option<&SecretString>, data: &Value) -> Result<Plan, String> {
    let credential = credential.filter(|secret| !secret.expose_secret().is_empty());
    let (Some(exchange), Some(credential)) = (&spec.exchange, credential) else { return Ok(Plan::default()) };
    let found = match exchange.kind {
        ExchangeKind::GoogleServiceAccount => google::find(credential.expose_secret())?,
        ExchangeKind::IbmIam | ExchangeKind::Gigachat => Found { exchanged: true, ..Found::default() },
        ExchangeKind::Sap => sap::find(credential.expose_secret())?,
        ExchangeKind::Oauth => return Ok(Plan::default()),
    };
    if !found.exchanged {
        return Ok(Plan { exchange: None, variables: found.variables });
    }
    let text = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
    let token_url = text("tokenUrl").or(found.token_url).or_else(|| exchange.token_url.clone());
    let token_url = token_url.ok_or("it needs `tokenUrl`, the place where its credential is exchanged")?;
    check(&token_url)?;
    let exchange = Exchange {
        kind: exchange.kind as u8,
        token_url,
        header: spec.auth.header.clone(),
        scope: text("scope").or_else(|| exchange.scope.clone()),
        credential: credential.clone(),
    };
    Ok(Plan { exchange: Some(exchange), variables: found.variables })
}

fn check(token_url: &str) -> Result<(), String> {
    let url = Url::parse(token_url).map_err(|_| "the URL of its tokens is not valid")?;
    let sane = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    if sane {
        Ok(())
    } else {
        Err("the URL of its tokens must be http or https, without user name and password".into())
    }
}

/// `host:port` of the places of the catalogue that do not live on the usual ports: nobody has to list them.
pub fn odd_hosts() -> impl Iterator<Item = String> {
    let places = Catalog::builtin().iter().filter_map(|spec| spec.exchange.as_ref()?.token_url.as_deref());
    let mut odd: Vec<String> = places.filter_map(|place| odd_host(&Url::parse(place).ok()?)).collect();
    odd.dedup();
    odd.into_iter()
}

fn odd_host(url: &Url) -> Option<String> {
    Some(format!("{}:{}", url.host_str()?, url.port()?))
}

/// A question to a place that gives tokens.
#[derive(Debug, Default)]
pub(in crate::providers) struct TokenRequest {
    /// The value of `authorization`.
    pub(in crate::providers) authorization: Option<SecretString>,
    /// Other headers.
    pub(in crate::providers) headers: Vec<(&'static str, String)>,
    /// The form.
    pub(in crate::providers) form: Vec<(&'static str, SecretString)>,
    /// What else stands in the form and is no secret.
    pub(in crate::providers) extra: Vec<(String, String)>,
}

/// The question that this exchange asks at this time, in seconds since the Unix epoch.
fn question(exchange: &Exchange, now: i64) -> Result<TokenRequest, String> {
    let credential = exchange.credential.expose_secret();
    let scope = exchange.scope.as_deref();
    match ExchangeKind::of_number(exchange.kind).ok_or("the catalogue knows no such exchange")? {
        ExchangeKind::GoogleServiceAccount => google::question(credential, scope, now),
        ExchangeKind::IbmIam => Ok(ibm::question(credential)),
        ExchangeKind::Gigachat => Ok(gigachat::question(credential, scope)),
        ExchangeKind::Sap => sap::question(credential),
        ExchangeKind::Oauth => Err("its tokens are renewed by its sign-in".into()),
    }
}

/// `Basic` with both halves; what has no two halves is their encoding already.
pub(in crate::providers) fn basic(credential: &str) -> SecretString {
    use base64::Engine as _;
    let encode = |plain: &str| base64::prelude::BASE64_STANDARD.encode(plain);
    let encoded = if credential.contains(':') { encode(credential) } else { credential.to_owned() };
    SecretString::from(format!("Basic {encoded}"))
}
