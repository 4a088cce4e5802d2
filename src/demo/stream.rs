//! An answer in OpenAI's shapes: one object, or the list of events of a stream.

use serde_json::{Value, json};

use super::chat::{Answer, Content};

/// What an answer is labelled with.
#[derive(Debug, Clone)]
pub(super) struct Label {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) created: u64,
}

/// The whole answer as `chat.completion`.
pub(super) fn whole(label: &Label, answer: &Answer) -> Value {
    let message = match &answer.content {
        Content::Text(pieces) => json!({"role": "assistant", "content": pieces.concat(), "refusal": null}),
        Content::Tool { name, arguments } => json!({
            "role": "assistant",
            "content": null,
            "tool_calls": [{
                "id": call_id(label),
                "type": "function",
                "function": {"name": name, "arguments": arguments.concat()},
            }],
        }),
    };
    let choices: Vec<Value> = (0..answer.choices)
        .map(|index| json!({"index": index, "message": message, "logprobs": null, "finish_reason": answer.finish}))
        .collect();
    json!({
        "id": label.id,
        "object": "chat.completion",
        "created": label.created,
        "model": label.model,
        "choices": choices,
        "usage": answer.usage(),
    })
}

/// One event and whether it carries content, which is what paces and cuts a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) text: String,
    pub(super) is_content: bool,
}

/// The events of a stream, `[DONE]` included.
pub(super) fn events(label: &Label, answer: &Answer, include_usage: bool) -> Vec<Event> {
    let chunks = Chunks { label, include_usage };
    let mut events = Vec::new();
    for index in 0..answer.choices {
        events.push(chunks.opening(index, &answer.content));
    }
    for piece in pieces(&answer.content) {
        events.extend((0..answer.choices).map(|index| chunks.piece(index, &answer.content, piece)));
    }
    for index in 0..answer.choices {
        events.push(chunks.event(index, json!({}), Value::from(answer.finish), false));
    }
    if include_usage {
        events.push(chunks.frame(json!([]), answer.usage(), false));
    }
    events.push(Event { text: "data: [DONE]\n\n".to_owned(), is_content: false });
    events
}

struct Chunks<'a> {
    label: &'a Label,
    include_usage: bool,
}

impl Chunks<'_> {
    fn opening(&self, index: u32, content: &Content) -> Event {
        let delta = match content {
            Content::Text(_) => json!({"role": "assistant", "content": ""}),
            Content::Tool { name, .. } => json!({
                "role": "assistant",
                "content": null,
                "tool_calls": [{
                    "index": 0,
                    "id": call_id(self.label),
                    "type": "function",
                    "function": {"name": name, "arguments": ""},
                }],
            }),
        };
        self.event(index, delta, Value::Null, false)
    }

    fn piece(&self, index: u32, content: &Content, piece: &str) -> Event {
        let delta = match content {
            Content::Text(_) => json!({"content": piece}),
            Content::Tool { .. } => json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}),
        };
        self.event(index, delta, Value::Null, true)
    }

    fn event(&self, index: u32, delta: Value, finish: Value, is_content: bool) -> Event {
        let choice = json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": finish}]);
        self.frame(choice, Value::Null, is_content)
    }

    fn frame(&self, choices: Value, usage: Value, is_content: bool) -> Event {
        let mut chunk = json!({
            "id": self.label.id,
            "object": "chat.completion.chunk",
            "created": self.label.created,
            "model": self.label.model,
            "choices": choices,
        });
        if self.include_usage
            && let Some(fields) = chunk.as_object_mut()
        {
            fields.insert("usage".to_owned(), usage);
        }
        Event { text: format!("data: {chunk}\n\n"), is_content }
    }
}

/// Arguments come in small fragments, so that clients have to put them together.
fn pieces(content: &Content) -> &[String] {
    match content {
        Content::Text(pieces) | Content::Tool { arguments: pieces, .. } => pieces,
    }
}

fn call_id(label: &Label) -> String {
    format!("call_{}", label.id.trim_start_matches("chatcmpl-"))
}
