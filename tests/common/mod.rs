//! What most tests need: a gateway that a test can wait for, a site of a gateway and its upstreams, and looks behind
//! the scenes.

pub mod authorization;
pub mod canary;
pub mod database;
pub mod engine;
pub mod postgres;
pub mod scripted;

use std::time::{Duration, Instant};

use omniroute_testkit::admin::{Admin, Upstream};
use omniroute_testkit::gateway::{Builder, Gateway};
use omniroute_testkit::http::{Request, Response, Tail};
use omniroute_testkit::mock::MockUpstream;
use serde_json::{Value, json};

/// A client key of the configuration, valid without a row in the store.
pub const KEY: &str = "sk-end-to-end-0123456789abcdef";
/// Longer than anything here may take; a bound, never a measure.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The program under test.
pub fn program() -> Builder {
    Gateway::builder(env!("CARGO_BIN_EXE_omniroute"))
}

/// Without the demo, without pacing, with breakers and retry budgets that do not interfere and without waits for a
/// cooldown: each test switches on what it is about.
pub fn calm() -> Builder {
    let apikey = "resilience.provider_breaker.apikey";
    program()
        .set("auth.service_key", KEY)
        .set("demo.enabled", "never")
        .set("server.workers", "2")
        .set("server.drain_delay_ms", "0")
        .set("resilience.request_queue.auto_enable_api_key_providers", "false")
        .set("resilience.wait_for_cooldown.enabled", "false")
        .set(&format!("{apikey}.failure_threshold"), "1000")
        .set(&format!("{apikey}.degradation_threshold"), "1000")
        .set(&format!("{apikey}.minimum_calls"), "100000")
}

/// A breaker that opens on the second failure in a row and stays open for that long.
pub fn touchy(open_ms: u64) -> Builder {
    let apikey = "resilience.provider_breaker.apikey";
    calm()
        .set(&format!("{apikey}.failure_threshold"), "2")
        .set(&format!("{apikey}.degradation_threshold"), "1")
        .set(&format!("{apikey}.reset_timeout_ms"), &open_ms.to_string())
}

/// A chat request with the service key.
pub fn chat(model: &str, stream: bool) -> Request {
    Request::chat(model, "hello", stream).key(KEY)
}

/// The same from a conversation of its own: nothing ties it to the connection that served another one.
pub fn stranger(model: &str, stream: bool) -> Request {
    static CONVERSATIONS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = CONVERSATIONS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Request::chat(model, &format!("hello, I am number {number}"), stream).key(KEY)
}

/// A chat request with these members beside model and messages.
pub fn chat_with(model: &str, members: &Value) -> Request {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
    for (name, value) in members.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    Request::post("/v1/chat/completions", &body).key(KEY)
}

/// A gateway with one upstream `a`, and perhaps a second one `b`; `team` is the combo of both, `a` first.
pub struct Site {
    pub gateway: Gateway,
    pub admin: Admin,
    pub a: MockUpstream,
    pub b: MockUpstream,
    pub at_a: Upstream,
    pub at_b: Upstream,
}

impl Site {
    pub async fn open(builder: Builder) -> Self {
        let (a, b) = (MockUpstream::start().await, MockUpstream::start().await);
        let gateway = builder.start().await;
        let admin = gateway.admin().await;
        let at_a = admin.add_upstream(&a, "a", &["sk-a"]).await;
        let at_b = admin.add_upstream(&b, "b", &["sk-b"]).await;
        admin.create_combo("team", "priority", &["a/m", "b/m"]).await;
        Site { gateway, admin, a, b, at_a, at_b }
    }

    /// From now on the gateway waits a moment only for a body. Not from the start: what sets a site up could be late
    /// itself on a busy machine.
    pub async fn loses_patience(&self) {
        self.gateway.rewrite_config("[server]\nbody_read_timeout_ms = 100\n");
        self.admin.post("/api/config/reload", &json!({})).await;
    }

    /// Ask the upstream `a` alone.
    pub async fn ask(&self, stream: bool) -> Response {
        self.gateway.ask(&chat("a/m", stream)).await
    }

    /// Ask the combo.
    pub async fn ask_team(&self, stream: bool) -> Response {
        self.gateway.ask(&chat("team", stream)).await
    }

    /// The live state of the connection at `a`.
    pub async fn state_of_a(&self) -> Value {
        state_of(&self.admin, &self.at_a.connections[0]).await
    }

    /// Wait until the connection at `a` is in this state.
    pub async fn a_becomes(&self, state: &str) -> Value {
        let id = &self.at_a.connections[0];
        let reached = eventually(PATIENCE, async || {
            let now = state_of(&self.admin, id).await;
            (now["state"] == state).then_some(now)
        });
        match reached.await {
            Some(now) => now,
            None => panic!("never {state}: {}; the log:\n{}", self.state_of_a().await, self.gateway.log()),
        }
    }

    /// Open the breaker of `a` by two failures.
    pub async fn open_breaker_of_a(&self) {
        self.a.control.script(["status code=500", "status code=500"]);
        for _ in 0..2 {
            assert_eq!(self.ask(false).await.status(), 502);
        }
        self.a_becomes("open").await;
    }

    /// The usage record of a request, once it is stored.
    pub async fn record(&self, request_id: &str) -> database::Usage {
        let found = eventually(PATIENCE, async || database::usage_of(&self.gateway.data_dir, request_id)).await;
        found.unwrap_or_else(|| panic!("no usage record {request_id}; the log:\n{}", self.gateway.log()))
    }
}

/// The live state of one connection as `/api/resilience` shows it.
pub async fn state_of(admin: &Admin, connection: &str) -> Value {
    let all = admin.resilience().await;
    let list = all["state"]["connections"].as_array().cloned().unwrap_or_default();
    let found = list.into_iter().find(|entry| entry["id"] == connection);
    found.unwrap_or_else(|| panic!("no connection {connection} in {all}"))
}

/// Ask until there is an answer, at most `patience`.
pub async fn eventually<T>(patience: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = ask().await {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// At most `PATIENCE` for something that should not take long.
pub async fn soon<T>(what: &str, doing: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, doing).await {
        Ok(done) => done,
        Err(_) => panic!("{what} takes too long"),
    }
}

/// Only one of the tests that use the whole machine runs at a time.
pub async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}

/// The error object of an answer in OpenAI's shape, which is checked on the way.
pub fn error_of(response: &Response) -> Value {
    let error = response.json()["error"].clone();
    for member in ["message", "type"] {
        assert!(error[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {}", response.text());
    }
    let members = error.as_object().expect("an error object");
    assert!(members.contains_key("param") && members.contains_key("code"), "{error}");
    error
}

/// What a client of a stream sees at its end.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// `[DONE]` and a proper end.
    Whole,
    /// An error event and a proper end.
    Error,
    /// Neither: what no client may ever see.
    Bare,
}

/// How a stream ended.
pub fn end_of(tail: &Tail) -> End {
    let events = tail.events();
    let last = events.last().map(String::as_str).unwrap_or_default();
    let says_error = serde_json::from_str::<Value>(last).is_ok_and(|event| event["error"]["message"].is_string());
    let done = events.iter().any(|event| event == "[DONE]");
    match (tail.cut.is_some(), done, says_error) {
        (false, true, false) if last == "[DONE]" => End::Whole,
        (false, false, true) => End::Error,
        _ => End::Bare,
    }
}
