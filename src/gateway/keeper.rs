//! Keeps answers of the Responses API, so that a client may go on from one by its id.
//!
//! The answer is taken from what the client itself gets, so it does not matter which provider gave it, nor in which
//! format. Keeping happens behind the answer: a store that is away costs the client nothing but the memory.

use std::rc::Rc;

use bytes::Bytes;
use serde_json::Value;

use super::fault::Fault;
use super::relay::{Progress, Relay, Trunk};
use crate::store::{KeptResponse, ResponseRow, Store};
use crate::wire::chat::Took;
use crate::wire::openai_error::ErrorBody;
use crate::wire::responses::stored::StoredResponse;
use crate::wire::sse::SseScanner;
use crate::wire::usage::Usage;

/// The terminal event holds the whole answer; a larger one is not kept.
const LONGEST_EVENT: usize = 32 * 1024 * 1024;

/// Whose answer it will be, and what it answers.
#[derive(Clone)]
pub struct Keeper {
    /// Where it goes.
    pub store: Store,
    /// Who may go on from it.
    pub owner: String,
    /// The time, in milliseconds since the Unix epoch.
    pub now: i64,
    /// How long it is kept, in milliseconds.
    pub ttl: i64,
    /// The client's own body, without what was said before.
    pub request: Value,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl Keeper {
    /// Keep this answer.
    pub fn keep(&self, response: Value) {
        let Some(stored) = StoredResponse::of_exchange(&self.request, response) else { return };
        let Ok(body) = serde_json::to_string(&stored) else { return };
        let items = stored.item_ids();
        let row = ResponseRow {
            id: stored.id.clone(),
            owner: self.owner.clone(),
            created_at: self.now,
            expires_at: self.now.saturating_add(self.ttl),
            body,
            run: None,
        };
        let store = self.store.clone();
        actix_rt::spawn(async move {
            if let Err(error) = store.responses().insert(KeptResponse { row, items }).await {
                tracing::warn!(%error, response.id = stored.id, "an answer cannot be kept");
            }
        });
    }
}

impl Keeper {
    /// Keep the answer of this stream, which is whole.
    pub fn keep_stream(&self, stream: &Bytes) {
        keeps_looking(self, &mut SseScanner::new(LONGEST_EVENT), stream);
    }
}

/// A stream whose answer is kept.
#[derive(Debug)]
pub struct KeptRelay {
    inner: Box<dyn Relay>,
    keeper: Rc<Keeper>,
    /// Gone once the answer is kept, or cannot be.
    scanner: Option<SseScanner>,
}

impl KeptRelay {
    /// Watch what the client gets.
    pub fn new(inner: Box<dyn Relay>, keeper: Rc<Keeper>) -> Self {
        Self { inner, keeper, scanner: Some(SseScanner::new(LONGEST_EVENT)) }
    }

    fn look(&mut self, bytes: &Bytes) {
        if let Some(scanner) = &mut self.scanner
            && !keeps_looking(&self.keeper, scanner, bytes)
        {
            self.scanner = None;
        }
    }
}

/// Keep the answer if its last event is here; says whether it may still come.
fn keeps_looking(keeper: &Keeper, scanner: &mut SseScanner, bytes: &Bytes) -> bool {
    scanner.push(bytes.clone());
    loop {
        match scanner.next_event() {
            Ok(Some(event)) if is_terminal(event.event.as_deref()) => {
                if let Some(response) = response_of(&event.data) {
                    keeper.keep(response);
                }
                return false;
            }
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

fn is_terminal(name: Option<&[u8]>) -> bool {
    matches!(name, Some(b"response.completed" | b"response.incomplete"))
}

fn response_of(data: &[u8]) -> Option<Value> {
    let mut event: Value = serde_json::from_slice(data).ok()?;
    event.get_mut("response").map(Value::take)
}

impl Relay for KeptRelay {
    fn absorb(&mut self, chunk: Bytes) -> Result<Progress, Fault> {
        self.inner.absorb(chunk)
    }

    fn close(&mut self, took: Took) -> Result<(), Fault> {
        self.inner.close(took)
    }

    fn must_commit(&self) -> bool {
        self.inner.must_commit()
    }

    fn take_out(&mut self) -> Bytes {
        let bytes = self.inner.take_out();
        self.look(&bytes);
        bytes
    }

    fn waiting(&self) -> usize {
        self.inner.waiting()
    }

    fn usage(&self, prompt_chars: u64) -> Usage {
        self.inner.usage(prompt_chars)
    }

    fn contents(&self) -> u64 {
        self.inner.contents()
    }

    fn fail(&mut self, error: &ErrorBody) -> Bytes {
        self.inner.fail(error)
    }

    fn heartbeat(&self) -> Bytes {
        self.inner.heartbeat()
    }

    fn trunk(&mut self) -> Option<&mut Trunk> {
        self.inner.trunk()
    }
}
