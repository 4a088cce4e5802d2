//! `generationConfig` of a client's request.

use serde_json::Value;

use super::schema;
use crate::bad_request::BadRequest;
use crate::chat::read::Fields;
use crate::chat::{Effort, OutputFormat, Reasoning, ReasoningMode, Request, Sampling};

/// Reads all of it; what is Google's alone goes to the rest as `generationConfig.<name>`.
pub(super) fn read(mut config: Fields, request: &mut Request) -> Result<(), BadRequest> {
    request.sampling = sampling(&mut config)?;
    request.reasoning = config.object("thinkingConfig")?.map(thinking).transpose()?.flatten();
    request.modalities = config.texts("responseModalities")?.iter().map(|word| word.to_ascii_lowercase()).collect();
    request.output = output(&mut config)?;
    let left = config.rest().into_iter().map(|(name, value)| (format!("generationConfig.{name}"), value));
    request.rest.extend(left);
    Ok(())
}

fn sampling(config: &mut Fields) -> Result<Sampling, BadRequest> {
    let n = config.count("candidateCount")?;
    Ok(Sampling {
        max_tokens: config.count("maxOutputTokens")?,
        temperature: config.number("temperature")?,
        top_p: config.number("topP")?,
        // A number in the protocol, and some clients write 40.0.
        top_k: config.count("topK")?,
        stop: config.texts("stopSequences")?,
        seed: config.integer("seed")?,
        presence_penalty: config.number("presencePenalty")?,
        frequency_penalty: config.number("frequencyPenalty")?,
        n: n.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        logprobs: config.flag("responseLogprobs")?,
        top_logprobs: config.count("logprobs")?,
        ..Sampling::default()
    })
}

fn thinking(mut config: Fields) -> Result<Option<Reasoning>, BadRequest> {
    let show = config.flag("includeThoughts")?;
    let budget = config.integer("thinkingBudget")?;
    let level = config.text("thinkingLevel")?.filter(|level| level != "THINKING_LEVEL_UNSPECIFIED");
    let effort = match &level {
        Some(level) => Some(Effort::parse(level).ok_or_else(|| config.unknown("thinkingLevel", level))?),
        None => None,
    };
    let mode = match (budget, effort) {
        (Some(0), _) => ReasoningMode::Off,
        (Some(1..), _) | (_, Some(_)) => ReasoningMode::On,
        _ => ReasoningMode::Adaptive,
    };
    let says_something = show.is_some() || budget.is_some() || effort.is_some();
    let budget = budget.and_then(|tokens| u64::try_from(tokens).ok()).filter(|tokens| *tokens > 0);
    Ok(says_something.then_some(Reasoning { mode, effort, budget, show, summary: None }))
}

fn output(config: &mut Fields) -> Result<OutputFormat, BadRequest> {
    let mime = config.peek("responseMimeType").and_then(Value::as_str).unwrap_or_default();
    if !matches!(mime, "" | "text/plain" | "application/json") {
        // An enumeration, or what comes next: it stays as it is, for Google.
        return Ok(OutputFormat::Text);
    }
    let mime = config.text("responseMimeType")?;
    let json_schema = config.take("responseJsonSchema").or_else(|| config.take("_responseJsonSchema"));
    let open_api = config.take("responseSchema").map(schema::from_open_api);
    Ok(match json_schema.or(open_api) {
        Some(schema) => {
            OutputFormat::JsonSchema { name: "response".to_owned(), description: None, schema, strict: None }
        }
        None if mime.as_deref() == Some("application/json") => OutputFormat::JsonObject,
        None => OutputFormat::Text,
    })
}
