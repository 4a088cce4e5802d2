//! Writing a whole answer for a client.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::details;
use super::encode_assistant::{extra_content, numbered};
use super::encode_request::put;
use super::stop;
use crate::chat::{Answer, Choice, Citation, Family, Media, PartKind, Reply, Source, Stop, ToolCall};
use crate::usage::Usage;

/// For how long sound could be referred to at OpenAI.
const AUDIO_SECONDS: i64 = 3_600;

/// Writes an answer for a client of this format.
pub fn encode_answer(answer: &Answer, reply: &Reply) -> Bytes {
    let begin = &answer.begin;
    let mut body = Map::new();
    body.insert("id".into(), begin.id.clone().unwrap_or_else(|| answer_id(reply)).into());
    body.insert("object".into(), "chat.completion".into());
    body.insert("created".into(), begin.created.unwrap_or(reply.created).into());
    body.insert("model".into(), begin.model.as_ref().unwrap_or(&reply.model).as_str().into());
    put(&mut body, "service_tier", begin.service_tier.as_deref());
    put(&mut body, "system_fingerprint", begin.fingerprint.as_deref());
    let functions_form = reply.request.functions_form;
    let mut choices: Vec<Value> = answer.choices.iter().map(|one| choice(one, functions_form, reply)).collect();
    if choices.is_empty() {
        let nothing = Choice { index: 0, parts: Vec::new(), stop: Stop::Done, logprobs: None };
        choices.push(choice(&nothing, functions_form, reply));
    }
    body.insert("choices".into(), choices.into());
    put(&mut body, "usage", answer.usage.as_ref().map(usage));
    serde_json::to_vec(&body).unwrap_or_default().into()
}

/// The id of an answer whose provider gives none.
pub(super) fn answer_id(reply: &Reply) -> String {
    format!("chatcmpl-{}", reply.id)
}

/// The usage object.
pub(crate) fn usage(usage: &Usage) -> Value {
    serde_json::from_str(&usage.to_openai()).unwrap_or_default()
}

fn choice(choice: &Choice, functions_form: bool, reply: &Reply) -> Value {
    let mut message = Message::default();
    choice.parts.iter().for_each(|part| message.take(&part.kind, functions_form, reply));
    let has_calls = !message.calls.is_empty() || message.function_call.is_some();
    let stop = choice.stop.clone().given(has_calls);
    let reason = stop::write(&stop, functions_form, !message.refusal.is_empty());
    json!({
        "index": choice.index,
        "message": message.into_json(),
        "logprobs": choice.logprobs,
        "finish_reason": reason,
    })
}

#[derive(Default)]
struct Message {
    text: String,
    refusal: String,
    thoughts: String,
    details: Vec<Value>,
    annotations: Vec<Value>,
    images: Vec<Value>,
    audio: Option<Value>,
    calls: Vec<Value>,
    function_call: Option<Value>,
}

impl Message {
    fn take(&mut self, kind: &PartKind, functions_form: bool, reply: &Reply) {
        match kind {
            PartKind::Text { text, citations } => {
                self.text.push_str(text);
                self.annotations.extend(citations.iter().filter_map(annotation));
            }
            PartKind::Refusal(text) => self.refusal.push_str(text),
            PartKind::Thinking(thought) => {
                if !self.thoughts.is_empty() && !thought.text.is_empty() {
                    self.thoughts.push_str("\n\n");
                }
                self.thoughts.push_str(&thought.text);
                self.details.extend(details::write(thought).into_iter().map(Value::Object));
            }
            PartKind::ToolCall(call) if functions_form => {
                let written = || json!({"name": call.name, "arguments": call.arguments_or_empty()});
                self.function_call.get_or_insert_with(written);
            }
            PartKind::ToolCall(call) => self.calls.push(tool_call(call)),
            PartKind::Image(media) => self.images.extend(image(media)),
            PartKind::Audio(media) => self.audio = audio(media, reply).or(self.audio.take()),
            PartKind::Video(_) | PartKind::File(_) | PartKind::ToolResult(_) | PartKind::Native(_) => {}
        }
    }

    fn into_json(self) -> Value {
        let mut message = Map::new();
        let silent = self.text.is_empty() && !self.says_otherwise();
        message.insert("role".into(), "assistant".into());
        let text = (!self.text.is_empty() || silent).then_some(self.text);
        message.insert("content".into(), text.into());
        put(&mut message, "reasoning_content", Some(self.thoughts).filter(|text| !text.is_empty()));
        let list = |list: Vec<Value>| Some(list).filter(|list| !list.is_empty());
        put(&mut message, "reasoning_details", list(self.details).map(numbered));
        message.insert("refusal".into(), Some(self.refusal).filter(|text| !text.is_empty()).into());
        message.insert("annotations".into(), self.annotations.into());
        put(&mut message, "images", list(self.images).map(numbered));
        put(&mut message, "audio", self.audio);
        put(&mut message, "tool_calls", list(self.calls));
        put(&mut message, "function_call", self.function_call);
        Value::Object(message)
    }

    /// Something beside text is there, so the content is null.
    fn says_otherwise(&self) -> bool {
        let calls = !self.calls.is_empty() || self.function_call.is_some();
        calls || !self.refusal.is_empty() || self.audio.is_some()
    }
}

fn tool_call(call: &ToolCall) -> Value {
    let mut object = Map::new();
    object.insert("id".into(), call.id.as_str().into());
    if call.custom {
        object.insert("type".into(), "custom".into());
        object.insert("custom".into(), json!({"name": call.name, "input": call.arguments}));
    } else {
        object.insert("type".into(), "function".into());
        object.insert("function".into(), json!({"name": call.name, "arguments": call.arguments_or_empty()}));
    }
    put(&mut object, "extra_content", call.seal.as_ref().map(extra_content));
    Value::Object(object)
}

/// A source; one of another format that is no web page has no form here.
pub(super) fn annotation(citation: &Citation) -> Option<Value> {
    if let Some((Family::OpenAi, written)) = &citation.native {
        return serde_json::from_str(written).ok();
    }
    let url = citation.url.as_ref()?;
    let (start, end) = citation.span.unwrap_or((0, 0));
    let title = citation.title.as_deref().unwrap_or_default();
    Some(
        json!({"type": "url_citation", "url_citation": {"url": url, "title": title, "start_index": start, "end_index": end}}),
    )
}

/// A picture that the model made.
pub(super) fn image(media: &Media) -> Option<Value> {
    Some(json!({"type": "image_url", "image_url": {"url": media.source.to_url()?}}))
}

/// Sound that the model made. Its words are the text beside it.
pub(super) fn audio(media: &Media, reply: &Reply) -> Option<Value> {
    let Source::Base64 { data, .. } = &media.source else { return None };
    let id = media.name.clone().unwrap_or_else(|| format!("audio_{}", reply.id));
    Some(json!({"id": id, "data": data, "expires_at": reply.created.saturating_add(AUDIO_SECONDS), "transcript": ""}))
}
