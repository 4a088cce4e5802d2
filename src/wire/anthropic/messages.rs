//! The conversation as the format insists on it: instructions apart, turns that alternate, the user first, every call answered.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::block::{Block, Content, Kind};
use super::encode_parts::PartWriter;
use super::rest;
use super::version::Version;
use crate::chat::{Dropped, Format, Message, Part, PartKind, Refused, Request, Role, lost, repair};

/// What the user says where a conversation begins with the model.
const OPENING: &str = "(conversation continues)";

/// A message as it is written.
#[derive(Debug, Serialize)]
pub(crate) struct WireMessage {
    role: &'static str,
    pub(crate) content: Content,
}

/// The instructions and the turns.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) system: Option<Content>,
    pub(crate) messages: Vec<WireMessage>,
    /// The repaired turns, for questions about them.
    pub(crate) turns: Vec<Message>,
}

/// Write the conversation.
pub(crate) fn write(
    writer: &mut PartWriter<'_>,
    version: Version,
    dropped: &mut Vec<Dropped>,
) -> Result<Conversation, Refused> {
    let request = writer.request;
    let mut messages = request.messages.clone();
    if request.from == Format::Anthropic {
        // Before anything is left out: the paths count what the client sent.
        writer.callers = callers(&mut messages, &request.rest);
        put_back_extras(&mut messages, writer);
    }
    lost::keep_fitting(&mut messages, dropped, &|_, part| writer.misfit(part))?;
    let (head, turns) = repair::split_instructions(messages);
    let keeps_instructions = request.from == Format::Anthropic && version.takes_mid_instructions();
    let turns = if keeps_instructions { turns } else { turns.into_iter().map(demoted).collect() };
    let mut turns = begun_by_user(turns);
    trim_prefill(&mut turns);
    let messages = turns
        .iter()
        .map(|turn| WireMessage { role: role(turn.role), content: Content::of(writer.blocks(&turn.parts)) });
    let messages = messages.collect();
    Ok(Conversation { system: system(writer, head), messages, turns })
}

/// Turns that alternate and answer every call at once, the user first.
pub(crate) fn begun_by_user(turns: Vec<Message>) -> Vec<Message> {
    let mut turns = repair::answered(repair::merged(repair::without_empty(turns)));
    if turns.first().is_none_or(|turn| turn.role != Role::User) {
        turns.insert(0, Message::text(Role::User, OPENING));
    }
    turns
}

fn system(writer: &PartWriter<'_>, head: Vec<Message>) -> Option<Content> {
    let parts: Vec<Part> = repair::without_empty(head).into_iter().flat_map(|message| message.parts).collect();
    let blocks: Vec<Block> =
        writer.blocks(&parts).into_iter().filter(|block| matches!(block.kind, Kind::Text { .. })).collect();
    (!blocks.is_empty()).then(|| Content::of(blocks))
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

/// An instruction between the turns, for a model that takes it only from the user.
pub(crate) fn demoted(message: Message) -> Message {
    if !message.role.instructs() {
        return message;
    }
    let remind = |mut part: Part| {
        if let PartKind::Text { text, .. } = &mut part.kind
            && !text.trim().is_empty()
        {
            *text = format!("<system-reminder>\n{text}\n</system-reminder>");
        }
        part
    };
    Message { role: Role::User, parts: message.parts.into_iter().map(remind).collect(), name: None }
}

/// A beginning of the answer must not end in white space.
fn trim_prefill(turns: &mut [Message]) {
    let last = turns.last_mut().filter(|turn| turn.role == Role::Assistant).and_then(|turn| turn.parts.last_mut());
    if let Some(Part { kind: PartKind::Text { text, .. }, .. }) = last {
        text.truncate(text.trim_end().len());
    }
}

fn callers(messages: &mut [Message], rest: &Map<String, Value>) -> HashMap<String, Value> {
    let caller = |(path, value): (&String, &Value)| {
        let (message, places, member) = rest::part_of(path)?;
        match &rest::find(messages, message, &places)?.kind {
            PartKind::ToolCall(call) if member == "caller" => Some((call.id.clone(), value.clone())),
            _ => None,
        }
    };
    rest.iter().filter_map(caller).collect()
}

/// Documents get back what the neutral model has no place for; they are written as they came then.
fn put_back_extras(messages: &mut [Message], writer: &PartWriter<'_>) {
    for (path, value) in &writer.request.rest {
        let Some((message, places, member)) = rest::part_of(path) else { continue };
        let Some(part) = rest::find(messages, message, &places) else { continue };
        if let PartKind::File(_) = &part.kind {
            let bare = [Part::new(part.kind.clone())];
            let block = writer.blocks(&bare).pop().and_then(|block| serde_json::to_value(block).ok());
            part.kind = PartKind::Native(block.unwrap_or_default());
        }
        if let PartKind::Native(Value::Object(members)) = &mut part.kind {
            members.insert(member.to_owned(), value.clone());
        }
    }
}

/// What belongs to the body itself.
pub(crate) fn body_rest(request: &Request) -> Map<String, Value> {
    request.rest.iter().filter(|(name, _)| !rest::is_path(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}
