//! Answers that are remembered, for providers that cannot: pure functions over JSON, whoever keeps it.
//!
//! The conversation behind `previous_response_id` is put before the new input, so that the rest of the gateway sees a request
//! that holds everything. `instructions` are not inherited; that is the format's own rule.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::bad_request::BadRequest;

/// Items per page where the client does not say.
const PAGE: usize = 20;
const MAX_PAGE: usize = 100;

/// One remembered answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredResponse {
    /// The id by which the client knows it.
    pub id: String,
    /// The answer before it.
    pub previous_id: Option<String>,
    /// What the client said, without what was said before; every item has an id.
    pub input: Vec<Value>,
    /// What the model said.
    pub output: Vec<Value>,
    /// The rest of the response object.
    pub head: Map<String, Value>,
    /// Its events in their order, where it was streamed while it was made in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
}

impl StoredResponse {
    /// What is to be remembered of an exchange: the client's own body, before history was put into it, and the response
    /// object that the client got. Nothing if the object has no id.
    pub fn of_exchange(request: &Value, response: Value) -> Option<Self> {
        let Value::Object(mut head) = response else { return None };
        let id = head.get("id")?.as_str()?.to_owned();
        let output = match head.shift_remove("output") {
            Some(Value::Array(output)) => output,
            _ => Vec::new(),
        };
        let previous = request.get("previous_response_id").and_then(Value::as_str);
        let previous_id = previous.map(str::to_owned);
        Some(Self { previous_id, input: input_of(request, &id), id, output, head, events: None })
    }

    /// The answer under this id, made in the background, as far as it is.
    #[must_use]
    pub fn in_background(mut self, id: &str, status: &str) -> Self {
        id.clone_into(&mut self.id);
        self.head.insert("id".to_owned(), id.into());
        self.head.insert("background".to_owned(), true.into());
        self.at(status)
    }

    /// The same, as far as it is by now. One that failed says why, or that its maker is gone.
    #[must_use]
    pub fn at(mut self, status: &str) -> Self {
        self.head.insert("status".to_owned(), status.into());
        if status == "failed" && self.head.get("error").is_none_or(Value::is_null) {
            let message = "The gateway ended while it worked on this response.";
            self.fail("server_error", message);
        }
        self
    }

    /// It failed, for this reason.
    pub fn fail(&mut self, code: &str, message: &str) {
        self.head.insert("status".to_owned(), "failed".into());
        self.head.insert("error".to_owned(), json!({"code": code, "message": message}));
    }

    /// Its status.
    pub fn status(&self) -> Option<&str> {
        self.head.get("status").and_then(Value::as_str)
    }

    /// The item of that id, asked or answered.
    pub fn item(&self, id: &str) -> Option<&Value> {
        self.input.iter().chain(&self.output).find(|item| id_of(item) == Some(id))
    }

    /// The ids of all items.
    pub fn item_ids(&self) -> Vec<String> {
        self.input.iter().chain(&self.output).filter_map(id_of).map(str::to_owned).collect()
    }

    /// The body of `GET /v1/responses/{id}`.
    pub fn body(&self) -> Bytes {
        let mut response = self.head.clone();
        response.insert("output".to_owned(), Value::Array(self.output.clone()));
        Value::Object(response).to_string().into()
    }

    /// The body of `GET /v1/responses/{id}/input_items`.
    pub fn input_items(&self, page: &Page) -> Bytes {
        let mut items: Vec<&Value> = self.input.iter().collect();
        if !page.ascending {
            items.reverse();
        }
        if let Some(after) = &page.after {
            let seen = items.iter().position(|item| id_of(item) == Some(after)).map_or(items.len(), |at| at + 1);
            items.drain(..seen);
        }
        let limit = page.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
        let has_more = items.len() > limit;
        items.truncate(limit);
        let edge = |item: Option<&&Value>| item.and_then(|item| id_of(item)).unwrap_or_default().to_owned();
        let (first, last) = (edge(items.first()), edge(items.last()));
        json!({"object": "list", "data": items, "first_id": first, "last_id": last, "has_more": has_more})
            .to_string()
            .into()
    }
}

/// Which items a client wants to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Those behind the item with this id.
    pub after: Option<String>,
    /// So many of them.
    pub limit: Option<usize>,
    /// Oldest first; newest first otherwise.
    pub ascending: bool,
}

/// The body of `DELETE /v1/responses/{id}`.
pub fn deleted_body(id: &str) -> Bytes {
    json!({"id": id, "object": "response", "deleted": true}).to_string().into()
}

/// There is no answer of that id that this client may see.
pub fn previous_not_found(id: &str) -> BadRequest {
    let message = format!("Previous response with id '{id}' not found");
    BadRequest::new(message, "previous_response_id", "previous_response_not_found")
}

/// There is no item of the id that the input names at this place.
pub fn item_not_found(place: usize, id: &str) -> BadRequest {
    BadRequest::new(format!("Item with id '{id}' not found"), format!("input[{place}].id"), "item_not_found")
}

/// The answer that a body goes on from.
pub fn previous_id(request: &Value) -> Option<&str> {
    request.get("previous_response_id").and_then(Value::as_str)
}

/// The body with everything that was said before, oldest answer of the chain first. References to what the chain holds go,
/// because nothing is said twice; others stay for [`with_references`].
pub fn with_history(mut request: Value, chain: &[StoredResponse]) -> Value {
    let new = take_items(&mut request);
    let Some(body) = request.as_object_mut() else { return request };
    body.shift_remove("previous_response_id");
    let said = chain.iter().flat_map(|stored| stored.input.iter().chain(&stored.output));
    let known: Vec<&Value> = said.collect();
    let is_known = |item: &Value| is_reference(item) && known.iter().any(|known| id_of(known) == id_of(item));
    let new = new.into_iter().filter(|item| !is_known(item));
    let history = known.iter().copied().cloned().chain(new).collect();
    body.insert("input".to_owned(), Value::Array(history));
    request
}

fn is_reference(item: &Value) -> bool {
    item.get("type").and_then(Value::as_str) == Some("item_reference")
}

/// The body with items in place of references; `find` knows the items that it refers to.
pub fn with_references(mut request: Value, find: impl Fn(&str) -> Option<Value>) -> Value {
    let Some(Value::Array(items)) = request.get_mut("input") else { return request };
    for item in items.iter_mut().filter(|item| is_reference(item)) {
        if let Some(found) = id_of(item).and_then(&find) {
            *item = found;
        }
    }
    request
}

/// The ids that a body refers to and their places in its input, to be looked up before [`with_references`].
pub fn references(request: &Value) -> Vec<(usize, &str)> {
    let items = request.get("input").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let references = items.iter().enumerate().filter(|(_, item)| is_reference(item));
    references.map(|(place, item)| (place, id_of(item).unwrap_or_default())).collect()
}

fn id_of(item: &Value) -> Option<&str> {
    item.get("id").and_then(Value::as_str)
}

fn take_items(request: &mut Value) -> Vec<Value> {
    match request.get_mut("input").map(Value::take) {
        Some(Value::Array(items)) => items,
        Some(Value::String(text)) => vec![user(text)],
        _ => Vec::new(),
    }
}

fn user(text: String) -> Value {
    json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
}

/// The client's items, each with an id: lists of them are paged by it.
fn input_of(request: &Value, response_id: &str) -> Vec<Value> {
    let mut request = request.clone();
    let mut items = take_items(&mut request);
    let stem = response_id.trim_start_matches("resp_");
    for (index, item) in items.iter_mut().enumerate() {
        let Some(members) = item.as_object_mut() else { continue };
        members.entry("type").or_insert_with(|| "message".into());
        if members.get("id").is_none_or(|id| !id.is_string()) {
            members.insert("id".to_owned(), format!("in_{stem}_{index}").into());
        }
        if members.get("type").and_then(Value::as_str) == Some("message") {
            plain_message(members);
        }
    }
    items
}

/// Stored messages hold lists, and a status.
fn plain_message(message: &mut Map<String, Value>) {
    let said = message.get("role").and_then(Value::as_str) == Some("assistant");
    if let Some(Value::String(text)) = message.get("content") {
        let content = if said {
            json!([{"type": "output_text", "text": text, "annotations": []}])
        } else {
            json!([{"type": "input_text", "text": text}])
        };
        message.insert("content".to_owned(), content);
    }
    message.entry("status").or_insert_with(|| "completed".into());
}
