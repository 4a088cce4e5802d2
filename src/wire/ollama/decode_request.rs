//! A client's request.

use serde_json::Value;

use super::decode_messages;
use crate::bad_request::BadRequest;
use crate::chat::read::{Fields, wrong_type};
use crate::chat::{
    Effort, Format, Message, OutputFormat, Part, Reasoning, ReasoningMode, Request, Role, Sampling, Tool, ToolKind,
};

/// Checks and reads a request for `/api/chat`.
///
/// # Errors
/// The field that is missing, of the wrong type, or of an unknown value.
pub fn decode_request(body: &[u8]) -> Result<Request, BadRequest> {
    let mut body = Fields::of_body(body)?;
    let model = body.required_text("model")?;
    let messages = body.objects("messages")?;
    if messages.is_empty() {
        return Err(body.missing("messages"));
    }
    let messages = decode_messages::read(messages)?;
    let tools = body.objects("tools")?.into_iter().map(tool).collect::<Result<_, _>>()?;
    common(body, Request { messages, tools, ..Request::new(Format::Ollama, model) })
}

/// Checks and reads a request for `/api/generate`. Its template, suffix, context and rawness are left in the rest.
///
/// # Errors
/// As for [`decode_request`].
pub fn decode_generate(body: &[u8]) -> Result<Request, BadRequest> {
    let mut body = Fields::of_body(body)?;
    let model = body.required_text("model")?;
    let system = body.text("system")?.filter(|text| !text.is_empty());
    let prompt = body.required_text("prompt")?;
    let mut parts = vec![Part::text(prompt)];
    parts.extend(body.texts("images")?.into_iter().map(decode_messages::image));
    let system = system.map(|text| Message::text(Role::System, text));
    let messages = system.into_iter().chain([Message::new(Role::User, parts)]).collect();
    common(body, Request { messages, ..Request::new(Format::Ollama, model) })
}

fn common(mut body: Fields, mut request: Request) -> Result<Request, BadRequest> {
    request.stream = body.flag("stream")?.unwrap_or(true);
    request.reasoning = think(&mut body)?;
    request.output = format(&mut body)?;
    let options = body.object("options")?;
    let (logprobs, top_logprobs) = (body.flag("logprobs")?, body.count("top_logprobs")?);
    request.rest = body.rest();
    if let Some(mut options) = options {
        request.sampling = sampling(&mut options)?;
        let left = options.rest().into_iter().map(|(name, value)| (format!("options.{name}"), value));
        request.rest.extend(left);
    }
    request.sampling.logprobs = logprobs;
    request.sampling.top_logprobs = top_logprobs;
    Ok(request)
}

fn sampling(options: &mut Fields) -> Result<Sampling, BadRequest> {
    // -1 and -2 say that there is no cap.
    let max_tokens = options.integer("num_predict")?.and_then(|tokens| u64::try_from(tokens).ok());
    Ok(Sampling {
        max_tokens,
        temperature: options.number("temperature")?,
        top_p: options.number("top_p")?,
        top_k: options.count("top_k")?,
        min_p: options.number("min_p")?,
        stop: options.texts("stop")?,
        seed: options.integer("seed")?,
        presence_penalty: options.number("presence_penalty")?,
        frequency_penalty: options.number("frequency_penalty")?,
        ..Sampling::default()
    })
}

fn think(body: &mut Fields) -> Result<Option<Reasoning>, BadRequest> {
    let path = body.at("think");
    let (mode, effort) = match body.take("think") {
        None => return Ok(None),
        Some(Value::Bool(true)) => (ReasoningMode::On, None),
        Some(Value::Bool(false)) => (ReasoningMode::Off, None),
        Some(Value::String(word)) => {
            let effort = Effort::parse(&word).ok_or_else(|| body.unknown("think", &word))?;
            (ReasoningMode::On, Some(effort))
        }
        Some(_) => return Err(wrong_type(&path, "a boolean or a level")),
    };
    let show = (mode == ReasoningMode::On).then_some(true);
    Ok(Some(Reasoning { mode, effort, budget: None, show, summary: None }))
}

fn format(body: &mut Fields) -> Result<OutputFormat, BadRequest> {
    let path = body.at("format");
    match body.take("format") {
        None => Ok(OutputFormat::Text),
        Some(Value::String(word)) => match word.as_str() {
            "" => Ok(OutputFormat::Text),
            "json" => Ok(OutputFormat::JsonObject),
            _ => Err(body.unknown("format", &word)),
        },
        Some(schema @ Value::Object(_)) => {
            Ok(OutputFormat::JsonSchema { name: "response".to_owned(), description: None, schema, strict: None })
        }
        Some(_) => Err(wrong_type(&path, "'json' or a schema")),
    }
}

fn tool(mut tool: Fields) -> Result<Tool, BadRequest> {
    let is_function = tool.peek("function").is_some() || tool.peek("type").is_none_or(|kind| kind == "function");
    if !is_function {
        return Ok(Tool { kind: ToolKind::Native(Value::Object(tool.rest_with_nulls())), cache: None });
    }
    let mut function = tool.object("function")?.ok_or_else(|| tool.missing("function"))?;
    let name = function.required_text("name")?;
    let description = function.text("description")?;
    let schema = function.take("parameters");
    if schema.as_ref().is_some_and(|schema| !schema.is_object()) {
        return Err(wrong_type(&function.at("parameters"), "an object"));
    }
    let strict = function.flag("strict")?;
    Ok(Tool { kind: ToolKind::Function { name, namespace: None, description, schema, strict }, cache: None })
}
