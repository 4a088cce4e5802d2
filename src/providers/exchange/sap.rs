//! SAP AI Core: the client credentials of a service key for a token (SAP Help, "Get an authentication token" and "Create a
//! service key"). The key is a JSON object with `clientid`, `clientsecret`, `url` (of the server that gives tokens, at
//! `/oauth/token`) and `serviceurls.AI_API_URL`.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{Found, TokenRequest, basic};

#[derive(Deserialize)]
struct ServiceKey {
    clientid: String,
    clientsecret: String,
    url: Option<String>,
    serviceurls: Option<ServiceUrls>,
}

#[derive(Deserialize)]
struct ServiceUrls {
    #[serde(rename = "AI_API_URL")]
    api: Option<String>,
}

/// A JSON object is a service key, a pair is its client credentials; anything else is a token already.
pub(super) fn find(credential: &str) -> Result<Found, String> {
    if !credential.trim_start().starts_with('{') {
        return Ok(Found { exchanged: credential.contains(':'), ..Found::default() });
    }
    let key = read(credential)?;
    let api = key.serviceurls.and_then(|urls| Url::parse(&urls.api?).ok());
    let host = api.as_ref().and_then(Url::host_str).map(|host| ("host".to_owned(), host.to_owned()));
    let token_url = key.url.map(|url| format!("{}/oauth/token", url.trim_end_matches('/')));
    Ok(Found { exchanged: true, token_url, variables: BTreeMap::from_iter(host) })
}

/// The question of this key.
pub(super) fn question(credential: &str) -> Result<TokenRequest, String> {
    let pair = if credential.trim_start().starts_with('{') {
        let key = read(credential)?;
        format!("{}:{}", key.clientid, key.clientsecret)
    } else {
        credential.to_owned()
    };
    let form = vec![("grant_type", SecretString::from("client_credentials"))];
    Ok(TokenRequest { authorization: Some(basic(&pair)), form, ..TokenRequest::default() })
}

fn read(credential: &str) -> Result<ServiceKey, String> {
    let what = "its credential is not the JSON of a service key (clientid and clientsecret are needed)";
    serde_json::from_str(credential).map_err(|_| what.to_owned())
}
