//! Reading a client's request.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::decode_parts::PartReader;
use super::{native, output, reasoning, tools};
use crate::bad_request::BadRequest;
use crate::chat::read::Fields;
use crate::chat::{Format, Message, Request, Role, Sampling};

type Read<T> = Result<T, BadRequest>;

/// Whether a request must cap its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MaxTokens {
    Required,
    Optional,
}

/// Reads a request.
///
/// # Errors
/// When the body is no such request; the field is named.
pub fn decode_request(body: &[u8]) -> Result<Request, BadRequest> {
    decode(body, MaxTokens::Required)
}

pub(crate) fn decode(body: &[u8], max_tokens: MaxTokens) -> Read<Request> {
    let mut fields = Fields::of_body(body)?;
    let mut request = Request::new(Format::Anthropic, fields.required_text("model")?);
    request.sampling = sampling(&mut fields)?;
    if max_tokens == MaxTokens::Required && request.sampling.max_tokens.is_none() {
        return Err(fields.missing("max_tokens"));
    }
    request.stream = fields.flag("stream")?.unwrap_or(false);
    let mut rest = Map::new();
    request.messages = messages(&mut fields, body, &mut rest)?;
    request.tools = tools::read(&mut fields, &mut rest)?;
    (request.tool_choice, request.parallel_tools) = tools::read_choice(&mut fields)?;
    let mut config = fields.object("output_config")?;
    request.reasoning = reasoning::read(&mut fields, config.as_mut())?;
    request.output = output::read(&mut fields, config.as_mut())?;
    request.user = match fields.object("metadata")? {
        Some(mut metadata) => metadata.text("user_id")?,
        None => None,
    };
    request.service_tier = service_tier(&mut fields)?;
    for (name, value) in config.map(Fields::rest).unwrap_or_default() {
        rest.insert(format!("output_config.{name}"), value);
    }
    rest.extend(fields.rest());
    request.rest = rest;
    Ok(request)
}

fn sampling(fields: &mut Fields) -> Read<Sampling> {
    Ok(Sampling {
        max_tokens: fields.count("max_tokens")?,
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: fields.count("top_k")?,
        stop: fields.texts("stop_sequences")?,
        ..Sampling::default()
    })
}

fn service_tier(fields: &mut Fields) -> Read<Option<String>> {
    match fields.text("service_tier")?.as_deref() {
        None => Ok(None),
        Some("auto") => Ok(Some("auto".to_owned())),
        Some("standard_only") => Ok(Some("default".to_owned())),
        Some(other) => Err(fields.unknown("service_tier", other)),
    }
}

fn messages(fields: &mut Fields, body: &[u8], rest: &mut Map<String, Value>) -> Read<Vec<Message>> {
    let mut messages = Vec::new();
    if let Some(system) = fields.take("system") {
        let mut reader = PartReader { rest, path: "messages[0]".to_owned(), inputs: &[] };
        let parts = reader.content(Some(system), &fields.at("system"))?;
        messages.push(Message::new(Role::System, parts));
    }
    if fields.peek("messages").is_none() {
        return Err(fields.missing("messages"));
    }
    let inputs = Inputs::of(body);
    for (index, mut message) in fields.objects("messages")?.into_iter().enumerate() {
        let role = role(&mut message)?;
        let path = message.at("content");
        let inputs = inputs.of_message(index);
        let mut reader = PartReader { rest, path: format!("messages[{}]", messages.len()), inputs: &inputs };
        let mut content = message.take("content");
        if let (Role::User, Some(Value::Array(blocks))) = (role, &mut content) {
            // Stable: results come first and keep their order.
            blocks.sort_by_key(|block| native::kind(block) != "tool_result");
        }
        let parts = reader.content(content, &path)?;
        messages.push(Message::new(role, parts));
    }
    Ok(messages)
}

fn role(message: &mut Fields) -> Read<Role> {
    match message.required_text("role")?.as_str() {
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "system" => Ok(Role::System),
        other => Err(message.unknown("role", other)),
    }
}

/// The inputs of calls as they stand in the body. A tree would round their numbers.
struct Inputs<'a> {
    messages: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct BodyView<'a> {
    #[serde(borrow)]
    messages: Vec<MessageView<'a>>,
}

#[derive(Deserialize)]
struct MessageView<'a> {
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct BlockView<'a> {
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
}

impl<'a> Inputs<'a> {
    fn of(body: &'a [u8]) -> Self {
        let has_calls = memchr::memmem::find(body, b"tool_use").is_some();
        let view = has_calls.then(|| serde_json::from_slice::<BodyView<'a>>(body).ok()).flatten();
        let messages = view.map(|view| view.messages.into_iter().map(|message| message.content).collect());
        Self { messages: messages.unwrap_or_default() }
    }

    fn of_message(&self, index: usize) -> Vec<Option<&'a str>> {
        let Some(content) = self.messages.get(index).filter(|content| content.get().starts_with('[')) else {
            return Vec::new();
        };
        let blocks: Vec<BlockView<'a>> = serde_json::from_str(content.get()).unwrap_or_default();
        blocks.into_iter().map(|block| block.input.map(RawValue::get)).collect()
    }
}
