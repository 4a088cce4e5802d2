//! The questions that a server is asked: where it is (RFC 8414), and for tokens in each of the ways there are.

use std::time::Duration;

use omniroute_actors::connection::token::MintFailure;
use omniroute_actors::resilience::outcome::Outcome;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::book::{ClientAuth, OauthSpec};
use super::tokens::{Account, TokenSet};
use super::{Oauth, pkce};
use crate::providers::exchange::{TokenRequest, ask, basic, reply};

/// Codes after which no refresh token works any more: the standard's own, and what servers say of one that was rotated.
const VOID: [&str; 5] =
    ["invalid_grant", "refresh_token_reused", "token_expired", "refresh_token_invalidated", "interaction_required"];
/// Times between two questions about a device, in milliseconds: when the server does not say, and at most.
const USUAL_INTERVAL_MS: i64 = 5_000;
const LONGEST_INTERVAL_MS: i64 = 60_000;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Where a browser is sent.
    pub authorization: Option<String>,
    /// Where tokens are given.
    pub token: String,
    /// Where a device begins.
    pub device: Option<String>,
    /// Where an account says its name.
    pub userinfo: Option<String>,
}

/// Why there are no tokens.
#[derive(Debug, Clone)]
pub struct ServerRefusal {
    /// The code of the standard, where the server gave one.
    pub code: Option<String>,
    /// What that means.
    pub failure: MintFailure,
}

impl From<MintFailure> for ServerRefusal {
    fn from(failure: MintFailure) -> Self {
        Self { code: None, failure }
    }
}

/// A device's sign-in that has begun.
#[derive(Debug)]
pub struct Device {
    /// What the server knows it by.
    pub code: SecretString,
    /// What a person enters.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// How long there is time for that, in seconds.
    pub expires_in: i64,
    /// Smallest time between two questions, in milliseconds.
    pub interval_ms: i64,
    /// What proves that it is ours, where the server wants that.
    pub verifier: Option<SecretString>,
}

type Form = Vec<(&'static str, SecretString)>;

impl Oauth {
    /// Where this server is: what its entry says, and its metadata for the rest.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub async fn endpoints(&self, spec: &OauthSpec) -> Result<Endpoints, MintFailure> {
        let known = |token: String| Endpoints {
            authorization: spec.authorization_url.clone(),
            token,
            device: spec.device_url.clone(),
            userinfo: spec.userinfo_url.clone(),
        };
        let Some(issuer) = &spec.issuer else {
            let nowhere = || misconfigured("the entry names neither `token_url` nor `issuer`");
            return spec.token_url.clone().map(known).ok_or_else(nowhere);
        };
        let metadata = match self.metadata.get(issuer) {
            Some(metadata) => metadata,
            None => {
                let metadata = self.discover(spec, issuer).await?;
                self.metadata.insert(issuer.clone(), metadata.clone());
                metadata
            }
        };
        let told = |own: &Option<String>, name: &str| own.clone().or_else(|| address(&metadata, name));
        Ok(Endpoints {
            authorization: told(&spec.authorization_url, "authorization_endpoint"),
            token: told(&spec.token_url, "token_endpoint")
                .ok_or_else(|| broken("its metadata name no token endpoint"))?,
            device: told(&spec.device_url, "device_authorization_endpoint"),
            userinfo: told(&spec.userinfo_url, "userinfo_endpoint"),
        })
    }

    /// The standard's place first, then the older one of OpenID Connect.
    async fn discover(&self, spec: &OauthSpec, issuer: &str) -> Result<Value, MintFailure> {
        let mut last = broken("its metadata cannot be found");
        for place in places(issuer) {
            let answer = ask::get((&self.clients, spec.caller()), &place, None, self.now()).await;
            match answer {
                Ok(answer) if answer.is_good() => {
                    let metadata: Value =
                        serde_json::from_slice(&answer.body).map_err(|_| broken("its metadata are not JSON"))?;
                    // Metadata of somebody else would send our secrets to them.
                    let said = metadata.get("issuer").and_then(Value::as_str).unwrap_or_default();
                    if said.trim_end_matches('/') != issuer.trim_end_matches('/') {
                        return Err(broken("its metadata name another issuer"));
                    }
                    return Ok(metadata);
                }
                Ok(_) => {}
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// A code for tokens.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn redeem(
        &self,
        spec: &OauthSpec,
        code: SecretString,
        redirect_uri: &str,
        verifier: SecretString,
    ) -> Result<TokenSet, ServerRefusal> {
        let form = vec![
            ("grant_type", "authorization_code".into()),
            ("code", code),
            ("redirect_uri", redirect_uri.into()),
            ("code_verifier", verifier),
        ];
        self.tokens(spec, form).await
    }

    /// A refresh token for the next tokens.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn refresh(&self, spec: &OauthSpec, refresh: SecretString) -> Result<TokenSet, ServerRefusal> {
        self.tokens(spec, vec![("grant_type", "refresh_token".into()), ("refresh_token", refresh)]).await
    }

    /// The client's own word for tokens.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn as_client(&self, spec: &OauthSpec) -> Result<TokenSet, ServerRefusal> {
        let mut form: Form = vec![("grant_type", "client_credentials".into())];
        let scopes = spec.client_scopes.as_ref().unwrap_or(&spec.scopes).join(" ");
        if !scopes.is_empty() {
            form.push(("scope", scopes.into()));
        }
        self.tokens(spec, form).await
    }

    /// Let a device begin.
    ///
    /// # Errors
    /// Why it may not.
    pub async fn begin_device(&self, spec: &OauthSpec) -> Result<Device, ServerRefusal> {
        let none = || misconfigured("this server offers no sign-in for devices");
        let url = self.endpoints(spec).await?.device.ok_or_else(none)?;
        let mut form: Form = Vec::new();
        if !spec.scopes.is_empty() {
            form.push(("scope", spec.scopes.join(" ").into()));
        }
        let verifier = match spec.device_pkce {
            true => Some(pkce::secret().map_err(|_| MintFailure::crashed())?),
            false => None,
        };
        if let Some(verifier) = &verifier {
            form.push(("code_challenge", pkce::challenge(verifier).into()));
            form.push(("code_challenge_method", "S256".into()));
        }
        let json = self.post(spec, &url, form).await?;
        let device = device(&json).ok_or_else(|| broken("its answer names no device code"))?;
        Ok(Device { verifier, ..device })
    }

    /// Ask whether a person has let the device in.
    ///
    /// # Errors
    /// Not yet, or not at all: the code says so.
    pub async fn ask_device(
        &self,
        spec: &OauthSpec,
        code: SecretString,
        verifier: Option<SecretString>,
    ) -> Result<TokenSet, ServerRefusal> {
        let mut form: Form =
            vec![("grant_type", "urn:ietf:params:oauth:grant-type:device_code".into()), ("device_code", code)];
        form.extend(verifier.map(|verifier| ("code_verifier", verifier)));
        self.tokens(spec, form).await
    }

    /// The tokens that this question brings, with whose they are.
    async fn tokens(&self, spec: &OauthSpec, form: Form) -> Result<TokenSet, ServerRefusal> {
        let endpoints = self.endpoints(spec).await?;
        let json = self.post(spec, &endpoints.token, form).await?;
        Ok(TokenSet::read(&json, self.now())?)
    }

    /// Whose tokens these are, asked of the server where the answer with the tokens did not say.
    pub async fn account(&self, spec: &OauthSpec, tokens: &TokenSet) -> Account {
        let Ok(Endpoints { userinfo: Some(url), .. }) = self.endpoints(spec).await else {
            return tokens.account.clone();
        };
        if !tokens.account.is_unknown() {
            return tokens.account.clone();
        }
        let bearer = SecretString::from(format!("Bearer {}", tokens.access.expose_secret()));
        let answer = ask::get((&self.clients, spec.caller()), &url, Some(&bearer), self.now()).await;
        // A name is nice to have: without it the sign-in is as good.
        let claims =
            answer.ok().filter(ask::Answer::is_good).and_then(|answer| serde_json::from_slice(&answer.body).ok());
        claims.map(|claims: Value| Account::of_claims(&claims)).unwrap_or_default()
    }

    async fn post(&self, spec: &OauthSpec, url: &str, mut form: Form) -> Result<Value, ServerRefusal> {
        let client =
            spec.client_id.as_deref().ok_or_else(|| misconfigured("no client is configured for this server"))?;
        let mut question = TokenRequest::default();
        match (spec.client_auth, &spec.secret) {
            (ClientAuth::Basic, Some(secret)) => question.authorization = Some(basic(&pair(client, secret))),
            (_, secret) => {
                form.push(("client_id", client.into()));
                form.extend(secret.clone().map(|secret| ("client_secret", secret)));
            }
        }
        question.form = form;
        question.extra = spec.token_params.clone().into_iter().collect();
        let answer = ask::post((&self.clients, spec.caller()), url, &question, self.now()).await?;
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        // Some servers refuse with status 200.
        if answer.is_good() && json.get("error").is_none_or(Value::is_null) {
            return Ok(json);
        }
        let status = if answer.is_good() { 400 } else { answer.status };
        Err(refused(status, &answer.body, answer.retry_after))
    }
}

/// Both halves as the standard wants them in the header (RFC 6749, 2.3.1).
fn pair(client: &str, secret: &SecretString) -> String {
    let escaped = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("{}:{}", escaped(client), escaped(secret.expose_secret()))
}

fn refused(status: u16, body: &[u8], retry_after: Option<Duration>) -> ServerRefusal {
    let mut failure = reply::refused(status, body, retry_after);
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = reply::code(&json).map(str::to_owned);
    if matches!(code.as_deref(), Some("temporarily_unavailable" | "server_error")) {
        failure.outcome = Outcome::ServerFault;
    }
    failure.is_final = code.as_deref().is_some_and(|code| VOID.contains(&code));
    ServerRefusal { code, failure }
}

fn device(json: &Value) -> Option<Device> {
    let text = |name: &str| json.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let number = |name: &str| json.get(name).and_then(Value::as_f64).filter(|number| number.is_finite());
    let page = |name: &str| text(name).filter(|url| is_page(url));
    Some(Device {
        code: text("device_code")?.into(),
        user_code: text("user_code")?.chars().filter(|c| !c.is_control()).take(64).collect(),
        verification_uri: page("verification_uri").or_else(|| page("verification_url"))?,
        verification_uri_complete: page("verification_uri_complete"),
        expires_in: number("expires_in").map_or(600, |seconds| seconds as i64).clamp(1, 3_600),
        interval_ms: number("interval")
            .map_or(USUAL_INTERVAL_MS, |seconds| (seconds * 1_000.0) as i64)
            .clamp(0, LONGEST_INTERVAL_MS),
        verifier: None,
    })
}

/// A page that a person can be sent to.
fn is_page(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

fn address(metadata: &Value, name: &str) -> Option<String> {
    metadata.get(name)?.as_str().filter(|url| is_page(url)).map(str::to_owned)
}

/// Where the metadata of an issuer are, the standard's place first.
fn places(issuer: &str) -> Vec<String> {
    let Ok(url) = Url::parse(issuer) else { return Vec::new() };
    let path = url.path().trim_end_matches('/');
    let mut standard = url.clone();
    standard.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    let mut older = url.clone();
    older.set_path(&format!("{path}/.well-known/openid-configuration"));
    vec![standard.into(), older.into()]
}

fn misconfigured(why: &str) -> MintFailure {
    MintFailure::own(Outcome::LocalNetwork, why)
}

fn broken(why: &str) -> MintFailure {
    MintFailure::own(Outcome::BrokenAnswer, format!("the place that gives tokens: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_are_looked_for_where_the_standards_put_them() {
        let of = |issuer| places(issuer).join(" ");

        assert_eq!(
            of("https://id.example"),
            "https://id.example/.well-known/oauth-authorization-server https://id.example/.well-known/openid-configuration"
        );
        assert_eq!(
            of("https://id.example/team/"),
            "https://id.example/.well-known/oauth-authorization-server/team https://id.example/team/.well-known/openid-configuration"
        );
    }

    #[test]
    fn only_a_void_grant_is_final() {
        let told = |status, code: &str| {
            let refusal = refused(status, json!({"error": code}).to_string().as_bytes(), None);
            (refusal.failure.outcome, refusal.failure.is_final)
        };

        assert_eq!(told(400, "invalid_grant"), (Outcome::AuthRefused, true));
        assert_eq!(told(401, "invalid_client"), (Outcome::AuthRefused, false));
        assert_eq!(told(400, "temporarily_unavailable"), (Outcome::ServerFault, false));
        assert_eq!(told(503, "x"), (Outcome::ServerFault, false));
    }

    #[test]
    fn a_device_is_shown_a_page_and_nothing_else() {
        let answer =
            |uri: &str| json!({"device_code": "d", "user_code": "AB-CD", "verification_uri": uri, "expires_in": 60});

        assert_eq!(device(&answer("https://x.example/device")).unwrap().interval_ms, USUAL_INTERVAL_MS);
        assert!(device(&answer("javascript:alert(1)")).is_none());
        assert!(device(&json!({"user_code": "AB"})).is_none());
    }

    #[test]
    fn a_clients_id_and_secret_are_escaped_before_they_are_joined() {
        assert_eq!(pair("a:b", &SecretString::from("c d%")), "a%3Ab:c+d%25");
    }
}
