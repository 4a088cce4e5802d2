//! Reading a client's request.

use serde_json::{Map, Value};

use super::{decode_items, decode_tools, extras};
use crate::bad_request::BadRequest;
use crate::chat::read::Fields;
use crate::chat::{Effort, Format, Message, OutputFormat, Reasoning, ReasoningMode, Request, Role, Sampling};

/// The request that a body asks for.
///
/// # Errors
/// When it is no request; the error names the field.
pub fn decode_request(body: &[u8]) -> Result<Request, BadRequest> {
    let mut body = Fields::of_body(body)?;
    let mut request = Request::new(Format::OpenAiResponses, body.required_text("model")?);
    request.stream = body.flag("stream")?.unwrap_or(false);
    if let Some(instructions) = body.text("instructions")? {
        request.messages.push(Message::text(Role::System, instructions));
    }
    let offered = decode_items::input(&mut body, &mut request.messages)?;
    let mut rest = Map::new();
    decode_tools::tools(&mut body, offered, &mut request, &mut rest)?;
    decode_tools::choice(&mut body, &mut request, &mut rest)?;
    request.parallel_tools = body.flag("parallel_tool_calls")?;
    request.sampling = sampling(&mut body)?;
    reasoning(&mut body, &mut request, &mut rest)?;
    text(&mut body, &mut request, &mut rest)?;
    request.user = body.text("user")?;
    request.metadata = body.object("metadata")?.map(Fields::rest);
    request.service_tier = body.text("service_tier")?;
    request.cache_key = body.text("prompt_cache_key")?;
    rest.extend(body.rest());
    extras::check(&rest)?;
    request.rest = rest;
    if extras::extras(&request).include.iter().any(|name| name == "message.output_text.logprobs") {
        request.sampling.logprobs = Some(true);
    }
    Ok(request)
}

fn sampling(body: &mut Fields) -> Result<Sampling, BadRequest> {
    let top_logprobs = body.count("top_logprobs")?;
    Ok(Sampling {
        max_tokens: body.count("max_output_tokens")?,
        temperature: body.number("temperature")?,
        top_p: body.number("top_p")?,
        logprobs: top_logprobs.filter(|count| *count > 0).map(|_| true),
        top_logprobs,
        ..Sampling::default()
    })
}

/// What the model does not hold of an inner object stays in `rest` under `<object>.<member>`.
fn keep_inner(name: &str, inner: Fields, rest: &mut Map<String, Value>) {
    rest.extend(inner.rest().into_iter().map(|(member, value)| (format!("{name}.{member}"), value)));
}

fn reasoning(body: &mut Fields, request: &mut Request, rest: &mut Map<String, Value>) -> Result<(), BadRequest> {
    let Some(mut asked) = body.object("reasoning")? else { return Ok(()) };
    let effort = asked.text("effort")?;
    let older = asked.text("generate_summary")?;
    let summary = asked.text("summary")?.or(older);
    if let Some(word) = summary.as_deref().filter(|word| !matches!(*word, "auto" | "concise" | "detailed" | "none")) {
        return Err(asked.unknown("summary", word));
    }
    let (mode, effort) = match effort.as_deref() {
        Some("none") => (ReasoningMode::Off, None),
        Some(word) => (ReasoningMode::On, Some(Effort::parse(word).ok_or_else(|| asked.unknown("effort", word))?)),
        None => (ReasoningMode::Adaptive, None),
    };
    let summary = summary.filter(|word| word != "none");
    if effort.is_some() || summary.is_some() || mode == ReasoningMode::Off {
        request.reasoning =
            Some(Reasoning { mode, effort, budget: None, show: summary.as_ref().map(|_| true), summary });
    }
    keep_inner("reasoning", asked, rest);
    Ok(())
}

fn text(body: &mut Fields, request: &mut Request, rest: &mut Map<String, Value>) -> Result<(), BadRequest> {
    let Some(mut text) = body.object("text")? else { return Ok(()) };
    request.verbosity = text.text("verbosity")?;
    if let Some(word) = request.verbosity.as_deref().filter(|word| !matches!(*word, "low" | "medium" | "high")) {
        return Err(text.unknown("verbosity", word));
    }
    if let Some(format) = text.object("format")? {
        request.output = output(format)?;
    }
    keep_inner("text", text, rest);
    Ok(())
}

fn output(mut format: Fields) -> Result<OutputFormat, BadRequest> {
    let kind = format.required_text("type")?;
    match kind.as_str() {
        "text" => Ok(OutputFormat::Text),
        "json_object" => Ok(OutputFormat::JsonObject),
        "json_schema" => Ok(OutputFormat::JsonSchema {
            name: format.required_text("name")?,
            description: format.text("description")?,
            schema: decode_tools::schema(&mut format, "schema")?.ok_or_else(|| format.missing("schema"))?,
            strict: format.flag("strict")?,
        }),
        other => Err(format.unknown("type", other)),
    }
}
