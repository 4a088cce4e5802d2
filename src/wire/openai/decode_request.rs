//! Reading a client's request.

use serde_json::Value;

use super::{decode_messages, decode_tools};
use crate::bad_request::BadRequest;
use crate::chat::read::{Fields, wrong_type};
use crate::chat::{Effort, Format, OutputFormat, Reasoning, ReasoningMode, Request, Sampling};

const MAX_CHOICES: u64 = 128;
/// OpenAI allows four; several compatible providers allow more.
const MAX_STOPS: usize = 16;

/// Checks and reads a client's request.
///
/// # Errors
/// When a field is missing, of a wrong type or of an unknown value; it is named.
pub fn decode_request(body: &[u8]) -> Result<Request, BadRequest> {
    let mut fields = Fields::of_body(body)?;
    let model = fields.required_text("model")?;
    if model.trim().is_empty() {
        return Err(fields.missing("model"));
    }
    let mut request = Request::new(Format::OpenAiChat, model);
    (request.stream, request.include_usage) = stream(&mut fields)?;
    request.messages = decode_messages::messages(&mut fields)?;
    decode_tools::tools(&mut fields, &mut request)?;
    request.sampling = sampling(&mut fields)?;
    request.reasoning = reasoning(&mut fields)?;
    request.output = output(&mut fields)?;
    labels(&mut fields, &mut request)?;
    request.rest = fields.rest();
    Ok(request)
}

/// Whether to stream, and whether usage shall end the stream. `stream` decides; only without it do the synonyms of older clients.
pub(crate) fn stream(fields: &mut Fields) -> Result<(bool, bool), BadRequest> {
    let given = fields.flag("stream")?;
    let mut is_true = |name: &str| fields.take(name) == Some(Value::Bool(true));
    let against = [is_true("non_stream"), is_true("disable_stream"), is_true("disable_streaming")].contains(&true);
    let for_it = is_true("streaming");
    let wants_usage = match fields.object("stream_options")? {
        Some(mut options) => options.flag("include_usage")?.unwrap_or(false),
        None => false,
    };
    let stream = given.unwrap_or(for_it && !against);
    Ok((stream, stream && wants_usage))
}

/// What names the request, its user and its service.
fn labels(fields: &mut Fields, request: &mut Request) -> Result<(), BadRequest> {
    request.verbosity = fields.text("verbosity")?;
    if let Some(word) = request.verbosity.as_deref().filter(|word| !["low", "medium", "high"].contains(word)) {
        return Err(fields.unknown("verbosity", word));
    }
    request.modalities = fields.texts("modalities")?;
    request.modalities.retain(|kind| kind != "text");
    request.user = fields.text("user")?;
    if request.user.is_none() {
        request.user = fields.peek("safety_identifier").and_then(Value::as_str).map(str::to_owned);
    }
    request.metadata = match fields.take("metadata") {
        None => None,
        Some(Value::Object(labels)) => Some(labels),
        Some(_) => return Err(wrong_type("metadata", "an object")),
    };
    request.service_tier = fields.text("service_tier")?;
    request.cache_key = fields.text("prompt_cache_key")?;
    Ok(())
}

/// How words are chosen.
pub(crate) fn sampling(fields: &mut Fields) -> Result<Sampling, BadRequest> {
    let old_cap = positive(fields, "max_tokens")?;
    let stop = fields.texts("stop")?;
    if stop.len() > MAX_STOPS {
        let message = format!("'stop' must have at most {MAX_STOPS} elements");
        return Err(BadRequest::new(message, "stop", "invalid_value"));
    }
    Ok(Sampling {
        max_tokens: positive(fields, "max_completion_tokens")?.or(old_cap),
        temperature: in_range(fields, "temperature", 2.0)?,
        top_p: in_range(fields, "top_p", 1.0)?,
        // Some write -1 for "off".
        top_k: fields.integer("top_k")?.and_then(|k| u64::try_from(k).ok()).filter(|k| *k > 0),
        min_p: in_range(fields, "min_p", 1.0)?,
        stop,
        seed: fields.integer("seed")?,
        presence_penalty: fields.number("presence_penalty")?,
        frequency_penalty: fields.number("frequency_penalty")?,
        logit_bias: logit_bias(fields)?,
        n: choices(fields)?,
        logprobs: fields.flag("logprobs")?,
        top_logprobs: fields.count("top_logprobs")?,
    })
}

fn positive(fields: &mut Fields, name: &str) -> Result<Option<u64>, BadRequest> {
    match fields.count(name)? {
        Some(0) => Err(BadRequest::new(format!("'{name}' must be a positive integer"), name, "invalid_value")),
        count => Ok(count),
    }
}

fn in_range(fields: &mut Fields, name: &str, max: f64) -> Result<Option<f64>, BadRequest> {
    let number = fields.number(name)?;
    if number.is_some_and(|number| !(0.0..=max).contains(&number)) {
        let message = format!("'{name}' must be between 0 and {max}");
        return Err(BadRequest::new(message, name, "invalid_value"));
    }
    Ok(number)
}

fn logit_bias(fields: &mut Fields) -> Result<Option<Value>, BadRequest> {
    match fields.take("logit_bias") {
        Some(bias) if !bias.is_object() => Err(wrong_type("logit_bias", "an object")),
        bias => Ok(bias),
    }
}

fn choices(fields: &mut Fields) -> Result<Option<u32>, BadRequest> {
    let Some(n) = fields.count("n")? else { return Ok(None) };
    let fits = u32::try_from(n).ok().filter(|_| (1..=MAX_CHOICES).contains(&n));
    let wrong = || BadRequest::new(format!("'n' must be between 1 and {MAX_CHOICES}"), "n", "invalid_value");
    fits.map(Some).ok_or_else(wrong)
}

/// Three ways to say it: OpenAI's word, and the objects `reasoning` and `thinking` of compatible providers. An encoder tells them
/// apart again: only `reasoning` says whether to show the thoughts, and only `thinking` has a budget beside a mode.
fn reasoning(fields: &mut Fields) -> Result<Option<Reasoning>, BadRequest> {
    let word = effort(fields, "reasoning_effort")?;
    let object = fields.object("reasoning")?.map(reasoning_object).transpose()?;
    let thinking = match fields.peek("thinking") {
        Some(Value::Object(_)) => fields.object("thinking")?.map(thinking_object).transpose()?,
        _ => None,
    };
    let Some(mut told) = object.or(thinking) else { return Ok(word) };
    if let Some(word) = word {
        told.effort = word.effort;
    }
    Ok(Some(told))
}

fn effort(fields: &mut Fields, name: &str) -> Result<Option<Reasoning>, BadRequest> {
    let Some(word) = fields.text(name)? else { return Ok(None) };
    if word == "none" {
        return Ok(Some(plain(ReasoningMode::Off, None)));
    }
    let effort = Effort::parse(&word).ok_or_else(|| fields.unknown(name, &word))?;
    Ok(Some(plain(ReasoningMode::On, Some(effort))))
}

const fn plain(mode: ReasoningMode, effort: Option<Effort>) -> Reasoning {
    Reasoning { mode, effort, budget: None, show: None, summary: None }
}

fn reasoning_object(mut fields: Fields) -> Result<Reasoning, BadRequest> {
    let told = effort(&mut fields, "effort")?.unwrap_or(plain(ReasoningMode::On, None));
    let off = fields.flag("enabled")? == Some(false);
    Ok(Reasoning {
        mode: if off { ReasoningMode::Off } else { told.mode },
        budget: fields.count("max_tokens")?,
        show: Some(!fields.flag("exclude")?.unwrap_or(false)),
        summary: fields.text("summary")?,
        ..told
    })
}

fn thinking_object(mut fields: Fields) -> Result<Reasoning, BadRequest> {
    let kind = fields.required_text("type")?;
    let budget = fields.count("budget_tokens")?;
    let (mode, budget) = match kind.as_str() {
        "enabled" => (ReasoningMode::On, budget),
        "disabled" => (ReasoningMode::Off, Some(0)),
        "adaptive" | "auto" => (ReasoningMode::Adaptive, budget),
        other => return Err(fields.unknown("type", other)),
    };
    Ok(Reasoning { budget, ..plain(mode, None) })
}

fn output(fields: &mut Fields) -> Result<OutputFormat, BadRequest> {
    let Some(mut format) = fields.object("response_format")? else { return Ok(OutputFormat::Text) };
    let kind = format.required_text("type")?;
    match kind.as_str() {
        "text" => Ok(OutputFormat::Text),
        "json_object" => Ok(OutputFormat::JsonObject),
        "json_schema" => {
            let mut schema = format.object("json_schema")?.ok_or_else(|| format.missing("json_schema"))?;
            Ok(OutputFormat::JsonSchema {
                name: schema.required_text("name")?,
                description: schema.text("description")?,
                strict: schema.flag("strict")?,
                schema: schema.take("schema").unwrap_or_else(|| Value::Object(serde_json::Map::new())),
            })
        }
        other => Err(format.unknown("type", other)),
    }
}
