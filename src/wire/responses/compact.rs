//! Making a long conversation short, for providers that have no call for it: the model is asked for a summary, which the
//! client keeps as an opaque item and gives back in the next request.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{marks, object::stem, usage};
use crate::chat::{Answer, Message, OutputFormat, Part, Reply, Request, Role, ToolChoice};

const ASK: &str = "Summarise this conversation so that it can go on from the summary alone. Keep: what the user wants, in \
                   their own words where it matters; decisions and why they were made; what was done, with names of files, \
                   commands and values; what was found out; what is open and what comes next. Leave out what has no \
                   bearing on the rest of the work. Answer with the summary only.";
const INTRODUCTION: &str = "Summary of the conversation so far, which was shortened:\n\n";

/// The request whose answer is the summary of this request's conversation. The tools stay, because providers refuse calls in a
/// history without them, but none may be called.
pub fn compact_request(request: &Request) -> Request {
    let mut ask = request.clone();
    ask.stream = false;
    ask.output = OutputFormat::Text;
    ask.verbosity = None;
    ask.tool_choice = (!ask.tools.is_empty()).then_some(ToolChoice::None);
    ask.rest.clear();
    ask.messages.push(Message::text(Role::User, ASK));
    ask
}

/// The body for the client; nothing if the answer holds no summary.
pub fn compact_answer(answer: &Answer, reply: &Reply) -> Option<Bytes> {
    let parts = answer.choices.first().map(|choice| choice.parts.as_slice()).unwrap_or_default();
    let summary = parts.iter().filter_map(Part::as_text).collect::<Vec<_>>().join("");
    if summary.trim().is_empty() {
        return None;
    }
    let stem = stem(&reply.id);
    let sealed = marks::summary(&format!("{INTRODUCTION}{summary}"));
    let used: Value = serde_json::from_str(&usage::to_json(&answer.usage.unwrap_or_default())).unwrap_or_default();
    let body = json!({
        "id": format!("resp_{stem}"),
        "object": "response.compaction",
        "created_at": answer.begin.created.unwrap_or(reply.created),
        "output": [{"id": format!("cmp_{stem}"), "type": "compaction", "encrypted_content": sealed}],
        "usage": used,
    });
    Some(body.to_string().into())
}
