//! An authorization server: it rotates refresh tokens, takes each of them once, proves verifiers, and fails as a test says.
//!
//! Access tokens are `at1`, `at2`, ..., refresh tokens `rt1`, `rt2`, ... A code is `code.<challenge>`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::scripted::{Asked, Scripted};

/// Everything that the server must remember.
#[derive(Debug)]
pub struct State {
    /// The number of the refresh token that works.
    current: AtomicUsize,
    /// How often one that does not work was sent.
    pub void: AtomicUsize,
    /// Questions about a device that are answered with "not yet".
    pub device_waits: AtomicUsize,
    /// Whether it is in trouble.
    pub is_down: AtomicBool,
    /// Whether the person refuses the device.
    pub denies: AtomicBool,
    /// Seconds that a token lives.
    pub lives: AtomicUsize,
}

/// The server; it ends with the test's runtime.
#[derive(Clone)]
pub struct AuthorizationServer {
    server: Scripted,
    pub state: Arc<State>,
}

impl AuthorizationServer {
    pub async fn start() -> Self {
        let state = Arc::new(State {
            current: AtomicUsize::new(0),
            void: AtomicUsize::new(0),
            device_waits: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
            denies: AtomicBool::new(false),
            lives: AtomicUsize::new(3_600),
        });
        let own = Arc::clone(&state);
        let server = Scripted::start(move |_, asked| {
            let (status, body) = own.answer(asked);
            (status, body.to_string())
        });
        Self { server: server.await, state }
    }

    /// An entry of the operator's file for it, with its addresses.
    pub fn entry(&self, id: &str, provider: &str) -> String {
        let (token, device) = (self.server.url("/token"), self.server.url("/device"));
        format!(
            "[{id}]\nname = \"Acme\"\nprovider = \"{provider}\"\nclient_id = \"our-client\"\nclient_secret = \"our-secret\"\n\
             flows = [\"authorization_code\", \"device_code\", \"client_credentials\", \"import\"]\nscopes = [\"models\", \"email\"]\n\
             authorization_url = \"https://acme.example/authorize\"\ntoken_url = \"{token}\"\ndevice_url = \"{device}\"\n"
        )
    }

    /// The same for a server that is only known by its name.
    pub fn discovered_entry(&self, id: &str, provider: &str) -> String {
        let issuer = self.server.url("");
        format!(
            "[{id}]\nname = \"Acme\"\nprovider = \"{provider}\"\nclient_id = \"our-client\"\nclient_secret = \"our-secret\"\n\
             flows = [\"authorization_code\", \"import\"]\nissuer = \"{issuer}\"\nclient_auth = \"basic\"\n"
        )
    }

    /// What it was asked at its place of tokens: the fields of each form.
    pub async fn asked(&self) -> Vec<HashMap<String, String>> {
        let asked = self.server.asked().await;
        asked.iter().filter(|asked| asked.path == "/token").map(|asked| fields(&asked.body)).collect()
    }

    /// How often a refresh token was sent.
    pub async fn refreshes(&self) -> usize {
        self.asked().await.iter().filter(|form| form["grant_type"] == "refresh_token").count()
    }

    /// From now on only this refresh token works.
    pub fn accepts(&self, number: usize) {
        self.state.current.store(number, SeqCst);
    }
}

impl State {
    fn answer(&self, asked: &Asked) -> (u16, Value) {
        let form = fields(&asked.body);
        let field = |name: &str| form.get(name).cloned().unwrap_or_default();
        if asked.path.starts_with("/.well-known/oauth-authorization-server") {
            return (200, metadata(&format!("http://{}", asked.header("host"))));
        }
        if self.is_down.load(SeqCst) {
            return (503, json!({"error": "temporarily_unavailable"}));
        }
        let by_header = asked.header("authorization").starts_with("Basic b3VyLWNsaWVudDpvdXItc2VjcmV0");
        if !by_header && (field("client_id"), field("client_secret")) != ("our-client".into(), "our-secret".into()) {
            return (401, json!({"error": "invalid_client"}));
        }
        match (asked.path.as_str(), field("grant_type").as_str()) {
            ("/device", _) => (200, self.device()),
            ("/token", "authorization_code") => match is_proven(&field("code"), &field("code_verifier")) {
                true => (200, self.next()),
                false => (400, json!({"error": "invalid_grant"})),
            },
            ("/token", "refresh_token") => self.rotate(&field("refresh_token")),
            ("/token", "client_credentials") => (200, json!({"access_token": "at-of-the-client", "expires_in": 3600})),
            ("/token", "urn:ietf:params:oauth:grant-type:device_code") => self.ask(&field("device_code")),
            _ => (404, json!({})),
        }
    }

    /// The next tokens; they are those of Ann.
    fn next(&self) -> Value {
        let number = self.current.fetch_add(1, SeqCst) + 1;
        self.tokens(number)
    }

    fn tokens(&self, number: usize) -> Value {
        let claims = json!({"email": "ann@acme.example", "name": "Ann"}).to_string();
        json!({
            "access_token": format!("at{number}"), "refresh_token": format!("rt{number}"), "token_type": "Bearer",
            "expires_in": self.lives.load(SeqCst), "scope": "models",
            "id_token": format!("e30.{}.sig", BASE64_URL_SAFE_NO_PAD.encode(claims)),
        })
    }

    fn rotate(&self, refresh: &str) -> (u16, Value) {
        let number: usize = refresh.trim_start_matches("rt").parse().unwrap_or(usize::MAX);
        let turned = self.current.compare_exchange(number, number.wrapping_add(1), SeqCst, SeqCst);
        if turned.is_ok() {
            return (200, self.tokens(number + 1));
        }
        self.void.fetch_add(1, SeqCst);
        (400, json!({"error": "invalid_grant", "error_description": format!("{refresh} was used before")}))
    }

    fn device(&self) -> Value {
        json!({
            "device_code": "the-secret-device-code", "user_code": "ABCD-EFGH",
            "verification_uri": "https://acme.example/device", "expires_in": 600, "interval": 0,
        })
    }

    fn ask(&self, code: &str) -> (u16, Value) {
        let waits = self.device_waits.fetch_update(SeqCst, SeqCst, |waits| waits.checked_sub(1));
        match (code, waits) {
            ("the-secret-device-code", _) if self.denies.load(SeqCst) => (400, json!({"error": "access_denied"})),
            ("the-secret-device-code", Ok(_)) => (400, json!({"error": "authorization_pending"})),
            ("the-secret-device-code", Err(_)) => (200, self.next()),
            _ => (400, json!({"error": "invalid_grant"})),
        }
    }
}

fn metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer, "authorization_endpoint": "https://acme.example/found",
        "token_endpoint": format!("{issuer}/token"),
    })
}

/// `code.<challenge>` and its verifier.
fn is_proven(code: &str, verifier: &str) -> bool {
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    code == format!("code.{challenge}")
}

fn fields(body: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}
