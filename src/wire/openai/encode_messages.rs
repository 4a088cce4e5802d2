//! Writing the messages of a request.

use serde_json::{Map, Value, json};

use super::encode_assistant::{assistant, assistant_misfit};
use super::encode_parts::{self, content, part};
use super::encode_request::{Writer, put};
use crate::chat::ids::is_nine;
use crate::chat::lost::{self, Misfit};
use crate::chat::repair;
use crate::chat::{Format, Message, OutputFormat, Part, PartKind, Refused, Request, Role, ToolResult, Traits};

/// Writes the conversation.
///
/// # Errors
/// When the user asks about something that this format has no place for.
pub(super) fn messages(writer: &mut Writer<'_>) -> Result<Value, Refused> {
    let mut dropped = std::mem::take(&mut writer.dropped);
    let fitting =
        lost::fitting(writer.request, Format::OpenAiChat, &mut dropped, |role, part| misfit(writer, role, part));
    writer.dropped = dropped;
    let messages = gathered(fitting?);
    let alternates = writer.target.traits.alternate_roles;
    let messages = repair::answered(if alternates { repair::alternating(messages) } else { messages });
    let mut written = Vec::with_capacity(messages.len().saturating_add(1));
    for message in &messages {
        match message.role {
            Role::System | Role::Developer => written.extend(instruction(writer, message)),
            Role::User => user(writer, message, &mut written),
            Role::Assistant => written.extend(assistant(writer, message)),
        }
    }
    if let Some(schema) = schema_in_words(writer) {
        let head = messages.iter().take_while(|message| message.role.instructs()).count();
        written.insert(head.min(written.len()), json!({"role": "system", "content": schema}));
    }
    Ok(Value::Array(written))
}

/// Why a part has no place here.
fn misfit(writer: &Writer<'_>, role: Role, part: &Part) -> Option<Misfit> {
    let no_place = "chat completions have no place for it";
    match &part.kind {
        PartKind::Native(_) => Some(Misfit::aside("native", no_place)),
        kind if role == Role::Assistant => assistant_misfit(writer, kind),
        // Older providers take only a text here.
        kind if role.instructs() && !writer.is_own() && part.as_text().is_none() => {
            Some(Misfit::aside(kind.word(), "instructions are texts"))
        }
        PartKind::Image(_) | PartKind::Audio(_) | PartKind::Video(_) | PartKind::File(_) => {
            encode_parts::part(writer, part).is_none().then(|| Misfit::content(part.kind.word(), no_place))
        }
        _ => None,
    }
}

/// Results that answer one turn stand in one message, whatever else the client put between them.
pub(crate) fn gathered(messages: Vec<Message>) -> Vec<Message> {
    let is_result = |part: &Part| matches!(part.kind, PartKind::ToolResult(_));
    let mut gathered: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages {
        let joins = message.role == Role::User && message.parts.iter().any(is_result);
        match gathered.last_mut() {
            Some(last) if joins && last.role == Role::User => last.parts.extend(message.parts),
            _ => gathered.push(message),
        }
    }
    for message in gathered.iter_mut().filter(|message| message.role == Role::User) {
        message.parts.sort_by_key(|part| !is_result(part));
    }
    gathered
}

/// Whether a conversation of this format must be written anew, because the provider refuses it as it is.
pub fn must_mend(request: &Request, traits: Traits) -> bool {
    (traits.alternate_roles && !alternates(&request.messages))
        || (traits.short_call_ids && call_ids(request).any(|id| !is_nine(id)))
}

fn alternates(messages: &[Message]) -> bool {
    let head = messages.iter().take_while(|message| message.role.instructs()).count();
    let turns = || messages.iter().skip(head);
    turns().all(|message| !message.role.instructs())
        && turns().zip(turns().skip(1)).all(|(one, next)| one.role != next.role)
}

fn call_ids(request: &Request) -> impl Iterator<Item = &str> {
    request.messages.iter().flat_map(|message| &message.parts).filter_map(|part| match &part.kind {
        PartKind::ToolCall(call) => Some(call.id.as_str()),
        PartKind::ToolResult(result) => Some(result.call_id.as_str()),
        _ => None,
    })
}

fn instruction(writer: &Writer<'_>, message: &Message) -> Option<Value> {
    let developer = message.role == Role::Developer && !writer.target.traits.no_developer_role;
    let mut parts: Vec<Value> = message.parts.iter().filter_map(|one| part(writer, one)).collect();
    if !writer.is_own() {
        let texts: Vec<&str> = message.parts.iter().filter_map(Part::as_text).filter(|text| !text.is_empty()).collect();
        if texts.is_empty() {
            return None;
        }
        parts = vec![json!({"type": "text", "text": texts.join("\n\n")})];
    }
    Some(said(if developer { "developer" } else { "system" }, message, content(parts)))
}

fn said(role: &str, message: &Message, content: Value) -> Value {
    let mut object = Map::new();
    object.insert("role".into(), role.into());
    put(&mut object, "name", message.name.as_deref());
    object.insert("content".into(), content);
    Value::Object(object)
}

/// A message for each result, then what they cannot hold and what else the user says.
fn user(writer: &Writer<'_>, message: &Message, out: &mut Vec<Value>) {
    let mut moved = Vec::new();
    let mut said_too = Vec::new();
    for one in &message.parts {
        match &one.kind {
            PartKind::ToolResult(found) => out.push(result(writer, found, &mut moved)),
            _ => said_too.extend(part(writer, one)),
        }
    }
    if !moved.is_empty() || !said_too.is_empty() {
        moved.extend(said_too);
        out.push(said("user", message, content(moved)));
    }
}

/// The text of a result; pictures and documents in it are moved behind all results of the turn.
fn result(writer: &Writer<'_>, result: &ToolResult, moved: &mut Vec<Value>) -> Value {
    let (texts, media): (Vec<&Part>, Vec<&Part>) = result.parts.iter().partition(|part| part.as_text().is_some());
    let mut text: Vec<Value> = texts.into_iter().filter_map(|one| part(writer, one)).collect();
    if result.is_error || !writer.is_own() {
        let words: Vec<&str> = result.parts.iter().filter_map(Part::as_text).collect();
        let mark = if result.is_error { "Error: " } else { "" };
        text = vec![json!({"type": "text", "text": format!("{mark}{}", words.join("\n"))})];
    }
    let id = writer.call_id(&result.call_id);
    for (nth, written) in media.into_iter().filter_map(|one| part(writer, one)).enumerate() {
        if nth == 0 {
            moved.push(json!({"type": "text", "text": format!("From the result of the tool call {id}:")}));
            if text.is_empty() {
                text.push(json!({"type": "text", "text": "(the result follows)"}));
            }
        }
        moved.push(written);
    }
    json!({"role": "tool", "tool_call_id": id, "content": content(text)})
}

/// The schema as an instruction, for providers that only know "some JSON".
fn schema_in_words(writer: &Writer<'_>) -> Option<String> {
    let OutputFormat::JsonSchema { schema, .. } = &writer.request.output else { return None };
    let words = "Answer with nothing but one JSON object that fits this JSON Schema:";
    writer.target.traits.no_json_schema.then(|| format!("{words}\n{schema}"))
}
