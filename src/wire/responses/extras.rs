//! What a request asks of the gateway itself rather than of a model: to store, to remember, to run in the background.
//!
//! These members stay in [`Request::rest`], so that a Responses provider gets them as they were; here they are read.

use serde_json::{Map, Value};

use crate::bad_request::BadRequest;
use crate::chat::Request;
use crate::chat::read::wrong_type;

/// The members of a request that need a server's state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extras {
    /// Keep the answer; absent means yes.
    pub store: Option<bool>,
    /// The answer that this conversation goes on from.
    pub previous_response_id: Option<String>,
    /// The conversation object it belongs to.
    pub conversation: Option<String>,
    /// Answer at once and work on.
    pub background: bool,
    /// What the answer shall hold beside the usual.
    pub include: Vec<String>,
    /// What to do when the input is too long (`auto`, `disabled`).
    pub truncation: Option<String>,
    /// Calls of hosted tools at most.
    pub max_tool_calls: Option<u64>,
}

/// What a request that [`super::decode_request`] read asks of the gateway.
pub fn extras(request: &Request) -> Extras {
    of(&request.rest)
}

fn of(rest: &Map<String, Value>) -> Extras {
    let text = |name: &str| rest.get(name).and_then(Value::as_str).map(str::to_owned);
    let flag = |name: &str| rest.get(name).and_then(Value::as_bool);
    let conversation = rest.get("conversation");
    let conversation = conversation.and_then(|value| value.get("id").unwrap_or(value).as_str());
    let include = rest.get("include").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Extras {
        store: flag("store"),
        previous_response_id: text("previous_response_id"),
        conversation: conversation.map(str::to_owned),
        background: flag("background").unwrap_or(false),
        include: include.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        truncation: text("truncation"),
        max_tool_calls: rest.get("max_tool_calls").and_then(Value::as_u64),
    }
}

/// The members that [`of`] reads must be what they claim to be.
pub(super) fn check(rest: &Map<String, Value>) -> Result<(), BadRequest> {
    for (name, value) in rest {
        let (fits, expected) = match name.as_str() {
            "store" | "background" => (value.is_boolean(), "a boolean"),
            "previous_response_id" | "safety_identifier" | "prompt_cache_retention" => (value.is_string(), "a string"),
            "conversation" => (is_conversation(value), "a string or an object with an id"),
            "include" => (is_texts(value), "a list of strings"),
            "max_tool_calls" => (value.is_u64(), "a non-negative integer"),
            "prompt" | "stream_options" | "prompt_cache_options" | "client_metadata" => {
                (value.is_object(), "an object")
            }
            "truncation" => (value.is_string(), "a string"),
            _ => continue,
        };
        if !fits {
            return Err(wrong_type(name, expected));
        }
    }
    let truncation = rest.get("truncation").and_then(Value::as_str);
    if let Some(word) = truncation.filter(|word| !matches!(*word, "auto" | "disabled")) {
        return Err(BadRequest::new(
            format!("Invalid value for 'truncation': '{word}'"),
            "truncation",
            "invalid_value",
        ));
    }
    if rest.contains_key("previous_response_id") && rest.contains_key("conversation") {
        let message = "'previous_response_id' and 'conversation' cannot be used together";
        return Err(BadRequest::new(message, "previous_response_id", "mutually_exclusive_parameters"));
    }
    Ok(())
}

fn is_conversation(value: &Value) -> bool {
    value.get("id").unwrap_or(value).is_string()
}

fn is_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
}
