//! One connection of the mock: read a request, choose a behaviour, play the answer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::BytesMut;
use memchr::memmem;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::behaviour::{Behaviour, Kind, Unknown};
use super::control::{Account, Control};
use super::plan::{self, Step};
use super::play::{Played, play};
use super::render::{self, Shape};
use super::request::{self, Request};
use super::{Gate, admin};

/// What the connections of one worker thread share: the answers rendered so far.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) control: Arc<Control>,
    pub(super) gate: watch::Sender<Gate>,
    plans: RefCell<HashMap<Vec<u8>, Rc<[Step]>>>,
    markers: RefCell<HashMap<Vec<u8>, Arc<Behaviour>>>,
    scratch: RefCell<Vec<u8>>,
}

/// More distinct answers than this are not kept: prompts can invent any number of faults.
const KEPT_PLANS: usize = 512;

impl Worker {
    pub(super) fn new(control: Arc<Control>, gate: watch::Sender<Gate>) -> Self {
        let (plans, markers, scratch) = Default::default();
        Worker { control, gate, plans, markers, scratch }
    }

    /// The rendered steps for this behaviour and request, from the store of this worker when they are there.
    fn plan(&self, behaviour: &Behaviour, body: &[u8]) -> Rc<[Step]> {
        let (model, stream, include_usage) =
            (model(body), is_true(body, b"\"stream\""), is_true(body, b"\"include_usage\""));
        let mut key = self.scratch.borrow_mut();
        key.clear();
        key.extend_from_slice(behaviour.spec().as_bytes());
        key.extend_from_slice(&[0, u8::from(stream), u8::from(include_usage)]);
        key.extend_from_slice(model);
        if let Some(plan) = self.plans.borrow().get(key.as_slice()) {
            return plan.clone();
        }
        let shape = Shape { model: String::from_utf8_lossy(model).into_owned(), stream, include_usage };
        let plan: Rc<[Step]> = plan::plan(behaviour, &shape).into();
        remember(&mut self.plans.borrow_mut(), &key, plan)
    }

    fn marked(&self, words: &[u8]) -> Result<Arc<Behaviour>, Unknown> {
        if let Some(behaviour) = self.markers.borrow().get(words) {
            return Ok(behaviour.clone());
        }
        let behaviour = String::from_utf8_lossy(words).parse::<Behaviour>()?;
        Ok(remember(&mut self.markers.borrow_mut(), words, Arc::new(behaviour)))
    }

    fn choose(&self, account: &Account, body: &[u8]) -> Result<Arc<Behaviour>, Unknown> {
        let chosen = match marker(body) {
            Some(words) => self.marked(words)?,
            None => self.control.choose(account),
        };
        let met = chosen.share >= 100 || is_in_share(account.counts().started, chosen.share);
        let in_phase = chosen.phase_ms == 0 || (self.control.now_us() / 1000 / chosen.phase_ms).is_multiple_of(2);
        Ok(if met && in_phase { chosen } else { self.control.plain() })
    }
}

fn remember<V: Clone>(store: &mut HashMap<Vec<u8>, V>, key: &[u8], value: V) -> V {
    if store.len() >= KEPT_PLANS {
        store.clear();
    }
    store.insert(key.to_vec(), value.clone());
    value
}

/// Spread `share` per cent evenly over the requests.
fn is_in_share(nth: u64, share: u64) -> bool {
    nth * share / 100 != (nth + 1) * share / 100
}

/// Serve a connection until it ends or the mock is told to crash.
pub(super) async fn connection(worker: Rc<Worker>, mut stream: TcpStream) {
    let counts = &worker.control;
    counts.connections.fetch_add(1, Relaxed);
    counts.open_connections.fetch_add(1, Relaxed);
    let mut gate = worker.gate.subscribe();
    let crashed = tokio::select! {
        biased;
        () = serve(&worker, &mut stream) => false,
        _ = gate.wait_for(|gate| *gate == Gate::Crashed) => true,
    };
    if crashed {
        drop(stream.set_zero_linger());
    }
    counts.open_connections.fetch_sub(1, Relaxed);
}

async fn serve(worker: &Worker, stream: &mut TcpStream) {
    drop(stream.set_nodelay(true));
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    let mut session = Session { worker, known: None };
    let mut gate = worker.gate.subscribe();
    loop {
        let request = tokio::select! {
            biased;
            request = request::read(stream, &mut buffer) => request,
            _ = gate.wait_for(|gate| *gate != Gate::Open) => return,
        };
        let request = match request {
            // A request that came after `refuse` had returned must find nobody, even if this thread was slow to notice.
            Ok(Some(_)) if *gate.borrow() != Gate::Open => return,
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                drop(answer(stream, "400 Bad Request", &refusal(&error.to_string())).await);
                return;
            }
            Err(_) => return,
        };
        if !session.serve(stream, &mut buffer, &request).await || request.wants_close() {
            return;
        }
    }
}

/// A connection with the account it last served, so that its key is looked up once.
struct Session<'a> {
    worker: &'a Worker,
    known: Option<(String, Arc<Account>)>,
}

impl Session<'_> {
    /// Says whether the connection can serve another request.
    async fn serve(&mut self, stream: &mut TcpStream, buffer: &mut BytesMut, request: &Request) -> bool {
        let path = request.path().split('?').next().unwrap_or("");
        match request.method() {
            "POST" if path.ends_with("/chat/completions") => self.chat(stream, buffer, request).await,
            "GET" if path.ends_with("/models") => self.models(stream, request).await,
            "GET" if path == "/readyz" => answer(stream, "200 OK", "{}").await.is_ok(),
            method if path.starts_with("/__mock/") => {
                let (status, body) = admin::answer(self.worker, method, request.path(), &request.body);
                answer(stream, status, &body).await.is_ok()
            }
            _ => answer(stream, "404 Not Found", &refusal("no such path")).await.is_ok(),
        }
    }

    async fn chat(&mut self, stream: &mut TcpStream, buffer: &mut BytesMut, request: &Request) -> bool {
        let control = &self.worker.control;
        let account = self.account(request.key());
        let behaviour = match self.worker.choose(&account, &request.body) {
            Ok(behaviour) => behaviour,
            Err(unknown) => return answer(stream, "400 Bad Request", &refusal(&unknown.to_string())).await.is_ok(),
        };
        control.started(&account);
        let mut flight = Flight { control, account: &account, ended: false };
        let id = control.recorder.note(request, behaviour.kind.name(), control.now_us());
        let steps = self.worker.plan(&behaviour, &request.body);
        let mark_head = || control.recorder.mark(id, |entry| entry.head_us = Some(control.now_us()));
        let played = play(stream, buffer, &steps, mark_head).await;
        let now = control.now_us();
        if played == Played::Cancelled {
            control.recorder.mark(id, |entry| entry.cancelled_us = Some(now));
        } else {
            control.recorder.mark(id, |entry| entry.answered_us = Some(now));
            flight.answered();
        }
        played == Played::Whole
    }

    /// A list of models uses up no script, but a key that is refused is refused here too.
    async fn models(&mut self, stream: &mut TcpStream, request: &Request) -> bool {
        let control = &self.worker.control;
        control.model_lists.fetch_add(1, Relaxed);
        let standing = control.standing(&self.account(request.key()));
        if standing.kind == Kind::Status {
            let steps = self.worker.plan(&standing, b"");
            let mut ahead = BytesMut::new();
            return play(stream, &mut ahead, &steps, || ()).await == Played::Whole;
        }
        answer(stream, "200 OK", &render::models()).await.is_ok()
    }

    fn account(&mut self, key: &str) -> Arc<Account> {
        match &self.known {
            Some((known, account)) if known == key => account.clone(),
            _ => {
                let account = self.worker.control.account(key);
                self.known = Some((key.to_owned(), account.clone()));
                account
            }
        }
    }
}

/// A request being answered. Dropped before its end it counts as cancelled, whatever dropped it.
struct Flight<'a> {
    control: &'a Control,
    account: &'a Account,
    ended: bool,
}

impl Flight<'_> {
    fn answered(&mut self) {
        self.ended = true;
        self.control.answered(self.account);
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.control.cancelled(self.account);
        }
    }
}

async fn answer(stream: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes()).await
}

pub(super) fn refusal(message: &str) -> String {
    serde_json::json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}})
        .to_string()
}

/// The words between `[[fault:` and `]]`.
fn marker(body: &[u8]) -> Option<&[u8]> {
    let start = memmem::find(body, b"[[fault:")? + "[[fault:".len();
    let length = memmem::find(&body[start..], b"]]")?;
    Some(&body[start..start + length])
}

/// Whether this key has the value true. A quoted key inside a string has its quotes escaped and does not match.
fn is_true(body: &[u8], key: &[u8]) -> bool {
    memmem::find_iter(body, key).any(|at| value_after(&body[at + key.len()..]).is_some_and(|v| v.starts_with(b"true")))
}

fn model(body: &[u8]) -> &[u8] {
    let key = b"\"model\"";
    let values = memmem::find_iter(body, key).filter_map(|at| value_after(&body[at + key.len()..]));
    let texts = values.filter_map(|value| value.strip_prefix(b"\""));
    texts.filter_map(|text| memchr::memchr(b'"', text).map(|end| &text[..end])).next().unwrap_or(b"mock-model")
}

/// What follows a key: the text after the colon.
fn value_after(text: &[u8]) -> Option<&[u8]> {
    text.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_a_request_are_found_without_parsing_it() {
        let body = br#"{"messages":[{"content":"say \"stream\":true [[fault:ok tokens=2]] now"}], "model" : "m1", "stream": false}"#;

        assert!(!is_true(body, b"\"stream\""));
        assert!(is_true(br#"{"stream" :true}"#, b"\"stream\""));
        assert_eq!(model(body), b"m1");
        assert_eq!(marker(body).unwrap(), b"ok tokens=2");
    }

    #[test]
    fn a_share_of_thirty_per_cent_meets_thirty_of_a_hundred_requests() {
        let met = (0..100).filter(|nth| is_in_share(*nth, 30)).count();

        assert_eq!(met, 30);
        assert!((0..10).filter(|nth| is_in_share(*nth, 30)).count() == 3, "spread evenly");
    }
}
