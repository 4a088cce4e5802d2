//! Reading the messages of a request.

use serde_json::Value;

use super::decode_parts::{citation, content};
use super::details;
use crate::bad_request::BadRequest;
use crate::chat::ids::call_id;
use crate::chat::read::{Fields, wrong_type};
use crate::chat::{Family, Media, Message, Part, PartKind, Role, Seal, Source, ToolCall, ToolResult};

/// Reads the conversation.
pub(super) fn messages(fields: &mut Fields) -> Result<Vec<Message>, BadRequest> {
    if fields.peek("messages").is_none() {
        return Err(fields.missing("messages"));
    }
    let messages = fields.objects("messages")?;
    if messages.is_empty() {
        return Err(BadRequest::new("'messages' must not be empty", "messages", "invalid_value"));
    }
    let mut reader = Reader::default();
    messages.into_iter().try_for_each(|message| reader.message(message))?;
    Ok(reader.done)
}

#[derive(Default)]
struct Reader {
    done: Vec<Message>,
    /// Calls of custom tools: their results do not say so.
    customs: Vec<String>,
    /// Calls in the old form, which have no ids: name and the id made for it.
    unanswered: Vec<(String, String)>,
    /// The last message was a tool's, so another result joins it.
    after_result: bool,
}

impl Reader {
    fn message(&mut self, mut fields: Fields) -> Result<(), BadRequest> {
        let role = fields.required_text("role")?;
        let after_result = std::mem::take(&mut self.after_result);
        let message = match role.as_str() {
            "system" => plain(Role::System, &mut fields)?,
            "developer" => plain(Role::Developer, &mut fields)?,
            "user" => plain(Role::User, &mut fields)?,
            "assistant" => self.assistant(&mut fields)?,
            "tool" => return self.result(fields, false, after_result),
            "function" => return self.result(fields, true, after_result),
            other => return Err(fields.unknown("role", other)),
        };
        self.done.push(message);
        Ok(())
    }

    fn result(&mut self, mut fields: Fields, old_form: bool, joins: bool) -> Result<(), BadRequest> {
        let (call_id, name) = if old_form {
            let name = fields.required_text("name")?;
            (self.answered(&name), Some(name))
        } else {
            (fields.required_text("tool_call_id")?, fields.text("name")?)
        };
        let custom = self.customs.contains(&call_id);
        let parts = content(&mut fields)?.unwrap_or_default();
        let result = Part::new(PartKind::ToolResult(ToolResult { call_id, name, parts, is_error: false, custom }));
        match self.done.last_mut().filter(|_| joins) {
            Some(last) => last.parts.push(result),
            None => self.done.push(Message::new(Role::User, vec![result])),
        }
        self.after_result = true;
        Ok(())
    }

    /// The id of the call that this function's result answers.
    fn answered(&mut self, name: &str) -> String {
        let open = self.unanswered.iter().position(|(called, _)| called == name);
        open.map_or_else(|| call_id(self.done.len(), 0, name), |at| self.unanswered.remove(at).1)
    }

    fn assistant(&mut self, fields: &mut Fields) -> Result<Message, BadRequest> {
        let mut message = Message::new(Role::Assistant, details::thoughts(fields)?);
        message.name = fields.text("name")?;
        let spoken = content(fields)?.unwrap_or_default();
        message.parts.extend(spoken);
        annotate(&mut message.parts, fields);
        if let Some(refusal) = fields.text("refusal")? {
            message.parts.push(Part::new(PartKind::Refusal(refusal)));
        }
        message.parts.extend(images(fields)?);
        if let Some(mut audio) = fields.object("audio")? {
            let source = Source::FileId(audio.required_text("id")?);
            message.parts.push(Part::new(PartKind::Audio(Media { source, detail: None, name: None })));
        }
        for call in fields.objects("tool_calls")? {
            let call = self.call(call)?;
            message.parts.push(Part::new(PartKind::ToolCall(call)));
        }
        if let Some(call) = fields.object("function_call")? {
            let call = self.function_call(call)?;
            message.parts.push(Part::new(PartKind::ToolCall(call)));
        }
        // An empty text beside calls is only how the client writes "none".
        if message.parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_))) {
            message.parts.retain(|part| part.as_text() != Some(""));
        }
        Ok(message)
    }

    fn call(&mut self, mut fields: Fields) -> Result<ToolCall, BadRequest> {
        let id = fields.required_text("id")?;
        let custom = fields.text("type")?.as_deref() == Some("custom");
        let seal = fields.peek("extra_content").and_then(call_seal);
        let inner = if custom { "custom" } else { "function" };
        let mut called = fields.object(inner)?.ok_or_else(|| fields.missing(inner))?;
        if custom {
            self.customs.push(id.clone());
        }
        let name = called.required_text("name")?;
        let arguments = arguments(&mut called, if custom { "input" } else { "arguments" })?;
        Ok(ToolCall { id, name, namespace: None, arguments, custom, seal })
    }

    fn function_call(&mut self, mut fields: Fields) -> Result<ToolCall, BadRequest> {
        let name = fields.required_text("name")?;
        let id = call_id(self.done.len(), 0, &name);
        self.unanswered.push((name.clone(), id.clone()));
        let arguments = arguments(&mut fields, "arguments")?;
        Ok(ToolCall { id, name, namespace: None, arguments, custom: false, seal: None })
    }
}

/// Arguments are text; some clients write the object itself.
fn arguments(fields: &mut Fields, name: &str) -> Result<String, BadRequest> {
    match fields.take(name) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(object @ Value::Object(_)) => Ok(object.to_string()),
        Some(_) => Err(wrong_type(&fields.at(name), "a string")),
    }
}

fn plain(role: Role, fields: &mut Fields) -> Result<Message, BadRequest> {
    let parts = content(fields)?.ok_or_else(|| fields.missing("content"))?;
    Ok(Message { role, parts, name: fields.text("name")? })
}

/// The proof of a call, by the family whose name it stands under.
pub(super) fn call_seal(extra: &Value) -> Option<Seal> {
    extra.as_object()?.iter().find_map(|(family, content)| {
        let data = content.get("thought_signature")?.as_str()?;
        Some(Seal::from_field(data, Family::parse(family)?))
    })
}

/// The sources of the text before.
fn annotate(parts: &mut [Part], fields: &mut Fields) {
    let Some(Value::Array(annotations)) = fields.take("annotations") else { return };
    let last = parts.iter_mut().rev().find_map(|part| match &mut part.kind {
        PartKind::Text { citations, .. } => Some(citations),
        _ => None,
    });
    if let Some(citations) = last {
        citations.extend(annotations.iter().map(citation));
    }
}

/// Pictures that the model made, as providers of such models have them.
fn images(fields: &mut Fields) -> Result<Vec<Part>, BadRequest> {
    let image = |mut image: Fields| -> Result<Option<Part>, BadRequest> {
        let Some(mut url) = image.object("image_url")? else { return Ok(None) };
        let media = Media { source: Source::from_url(url.required_text("url")?), detail: None, name: None };
        Ok(Some(Part::new(PartKind::Image(media))))
    };
    fields.objects("images")?.into_iter().filter_map(|item| image(item).transpose()).collect()
}
