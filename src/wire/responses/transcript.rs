//! The events of an answer that is made in the background: numbered from its first one, under the id by which the client
//! knows it, so that a client may come back for those behind a number.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::stored::StoredResponse;
use crate::sse::{SseError, SseScanner};

/// One event may hold the whole answer.
const LONGEST_EVENT: usize = 32 * 1024 * 1024;

/// Reads what a streaming client would get, and writes what one gets that may come and go.
#[derive(Debug)]
pub struct Transcript {
    id: String,
    scanner: SseScanner,
    next: usize,
    end: Option<Value>,
}

impl Transcript {
    /// Of the answer that is queued here, and its first two events.
    pub fn open(queued: &StoredResponse) -> (Self, Vec<String>) {
        let scanner = SseScanner::new(LONGEST_EVENT);
        let mut open = Self { id: queued.id.clone(), scanner, next: 0, end: None };
        let response: Value = serde_json::from_slice(&queued.body()).unwrap_or_default();
        let events = ["response.created", "response.queued"]
            .map(|kind| open.write(Map::from_iter([member("type", kind), ("response".to_owned(), response.clone())])));
        (open, events.into())
    }

    /// The events that these bytes complete.
    ///
    /// # Errors
    /// When one of them is too large to be kept.
    pub fn absorb(&mut self, bytes: Bytes) -> Result<Vec<String>, SseError> {
        let mut written = Vec::new();
        self.scanner.push(bytes);
        while let Some(event) = self.scanner.next_event()? {
            if let Ok(Value::Object(event)) = serde_json::from_slice(&event.data) {
                written.extend(self.pass(event));
            }
        }
        Ok(written)
    }

    /// The answer as its last event told it, or that event's error; none until then.
    pub const fn end(&self) -> Option<&Value> {
        self.end.as_ref()
    }

    /// The last event of an answer that failed, unless it has one.
    pub fn fail(&mut self, failed: &StoredResponse) -> Option<String> {
        if self.end.is_some() {
            return None;
        }
        let response: Value = serde_json::from_slice(&failed.body()).unwrap_or_default();
        Some(self.write(Map::from_iter([member("type", "response.failed"), ("response".to_owned(), response)])))
    }

    /// One event on its way; its beginning was told when it was queued.
    fn pass(&mut self, mut event: Map<String, Value>) -> Option<String> {
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if matches!(kind.as_str(), "response.created" | "response.queued") {
            return None;
        }
        if let Some(Value::Object(response)) = event.get_mut("response") {
            response.insert("id".to_owned(), self.id.as_str().into());
            response.insert("background".to_owned(), true.into());
        }
        if is_end(&kind) {
            self.end = Some(event.get("response").cloned().unwrap_or_else(|| json!({"error": event})));
        }
        Some(self.write(event))
    }

    fn write(&mut self, mut event: Map<String, Value>) -> String {
        event.insert("sequence_number".to_owned(), self.next.into());
        self.next += 1;
        written(&event)
    }
}

/// What a client reads where an answer has no end of its own: `so_far` events came before.
pub fn broken_off(so_far: usize, code: &str, message: &str) -> String {
    let event = json!({"type": "error", "code": code, "message": message, "param": null, "sequence_number": so_far});
    event.as_object().map(written).unwrap_or_default()
}

/// Whether an event that was written here is the last one.
pub fn is_last(event: &str) -> bool {
    event.strip_prefix("event: ").and_then(|rest| rest.split_once('\n')).is_some_and(|(kind, _)| is_end(kind))
}

fn is_end(kind: &str) -> bool {
    matches!(kind, "response.completed" | "response.incomplete" | "response.failed" | "error")
}

fn member(name: &str, text: &str) -> (String, Value) {
    (name.to_owned(), text.into())
}

fn written(event: &Map<String, Value>) -> String {
    let kind = event.get("type").and_then(Value::as_str).unwrap_or("message");
    let data = serde_json::to_string(event).unwrap_or_default();
    format!("event: {kind}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued() -> StoredResponse {
        let response = json!({"id": "inner", "object": "response", "status": "queued", "output": []});
        StoredResponse::of_exchange(&json!({"input": "x"}), response).unwrap().in_background("resp_1", "queued")
    }

    fn data(event: &str) -> Value {
        serde_json::from_str(event.lines().nth(1).unwrap().strip_prefix("data: ").unwrap()).unwrap()
    }

    #[test]
    fn events_are_numbered_from_the_first_and_bear_the_id_that_the_client_knows() {
        let (mut transcript, mut events) = Transcript::open(&queued());
        let stream = concat!(
            "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"inner\"}}\n\n",
            ": ping\n\n",
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\",\"sequence_number\":9}\n\n",
            "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"inner\",\"status\":\"completed\"}}\n\n",
        );

        for byte in stream.as_bytes() {
            events.extend(transcript.absorb(Bytes::copy_from_slice(&[*byte])).unwrap());
        }

        let kinds: Vec<_> = events.iter().map(|event| data(event)["type"].as_str().unwrap().to_owned()).collect();
        let (created, queued) = ("response.created", "response.queued");
        assert_eq!(kinds, [created, queued, "response.output_text.delta", "response.completed"]);
        for (number, event) in events.iter().enumerate() {
            assert_eq!(data(event)["sequence_number"], json!(number));
            assert!(event.ends_with("\n\n") && !event.contains("inner"), "{event}");
        }
        assert_eq!(transcript.end().unwrap()["id"], json!("resp_1"));
        assert!(is_last(&events[3]) && !is_last(&events[2]));
        assert_eq!(transcript.fail(&super::tests::queued()), None, "it has its end");
    }

    #[test]
    fn an_answer_without_an_end_of_its_own_gets_one() {
        let (mut transcript, _) = Transcript::open(&queued());
        let mut failed = queued();
        failed.fail("server_error", "It broke off.");

        let last = transcript.fail(&failed).unwrap();

        assert!(is_last(&last) && is_last(&broken_off(7, "response_cancelled", "It was cancelled.")));
        assert_eq!(data(&last)["response"]["error"]["message"], json!("It broke off."));
        assert_eq!((&data(&last)["sequence_number"], &data(&last)["response"]["id"]), (&json!(2), &json!("resp_1")));
    }
}
