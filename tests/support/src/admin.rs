//! An operator at the management API: signs in, creates what a test needs, and complains loudly when refused.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::http::{self, Request, Response};
use crate::mock::MockUpstream;

/// A signed-in session.
#[derive(Debug, Clone)]
pub struct Admin {
    addr: SocketAddr,
    cookie: String,
}

/// A client key as it is shown once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientKey {
    /// Its id in the management API.
    pub id: String,
    /// What the client sends.
    pub key: String,
}

/// One mock with its connections, as the gateway knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The provider node.
    pub node: String,
    /// One connection per account key, in the order given.
    pub connections: Vec<String>,
}

impl Admin {
    /// Sign in.
    ///
    /// # Panics
    /// When the gateway refuses or sets no session cookie.
    pub async fn login(addr: SocketAddr, password: &str) -> Self {
        let request = same_origin(addr, Request::post("/api/auth/login", &json!({"password": password})));
        let response = http::request(addr, &request).await.expect("an answer to the login");
        assert_eq!(response.status(), 200, "login refused: {}", response.text());
        let cookies = response.head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        let pairs: Vec<_> = cookies.filter_map(|(_, value)| value.split(';').next()).collect();
        assert!(pairs.iter().any(|pair| pair.contains("auth_token=")), "no session cookie in {pairs:?}");
        Admin { addr, cookie: pairs.join("; ") }
    }

    /// The cookie header of this session.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Send any request within the session.
    pub async fn send(&self, request: Request) -> Response {
        let request = same_origin(self.addr, request.header("Cookie", &self.cookie));
        http::request(self.addr, &request).await.expect("an answer of the management API")
    }

    /// GET a path that must answer 200; the JSON body is the answer.
    pub async fn get(&self, path: &str) -> Value {
        expect("GET", path, 200, self.send(Request::get(path)).await)
    }

    /// POST to a path that must answer 200 or 201.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let response = self.send(Request::post(path, body)).await;
        let wanted = if response.status() == 201 { 201 } else { 200 };
        expect("POST", path, wanted, response)
    }

    /// PUT to a path that must answer 200.
    pub async fn put(&self, path: &str, body: &Value) -> Value {
        expect("PUT", path, 200, self.send(Request::new("PUT", path).json(body)).await)
    }

    /// PATCH a path that must answer 200.
    pub async fn patch(&self, path: &str, body: &Value) -> Value {
        expect("PATCH", path, 200, self.send(Request::new("PATCH", path).json(body)).await)
    }

    /// DELETE a path that must answer 200.
    pub async fn delete(&self, path: &str) -> Value {
        expect("DELETE", path, 200, self.send(Request::new("DELETE", path)).await)
    }

    /// An OpenAI-compatible endpoint of one's own; the answer is its id.
    pub async fn create_node(&self, prefix: &str, base_url: &str) -> String {
        let node = json!({"name": prefix, "prefix": prefix, "apiType": "chat", "type": "openai-compatible", "baseUrl": base_url});
        text(&self.post("/api/provider-nodes", &node).await, "/node/id")
    }

    /// An account at a provider or node; the answer is its id.
    pub async fn create_connection(&self, provider: &str, name: &str, api_key: &str) -> String {
        self.create_connection_with(&json!({"provider": provider, "name": name, "apiKey": api_key})).await
    }

    /// An account with any fields; the answer is its id.
    pub async fn create_connection_with(&self, fields: &Value) -> String {
        text(&self.post("/api/providers", fields).await, "/connection/id")
    }

    /// A combo over these model strings; the answer is its id.
    pub async fn create_combo(&self, name: &str, strategy: &str, models: &[&str]) -> String {
        self.create_combo_with(&json!({"name": name, "strategy": strategy, "models": models})).await
    }

    /// A combo with any fields; the answer is its id.
    pub async fn create_combo_with(&self, fields: &Value) -> String {
        text(&self.post("/api/combos", fields).await, "/id")
    }

    /// A client key.
    pub async fn create_key(&self, name: &str) -> ClientKey {
        self.create_key_with(&json!({"name": name})).await
    }

    /// A client key with any fields.
    pub async fn create_key_with(&self, fields: &Value) -> ClientKey {
        let answer = self.post("/api/keys", fields).await;
        ClientKey { id: text(&answer, "/id"), key: text(&answer, "/key") }
    }

    /// A node for the mock and one connection per account key; models are then `prefix/model`.
    pub async fn add_upstream(&self, mock: &MockUpstream, prefix: &str, account_keys: &[&str]) -> Upstream {
        let node = self.create_node(prefix, &mock.base_url()).await;
        let mut connections = Vec::new();
        for key in account_keys {
            connections.push(self.create_connection(&node, &format!("{prefix} {key}"), key).await);
        }
        Upstream { node, connections }
    }

    /// Configuration and live state of breakers, cooldowns and lockouts.
    pub async fn resilience(&self) -> Value {
        self.get("/api/resilience").await
    }

    /// Reset breakers and, by scope, what else keeps connections from serving; `Value::Null` sends no body.
    pub async fn reset(&self, body: &Value) -> Value {
        let request = Request::new("POST", "/api/resilience/reset");
        let request = if body.is_null() { request } else { request.json(body) };
        expect("POST", "/api/resilience/reset", 200, self.send(request).await)
    }
}

/// What a browser on the gateway's own pages sends along.
fn same_origin(addr: SocketAddr, request: Request) -> Request {
    request.header("Origin", &format!("http://{addr}")).header("Sec-Fetch-Site", "same-origin")
}

fn expect(method: &str, path: &str, status: u16, response: Response) -> Value {
    assert_eq!(response.status(), status, "{method} {path} answered {}", response.text());
    if response.body.is_empty() { Value::Null } else { response.json() }
}

fn text(answer: &Value, pointer: &str) -> String {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text at {pointer} in {answer}")).to_owned()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    /// A server that gives these answers in turn and shows the requests it got.
    async fn server(answers: Vec<(&'static str, Value)>) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (seen, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for (head, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let n = stream.read(&mut request).await.unwrap();
                seen.send(String::from_utf8_lossy(&request[..n]).into_owned()).unwrap();
                let body = body.to_string();
                let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (addr, requests)
    }

    const SIGNED_IN: &str = "200 OK\r\nSet-Cookie: auth_token=abc; HttpOnly; Path=/";

    #[tokio::test]
    async fn a_session_is_kept_and_what_is_created_is_named_by_its_id() {
        let mock = MockUpstream::start().await;
        let (addr, mut seen) = server(vec![
            (SIGNED_IN, json!({"success": true})),
            ("201 Created", json!({"node": {"id": "openai-compatible-chat-1"}})),
            ("201 Created", json!({"connection": {"id": "c1"}})),
            ("201 Created", json!({"id": "combo1"})),
            ("201 Created", json!({"id": "k1", "key": "sk-1"})),
        ])
        .await;

        let admin = Admin::login(addr, "secret").await;
        let upstream = admin.add_upstream(&mock, "mock", &["sk-a"]).await;
        let combo = admin.create_combo("team", "priority", &["mock/m"]).await;
        let key = admin.create_key("ci").await;

        assert_eq!(upstream, Upstream { node: "openai-compatible-chat-1".into(), connections: vec!["c1".into()] });
        assert_eq!((combo.as_str(), key.id.as_str(), key.key.as_str()), ("combo1", "k1", "sk-1"));
        assert!(seen.recv().await.unwrap().contains("{\"password\":\"secret\"}"));
        let node = seen.recv().await.unwrap();
        assert!(node.contains("Cookie: auth_token=abc\r\n") && node.contains(&mock.base_url()));
        assert!(seen.recv().await.unwrap().contains("\"provider\":\"openai-compatible-chat-1\""));
    }

    #[tokio::test]
    #[should_panic(expected = "GET /api/combos answered")]
    async fn a_refusal_stops_the_test_and_shows_the_answer() {
        let (addr, _seen) = server(vec![(SIGNED_IN, json!({})), ("403 Forbidden", json!({"error": "no"}))]).await;

        Admin::login(addr, "secret").await.get("/api/combos").await;
    }
}
