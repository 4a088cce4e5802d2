//! Thoughts and their proofs: `reasoning_content`, `reasoning`, `reasoning_details`, `thinking_blocks`.
//!
//! An entry of `reasoning_details` says in `format` whose it is. Several entries may tell one thought: its text in pieces under
//! one `index`, or a summary and, under the same id, what it is a summary of.

use serde_json::{Map, Value, json};

use crate::bad_request::BadRequest;
use crate::chat::read::Fields;
use crate::chat::{Family, Part, PartKind, Seal, Thinking};

const FORMATS: [(Family, &str); 3] = [
    (Family::Anthropic, "anthropic-claude-v1"),
    (Family::Google, "google-gemini-v1"),
    (Family::OpenAi, "openai-responses-v1"),
];

/// The thoughts that a client sends back with a message of the model.
pub(super) fn thoughts(message: &mut Fields) -> Result<Vec<Part>, BadRequest> {
    let mut text = String::new();
    for name in ["reasoning_content", "reasoning"] {
        // OpenRouter's clients may send the object of a request here; only text is a thought.
        if let Some(Value::String(told)) = message.take(name)
            && text.is_empty()
        {
            text = told;
        }
    }
    let details = message.list("reasoning_details")?;
    let blocks = message.list("thinking_blocks")?;
    let mut told = details.map(|list| read(&list)).unwrap_or_default();
    if told.is_empty() {
        told = blocks.unwrap_or_default().iter().filter_map(block).collect();
    }
    if !text.is_empty() && told.iter().all(|thought| thought.text.is_empty()) {
        match told.iter_mut().find(|thought| !thought.redacted) {
            Some(first) => first.text = text,
            None => told.insert(0, Thinking { text, ..Thinking::default() }),
        }
    }
    Ok(told.into_iter().map(|thought| Part::new(PartKind::Thinking(thought))).collect())
}

/// The thoughts of a list of details.
pub(super) fn read(details: &[Value]) -> Vec<Thinking> {
    let mut thoughts: Vec<Thinking> = Vec::new();
    let mut last_index = None;
    for detail in details {
        let index = detail.get("index").and_then(Value::as_u64);
        let joins = index.is_some() && index == last_index;
        last_index = index;
        let Some(thought) = entry(detail) else { continue };
        match thoughts.last_mut() {
            Some(last) if continues(last, &thought, joins) => {
                last.text.push_str(&thought.text);
                last.seal = thought.seal;
            }
            _ => thoughts.push(thought),
        }
    }
    thoughts
}

fn continues(last: &Thinking, next: &Thinking, same_index: bool) -> bool {
    if last.seal.is_some() || last.redacted {
        return false;
    }
    let sealed_summary = last.summary && next.redacted && last.id == next.id;
    sealed_summary || (same_index && !next.redacted && last.summary == next.summary)
}

/// One entry as a thought of its own.
pub(super) fn entry(detail: &Value) -> Option<Thinking> {
    let text = |name: &str| detail.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let kind = detail.get("type")?.as_str()?;
    let (words, summary, redacted) = match kind {
        "reasoning.text" => (text("text"), false, false),
        "reasoning.summary" => (text("summary"), true, false),
        "reasoning.encrypted" => (None, false, true),
        _ => return None,
    };
    let native = family(detail.get("format").and_then(Value::as_str), kind);
    let seal = text("signature").or_else(|| text("data")).map(|data| Seal::from_field(&data, native));
    if words.is_none() && seal.is_none() {
        return None;
    }
    Some(Thinking { id: text("id"), text: words.unwrap_or_default(), summary, redacted, seal })
}

/// Whose entry it is; without a word of it, only Anthropic signs texts.
fn family(format: Option<&str>, kind: &str) -> Family {
    let format = format.unwrap_or_default();
    let known = FORMATS.iter().find(|(family, _)| {
        let name = match family {
            Family::OpenAi => "openai",
            Family::Anthropic => "anthropic",
            Family::Google => "google",
            Family::Other => "other",
        };
        format.starts_with(name)
    });
    match known {
        Some((family, _)) => *family,
        None if kind == "reasoning.text" => Family::Anthropic,
        None if format.is_empty() || format == "unknown" => Family::OpenAi,
        None => Family::Other,
    }
}

/// The entries of a thought; none for one that is text alone.
pub(super) fn write(thought: &Thinking) -> Vec<Map<String, Value>> {
    let Some(seal) = &thought.seal else { return Vec::new() };
    let mut entries = Vec::new();
    if thought.summary && !thought.text.is_empty() {
        entries.push(written(thought, seal, json!({"type": "reasoning.summary", "summary": thought.text})));
    }
    entries.push(if thought.redacted || thought.summary {
        written(thought, seal, json!({"type": "reasoning.encrypted", "data": seal.data}))
    } else {
        written(thought, seal, json!({"type": "reasoning.text", "text": thought.text, "signature": seal.data}))
    });
    entries
}

fn written(thought: &Thinking, seal: &Seal, entry: Value) -> Map<String, Value> {
    let Value::Object(mut entry) = entry else { return Map::new() };
    if let Some(id) = &thought.id {
        entry.insert("id".into(), id.as_str().into());
    }
    let format = FORMATS.iter().find(|(family, _)| *family == seal.family).map_or("other", |(_, name)| name);
    entry.insert("format".into(), format.into());
    entry
}

/// A block of Anthropic's form.
fn block(block: &Value) -> Option<Thinking> {
    let text = |name: &str| block.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let seal = |field: &str| Some(Seal::from_field(field, Family::Anthropic));
    match block.get("type")?.as_str()? {
        "thinking" => Some(Thinking {
            text: text("thinking").unwrap_or_default().to_owned(),
            seal: text("signature").and_then(seal),
            ..Thinking::default()
        }),
        "redacted_thinking" => {
            Some(Thinking { redacted: true, seal: text("data").and_then(seal), ..Thinking::default() })
        }
        _ => None,
    }
}
