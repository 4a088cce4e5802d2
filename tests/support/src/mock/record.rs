//! The last requests as they arrived, with the moments of their answers.

use std::collections::VecDeque;

use serde::Serialize;

use super::control::{Lock, lock};
use super::request::Request;

const KEPT_BODY: usize = 1024 * 1024;

/// One chat request and what became of it; times are microseconds on the mock's clock.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// Counts up over the life of the mock.
    pub id: u64,
    /// `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names as sent, in order.
    pub headers: Vec<(String, String)>,
    /// The first MiB of the body.
    pub body: String,
    /// The length of the whole body.
    pub body_bytes: usize,
    /// The bearer key.
    pub key: String,
    /// The behaviour it met.
    pub behaviour: &'static str,
    /// When the request was complete.
    pub started_us: u64,
    /// When the head of the answer was sent.
    pub head_us: Option<u64>,
    /// When the answer was complete.
    pub answered_us: Option<u64>,
    /// When the client hung up.
    pub cancelled_us: Option<u64>,
}

impl Recorded {
    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON, or null.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// A bounded list of recorded requests; with a bound of zero nothing is recorded.
#[derive(Debug)]
pub(super) struct Recorder {
    kept: usize,
    list: Lock<List>,
}

#[derive(Debug, Default)]
struct List {
    next: u64,
    entries: VecDeque<Recorded>,
}

impl Recorder {
    pub(super) fn new(kept: usize) -> Self {
        Recorder { kept, list: Lock::default() }
    }

    /// Note a request; the answer is the id for the later marks.
    pub(super) fn note(&self, request: &Request, behaviour: &'static str, now: u64) -> Option<u64> {
        if self.kept == 0 {
            return None;
        }
        let kept = request.body.get(..KEPT_BODY).unwrap_or(&request.body);
        let entry = Recorded {
            id: 0,
            method: request.method().into(),
            path: request.path().into(),
            headers: request.headers(),
            body: String::from_utf8_lossy(kept).into_owned(),
            body_bytes: request.body.len(),
            key: request.key().into(),
            behaviour,
            started_us: now,
            head_us: None,
            answered_us: None,
            cancelled_us: None,
        };
        Some(lock(&self.list).push(entry, self.kept))
    }

    pub(super) fn mark(&self, id: Option<u64>, mark: impl FnOnce(&mut Recorded)) {
        let Some(id) = id else { return };
        let mut list = lock(&self.list);
        let first = list.entries.front().map_or(0, |entry| entry.id);
        let place = id.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(entry) = place.and_then(|place| list.entries.get_mut(place)) {
            mark(entry);
        }
    }

    pub(super) fn last(&self, n: usize) -> Vec<Recorded> {
        let list = lock(&self.list);
        list.entries.iter().skip(list.entries.len().saturating_sub(n)).cloned().collect()
    }

    pub(super) fn clear(&self) {
        lock(&self.list).entries.clear();
    }
}

impl List {
    fn push(&mut self, mut entry: Recorded, kept: usize) -> u64 {
        if self.entries.len() == kept {
            self.entries.pop_front();
        }
        entry.id = self.next;
        self.next += 1;
        let id = entry.id;
        self.entries.push_back(entry);
        id
    }
}
