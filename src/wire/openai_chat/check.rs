//! The rules a chat request must keep, and the words in which a breach is told.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{
    super::lenient::MediaKinds,
    BadRequest, Keys, read,
    read::{Draft, Field, MessageFault},
};

const MAX_MODEL_CHARS: usize = 512;
const MAX_USER_CHARS: usize = 512;
const MAX_CHOICES: u64 = 128;
/// OpenAI allows four; several compatible providers allow more.
const MAX_STOPS: usize = 16;

/// What is kept of a request that keeps the rules.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) keys: Keys,
    pub(super) model: String,
    pub(super) stream: Option<bool>,
    pub(super) include_usage: bool,
    pub(super) has_tools: bool,
    pub(super) prompt_chars: u64,
    pub(super) media: MediaKinds,
    pub(super) n: u32,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) user: Option<String>,
}

pub(super) fn facts(draft: Draft<'_>) -> Result<Facts, BadRequest> {
    let mut facts = checked(&draft)?;
    facts.keys = draft.keys;
    Ok(facts)
}

fn checked(draft: &Draft<'_>) -> Result<Facts, BadRequest> {
    if let Some(name) = draft.duplicate {
        let name = read::unescaped(name);
        return Err(BadRequest::new(format!("Duplicate field '{name}'"), name, "invalid_value"));
    }
    let model = model(draft)?;
    let message_chars = messages(draft)?;
    let (has_tools, tool_chars) = tools(draft)?;
    in_range(draft, Field::Temperature, "temperature", 2.0)?;
    in_range(draft, Field::TopP, "top_p", 1.0)?;
    stop(draft)?;
    let old_cap = positive(draft, Field::MaxTokens, "max_tokens")?;
    let stream = stream(draft)?;
    Ok(Facts {
        keys: Keys::new(),
        model,
        stream,
        include_usage: include_usage(draft)? && stream == Some(true),
        has_tools,
        prompt_chars: message_chars.saturating_add(tool_chars),
        media: draft.messages.as_ref().map_or_else(MediaKinds::default, |messages| messages.media),
        n: choices(draft)?,
        max_output_tokens: positive(draft, Field::MaxCompletionTokens, "max_completion_tokens")?.or(old_cap),
        user: draft.value(Field::User).and_then(as_json).map(shortened),
    })
}

fn model(draft: &Draft<'_>) -> Result<String, BadRequest> {
    let missing = || BadRequest::new("Missing model", "model", "missing_required_parameter");
    let raw = draft.value(Field::Model).ok_or_else(missing)?;
    let model: String = as_json(raw).ok_or_else(|| wrong_type("model", "a string"))?;
    if model.trim().is_empty() {
        return Err(missing());
    }
    if model.chars().count() > MAX_MODEL_CHARS {
        return Err(BadRequest::new(
            format!("'model' must have at most {MAX_MODEL_CHARS} characters"),
            "model",
            "invalid_value",
        ));
    }
    if model.contains(char::is_control) {
        return Err(BadRequest::new("'model' must not contain control characters", "model", "invalid_value"));
    }
    Ok(model)
}

fn messages(draft: &Draft<'_>) -> Result<u64, BadRequest> {
    let missing = || BadRequest::new("Missing messages", "messages", "missing_required_parameter");
    let messages = draft.messages.as_ref().ok_or_else(missing)?;
    if !messages.list {
        return Err(wrong_type("messages", "an array of objects"));
    }
    if messages.count == 0 {
        return Err(BadRequest::new("'messages' must not be empty", "messages", "invalid_value"));
    }
    match &messages.fault {
        None => Ok(messages.chars),
        Some(MessageFault::NotAnObject(at)) => Err(wrong_type(&format!("messages[{at}]"), "an object")),
        Some(MessageFault::NoRole(at)) => {
            let field = format!("messages[{at}].role");
            Err(BadRequest::new(format!("'{field}' must be given as a string"), field, "missing_required_parameter"))
        }
        Some(MessageFault::UnknownRole(at, role)) => {
            let known = "system, developer, user, assistant, tool or function";
            let field = format!("messages[{at}].role");
            Err(BadRequest::new(format!("'{field}' must be {known}, not '{role}'"), field, "invalid_value"))
        }
    }
}

fn tools(draft: &Draft<'_>) -> Result<(bool, u64), BadRequest> {
    let functions = draft.value(Field::Functions).map(|raw| raw.get().len() as u64);
    let Some(tools) = draft.tools.as_ref().filter(|tools| !tools.null) else {
        return Ok((functions.is_some(), functions.unwrap_or(0)));
    };
    if !tools.list {
        return Err(wrong_type("tools", "an array of objects"));
    }
    if tools.count == 0 {
        return Err(BadRequest::new("'tools' must not be empty; leave it out instead", "tools", "invalid_value"));
    }
    match tools.not_an_object {
        Some(at) => Err(wrong_type(&format!("tools[{at}]"), "an object")),
        None => Ok((true, tools.chars.saturating_add(functions.unwrap_or(0)))),
    }
}

/// `stream` decides; only without it do the synonyms of older clients.
fn stream(draft: &Draft<'_>) -> Result<Option<bool>, BadRequest> {
    if let Some(raw) = draft.value(Field::Stream) {
        return as_json(raw).map(Some).ok_or_else(|| wrong_type("stream", "a boolean"));
    }
    let is_true = |field| draft.value(field).is_some_and(|raw| raw.get() == "true");
    if [Field::NonStream, Field::DisableStream, Field::DisableStreaming].into_iter().any(is_true) {
        return Ok(Some(false));
    }
    Ok(is_true(Field::Streaming).then_some(true))
}

fn include_usage(draft: &Draft<'_>) -> Result<bool, BadRequest> {
    let Some(raw) = draft.value(Field::StreamOptions) else { return Ok(false) };
    let options: serde_json::Map<String, serde_json::Value> =
        as_json(raw).ok_or_else(|| wrong_type("stream_options", "an object"))?;
    match options.get("include_usage") {
        None | Some(serde_json::Value::Null) => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| wrong_type("stream_options.include_usage", "a boolean")),
    }
}

fn choices(draft: &Draft<'_>) -> Result<u32, BadRequest> {
    let n = positive(draft, Field::N, "n")?.unwrap_or(1);
    let too_many = || BadRequest::new(format!("'n' must be between 1 and {MAX_CHOICES}"), "n", "invalid_value");
    u32::try_from(n).ok().filter(|_| n <= MAX_CHOICES).ok_or_else(too_many)
}

fn positive(draft: &Draft<'_>, field: Field, name: &str) -> Result<Option<u64>, BadRequest> {
    let Some(raw) = draft.value(field) else { return Ok(None) };
    match raw.get().parse::<u64>() {
        Ok(number) if number > 0 => Ok(Some(number)),
        Err(_) if !is_number(raw) => Err(wrong_type(name, "an integer")),
        _ => Err(BadRequest::new(format!("'{name}' must be a positive integer"), name, "invalid_value")),
    }
}

fn in_range(draft: &Draft<'_>, field: Field, name: &str, max: f64) -> Result<(), BadRequest> {
    let Some(raw) = draft.value(field) else { return Ok(()) };
    match raw.get().parse::<f64>() {
        Ok(number) if (0.0..=max).contains(&number) => Ok(()),
        _ if !is_number(raw) => Err(wrong_type(name, "a number")),
        _ => Err(BadRequest::new(format!("'{name}' must be between 0 and {max}"), name, "invalid_value")),
    }
}

fn stop(draft: &Draft<'_>) -> Result<(), BadRequest> {
    let Some(raw) = draft.value(Field::Stop) else { return Ok(()) };
    if raw.get().starts_with('"') {
        return Ok(());
    }
    let stops: Vec<String> = as_json(raw).ok_or_else(|| wrong_type("stop", "a string or an array of strings"))?;
    if stops.len() > MAX_STOPS {
        return Err(BadRequest::new(format!("'stop' must have at most {MAX_STOPS} elements"), "stop", "invalid_value"));
    }
    Ok(())
}

fn as_json<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

fn is_number(raw: &RawValue) -> bool {
    raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

fn shortened(text: String) -> String {
    if text.len() <= MAX_USER_CHARS { text } else { text.chars().take(MAX_USER_CHARS).collect() }
}

fn wrong_type(param: &str, wanted: &str) -> BadRequest {
    BadRequest::new(format!("'{param}' must be {wanted}"), param, "invalid_type")
}
