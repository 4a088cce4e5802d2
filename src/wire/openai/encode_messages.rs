//! Writing the messages of a request.

use serde_json::{Map, Value, json};

use super::encode_assistant::assistant;
use super::encode_parts::{Place, content, part};
use super::encode_request::{Writer, put};
use crate::chat::ids::is_nine;
use crate::chat::repair;
use crate::chat::{Message, OutputFormat, Part, PartKind, Refused, Request, Role, ToolResult, Traits};

/// Writes the conversation.
///
/// # Errors
/// When the last message of the user holds what this format has no place for.
pub(super) fn messages(writer: &mut Writer<'_>) -> Result<Value, Refused> {
    let messages = gathered(writer.request.messages.clone());
    let alternates = writer.target.traits.alternate_roles;
    let messages = repair::answered(if alternates { repair::alternating(messages) } else { messages });
    let last = messages.iter().rposition(|message| message.role == Role::User && !only_results(message));
    let mut written = Vec::with_capacity(messages.len().saturating_add(1));
    for (index, message) in messages.iter().enumerate() {
        let place = Place { message: index, asked_now: last == Some(index) };
        match message.role {
            Role::System | Role::Developer => instruction(writer, message, place, &mut written)?,
            Role::User => user(writer, message, place, &mut written)?,
            Role::Assistant => written.extend(assistant(writer, message, index)),
        }
    }
    if let Some(schema) = schema_in_words(writer) {
        let head = messages.iter().take_while(|message| message.role.instructs()).count();
        written.insert(head.min(written.len()), json!({"role": "system", "content": schema}));
    }
    Ok(Value::Array(written))
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

fn only_results(message: &Message) -> bool {
    message.parts.iter().all(|part| matches!(part.kind, PartKind::ToolResult(_)))
}

fn instruction(writer: &mut Writer<'_>, message: &Message, place: Place, out: &mut Vec<Value>) -> Result<(), Refused> {
    let developer = message.role == Role::Developer && !writer.target.traits.no_developer_role;
    let place = Place { asked_now: false, ..place };
    let mut parts = parts(writer, &message.parts, place)?;
    if !writer.is_own() {
        // Older providers take only a text here.
        let texts: Vec<&str> = message.parts.iter().filter_map(Part::as_text).filter(|text| !text.is_empty()).collect();
        if texts.is_empty() {
            return Ok(());
        }
        parts = vec![json!({"type": "text", "text": texts.join("\n\n")})];
    }
    out.push(said(if developer { "developer" } else { "system" }, message, content(parts)));
    Ok(())
}

fn parts(writer: &mut Writer<'_>, parts: &[Part], place: Place) -> Result<Vec<Value>, Refused> {
    let written = parts.iter().map(|one| part(writer, one, place));
    written.filter_map(Result::transpose).collect()
}

fn said(role: &str, message: &Message, content: Value) -> Value {
    let mut object = Map::new();
    object.insert("role".into(), role.into());
    put(&mut object, "name", message.name.as_deref());
    object.insert("content".into(), content);
    Value::Object(object)
}

/// A message for each result, then what they cannot hold and what else the user says.
fn user(writer: &mut Writer<'_>, message: &Message, place: Place, out: &mut Vec<Value>) -> Result<(), Refused> {
    let mut moved = Vec::new();
    let mut said_too = Vec::new();
    for one in &message.parts {
        match &one.kind {
            PartKind::ToolResult(found) => out.push(result(writer, found, place, &mut moved)?),
            _ => said_too.extend(part(writer, one, place)?),
        }
    }
    if !moved.is_empty() || !said_too.is_empty() {
        moved.extend(said_too);
        out.push(said("user", message, content(moved)));
    }
    Ok(())
}

/// The text of a result; pictures and documents in it are moved behind all results of the turn.
fn result(
    writer: &mut Writer<'_>,
    result: &ToolResult,
    place: Place,
    moved: &mut Vec<Value>,
) -> Result<Value, Refused> {
    let (texts, media): (Vec<&Part>, Vec<&Part>) = result.parts.iter().partition(|part| part.as_text().is_some());
    let place = Place { asked_now: false, ..place };
    let mut text = Vec::new();
    for one in texts {
        text.extend(part(writer, one, place)?);
    }
    if result.is_error || !writer.is_own() {
        let words: Vec<&str> = result.parts.iter().filter_map(Part::as_text).collect();
        let mark = if result.is_error { "Error: " } else { "" };
        text = vec![json!({"type": "text", "text": format!("{mark}{}", words.join("\n"))})];
    }
    let id = writer.call_id(&result.call_id);
    for (nth, one) in media.into_iter().enumerate() {
        let Some(written) = part(writer, one, place)? else { continue };
        if nth == 0 {
            moved.push(json!({"type": "text", "text": format!("From the result of the tool call {id}:")}));
            if text.is_empty() {
                text.push(json!({"type": "text", "text": "(the result follows)"}));
            }
        }
        moved.push(written);
    }
    Ok(json!({"role": "tool", "tool_call_id": id, "content": content(text)}))
}

/// The schema as an instruction, for providers that only know "some JSON".
fn schema_in_words(writer: &Writer<'_>) -> Option<String> {
    let OutputFormat::JsonSchema { schema, .. } = &writer.request.output else { return None };
    let words = "Answer with nothing but one JSON object that fits this JSON Schema:";
    writer.target.traits.no_json_schema.then(|| format!("{words}\n{schema}"))
}
