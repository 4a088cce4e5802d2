//! What belongs to accounts that are signed in, and must be told to nobody but their servers and providers.

use omniroute_testkit::http::Request;
use omniroute_testkit::mock::MockUpstream;
use serde_json::{Value, json};

use crate::common::canary::{self, Secrets, found};
use crate::common::scripted::{Asked, Scripted};
use crate::common::{Site, calm, chat};

const CLIENT_SECRET: &str = "canary/oauth+\"client\"-01";
const CODE: &str = "canary/oauth+\"code\"-02";
const DEVICE_CODE: &str = "canary/oauth+\"device\"-03";
const IMPORTED: [&str; 2] = ["canary/oauth+\"access\"-04", "canary/oauth+\"refresh\"-05"];
const ACCESS: &str = "canary/oauth+\"access\"-1";
const REFRESH: &str = "canary/oauth+\"refresh\"-1";
const REDIRECT: &str = "http://localhost:8080/callback";

/// A server that grants whatever is asked for, but refuses the refresh tokens it was told to, and then repeats in its
/// message all that it was sent.
fn grant(nth: usize, asked: &Asked) -> (u16, String) {
    if asked.path == "/device" {
        let device = json!({
            "device_code": DEVICE_CODE, "user_code": "ABCD-EFGH", "verification_uri": "https://acme.example/device",
            "expires_in": 600, "interval": 0,
        });
        return (200, device.to_string());
    }
    let sent: Vec<(String, String)> = url::form_urlencoded::parse(asked.body.as_bytes()).into_owned().collect();
    if sent.iter().any(|(_, value)| value == IMPORTED[1] || value == "wrong") {
        return (400, json!({"error": "invalid_grant", "error_description": format!("{sent:?}")}).to_string());
    }
    let tokens = json!({
        "access_token": format!("{ACCESS}{nth}"), "refresh_token": format!("{REFRESH}{nth}"), "expires_in": 3600,
        "token_type": "Bearer", "scope": "models",
    });
    (200, tokens.to_string())
}

fn entry(server: &Scripted) -> String {
    let (token, device) = (server.url("/token"), server.url("/device"));
    format!(
        "[acme]\nname = \"Acme\"\nprovider = \"up\"\nclient_id = \"our-client\"\nclient_secret = '{CLIENT_SECRET}'\n\
         flows = [\"authorization_code\", \"device_code\", \"client_credentials\", \"import\"]\nscopes = [\"models\"]\n\
         authorization_url = \"https://acme.example/authorize\"\ntoken_url = \"{token}\"\ndevice_url = \"{device}\"\n"
    )
}

/// A gateway at TRACE, and what operators do with accounts; everything that they were answered.
struct Desk {
    site: Site,
    said: Vec<u8>,
}

impl Desk {
    async fn send(&mut self, request: Request) -> Value {
        let answer = self.site.admin.send(request).await;
        self.said.extend_from_slice(&answer.body);
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    async fn act(&mut self, action: &str, body: Value) -> Value {
        self.send(Request::post(&format!("/api/oauth/acme/{action}"), &body)).await
    }

    /// A sign-in by a browser with this code.
    async fn browser(&mut self, code: &str) -> Value {
        let begun = self.send(Request::get("/api/oauth/acme/authorize")).await;
        self.act("exchange", json!({"code": code, "redirectUri": REDIRECT, "state": begun["state"]})).await
    }

    async fn ask(&mut self) {
        let answer = self.site.gateway.ask(&chat("up/m", false)).await;
        self.said.extend_from_slice(&answer.body);
    }

    async fn work(&mut self) {
        let made = self.browser(CODE).await;
        let id = made["connection"]["id"].as_str().unwrap_or_else(|| panic!("no connection in {made}")).to_owned();
        self.ask().await;
        self.send(Request::post(&format!("/api/providers/{id}/refresh"), &json!({}))).await;
        self.send(Request::post(&format!("/api/providers/{id}/test"), &json!({}))).await;
        self.browser("wrong").await;
        let device = self.send(Request::get("/api/oauth/acme/device-code")).await;
        let polled = self.act("poll", json!({"deviceCode": device["device_code"]})).await;
        assert_eq!(polled["success"], json!(true), "{device} {polled}");
        self.act("client-credentials", json!({"name": "by the client"})).await;
        let [access, refresh] = IMPORTED;
        let ended =
            json!({"accessToken": access, "refreshToken": refresh, "expiresAt": "2020-01-01T00:00:00Z", "name": "x"});
        let imported = self.act("import", ended).await;
        let id =
            imported["connection"]["id"].as_str().unwrap_or_else(|| panic!("no connection in {imported}")).to_owned();
        // Its server refuses it, and says why in words that hold everything.
        self.send(Request::post(&format!("/api/providers/{id}/refresh"), &json!({}))).await;
        self.ask().await;
        self.act("import", json!({"accessToken": access, "surprise": refresh})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_of_an_account_is_in_the_log_at_trace_or_in_any_answer_or_copy() {
    let (server, provider) = (Scripted::start(grant).await, MockUpstream::start().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("oauth.toml");
    std::fs::write(&file, entry(&server)).unwrap();
    let builder = calm()
        .set("logging.level", "trace")
        .set("oauth.file", file.to_str().unwrap())
        .set("sync.shared_key", "a key that both operators share, long enough");
    let mut desk = Desk { site: Site::open(builder).await, said: Vec::new() };
    desk.site.admin.create_node("up", &provider.base_url()).await;

    desk.work().await;
    let asked = server.asked().await;
    let secrets = secrets(&asked);
    let told = canary::told(&desk.site.gateway, &desk.site.admin, &secrets).await;

    let used: Vec<_> = provider.control.requests().into_iter().map(|request| request.key).collect();
    assert!(used.iter().any(|key| key.starts_with(ACCESS)), "an access token was in use: {used:?}");
    let refused =
        asked.iter().filter(|asked| asked.body.contains("refresh-05") || asked.body.contains("refresh%22-05"));
    assert!(refused.count() > 0, "the refresh token that is refused was sent: {asked:?}");
    assert_eq!(found(&desk.said, &secrets), Vec::<String>::new());
    assert_eq!(told, Vec::<String>::new());
}

/// What is in play: what was given, and what the gateway made up itself as its server saw it.
fn secrets(asked: &[Asked]) -> Secrets {
    let sent = |name: &str| {
        let forms = asked.iter().flat_map(|asked| url::form_urlencoded::parse(asked.body.as_bytes()).into_owned());
        let found = forms.filter(|(field, _)| field == name).map(|(_, value)| value).next();
        found.unwrap_or_else(|| panic!("no {name} was sent: {asked:?}"))
    };
    let [access, refresh] = IMPORTED.map(str::to_owned);
    vec![
        ("the client's secret", CLIENT_SECRET.to_owned()),
        ("the code", CODE.to_owned()),
        ("the verifier", sent("code_verifier")),
        ("the device code", DEVICE_CODE.to_owned()),
        ("an imported access token", access),
        ("an imported refresh token", refresh),
        ("an access token", ACCESS.to_owned()),
        ("a refresh token", REFRESH.to_owned()),
    ]
}
