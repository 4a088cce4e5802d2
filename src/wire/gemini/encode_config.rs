//! `generationConfig` for Google.

use serde_json::{Map, Value, json};

use super::encode_request::{Writing, schema_member};
use crate::chat::lost;
use crate::chat::{Effort, OutputFormat, Part, PartKind, Reasoning, ReasoningMode, Refused, ToolChoice, worded_schema};

/// Stop sequences at most.
const MOST_STOPS: usize = 5;

/// Answers at most.
const MOST_ANSWERS: u32 = 8;

/// Writes all of it that Google knows.
pub(super) fn write(
    writing: &mut Writing<'_>,
    has_functions: bool,
    body: &mut Map<String, Value>,
) -> Result<(), Refused> {
    let mut config = Map::new();
    sampling(writing, &mut config)?;
    if let Some(reasoning) = writing.request.reasoning.clone() {
        thinking(writing, &reasoning, &mut config);
    }
    output(writing, has_functions, &mut config)?;
    media_resolution(writing, &mut config);
    let kinds: Vec<String> = writing.request.modalities.iter().map(|kind| kind.to_ascii_uppercase()).collect();
    if kinds.iter().any(|kind| kind != "TEXT") || (writing.own() && !kinds.is_empty()) {
        config.insert("responseModalities".to_owned(), json!(kinds));
    }
    if !config.is_empty() {
        body.insert("generationConfig".to_owned(), Value::Object(config));
    }
    Ok(())
}

fn sampling(writing: &mut Writing<'_>, config: &mut Map<String, Value>) -> Result<(), Refused> {
    let sampling = &writing.request.sampling;
    if sampling.n.is_some_and(|n| n > MOST_ANSWERS) {
        return Err(Refused::new("n", format!("Gemini gives {MOST_ANSWERS} answers at most")));
    }
    let members = [
        ("maxOutputTokens", sampling.max_tokens.map(Value::from)),
        ("temperature", sampling.temperature.map(Value::from)),
        ("topP", sampling.top_p.map(Value::from)),
        ("topK", sampling.top_k.map(Value::from)),
        ("seed", sampling.seed.map(Value::from)),
        ("presencePenalty", sampling.presence_penalty.map(Value::from)),
        ("frequencyPenalty", sampling.frequency_penalty.map(Value::from)),
        ("candidateCount", sampling.n.map(Value::from)),
        ("responseLogprobs", sampling.logprobs.map(Value::from)),
        ("logprobs", sampling.top_logprobs.map(Value::from)),
    ];
    config.extend(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    let stops: Vec<&String> = sampling.stop.iter().filter(|stop| !stop.is_empty()).take(MOST_STOPS).collect();
    if !stops.is_empty() {
        config.insert("stopSequences".to_owned(), json!(stops));
    }
    if sampling.stop.len() > stops.len() {
        writing.drop("stop", "Gemini takes five texts that end an answer, and no empty one");
    }
    Ok(())
}

/// In words for the third generation, in tokens for the second, and not at all before: both at once is an error there.
fn thinking(writing: &mut Writing<'_>, reasoning: &Reasoning, config: &mut Map<String, Value>) {
    if !writing.model.thinks() {
        writing.drop("reasoning", "this model does not think on request");
        return;
    }
    let mut thinking = Map::new();
    let effort = reasoning.effort.or_else(|| reasoning.budget.map(Effort::of_budget));
    let model = writing.model;
    if model.third() {
        let level = match (reasoning.mode, effort) {
            (ReasoningMode::Off, _) => Some(model.level(Effort::Minimal)),
            (_, effort) => effort.map(|effort| model.level(effort)),
        };
        thinking.extend(level.map(|level| ("thinkingLevel".to_owned(), json!(level))));
    } else {
        let wanted = reasoning.budget.or_else(|| reasoning.effort.map(Effort::budget));
        let budget = match (reasoning.mode, wanted) {
            (ReasoningMode::Off, _) => Some(json!(model.budget(0))),
            (_, Some(wanted)) => Some(json!(model.budget(wanted))),
            // A client of Google that only asks to see the thoughts leaves the rest to the model.
            (ReasoningMode::Adaptive, None) if writing.own() => None,
            (_, None) => Some(json!(-1)),
        };
        thinking.extend(budget.map(|budget| ("thinkingBudget".to_owned(), budget)));
    }
    let unsaid = (!writing.own()).then_some(reasoning.mode != ReasoningMode::Off);
    thinking.extend(reasoning.show.or(unsaid).map(|show| ("includeThoughts".to_owned(), json!(show))));
    if !thinking.is_empty() {
        config.insert("thinkingConfig".to_owned(), Value::Object(thinking));
    }
}

/// How closely to look is said once for all that is no text, so it is said where all of that is pictures to be looked at
/// alike.
fn media_resolution(writing: &mut Writing<'_>, config: &mut Map<String, Value>) {
    let mut asked: Vec<Option<&str>> = Vec::new();
    writing.request.messages.iter().for_each(|message| gather_details(&message.parts, &mut asked));
    let level = match asked.first() {
        Some(first) if asked.iter().any(|other| other != first) => None,
        Some(Some("low")) => Some("MEDIA_RESOLUTION_LOW"),
        Some(Some("high")) => Some("MEDIA_RESOLUTION_HIGH"),
        _ => None,
    };
    match level {
        Some(level) => drop(config.insert("mediaResolution".to_owned(), json!(level))),
        None => writing.dropped.extend(lost::details(writing.request, "Gemini looks at everything alike")),
    }
}

fn gather_details<'a>(parts: &'a [Part], asked: &mut Vec<Option<&'a str>>) {
    for part in parts {
        match &part.kind {
            PartKind::Image(media) => asked.push(media.detail.as_deref()),
            PartKind::Video(_) | PartKind::File(_) => asked.push(None),
            PartKind::ToolResult(result) => gather_details(&result.parts, asked),
            _ => {}
        }
    }
}

fn output(writing: &mut Writing<'_>, has_functions: bool, config: &mut Map<String, Value>) -> Result<(), Refused> {
    if writing.request.output == OutputFormat::Text {
        return Ok(());
    }
    let may_call = has_functions && writing.request.tool_choice != Some(ToolChoice::None);
    if may_call && !writing.model.mixes_tools() && !writing.own() {
        return Err(Refused::new("response_format", "This model does not write JSON while it has functions"));
    }
    config.insert("responseMimeType".to_owned(), json!("application/json"));
    if let OutputFormat::JsonSchema { schema, .. } = &writing.request.output {
        let schema = worded_schema(writing.request, schema);
        let (member, schema) = schema_member(writing, &schema, "responseJsonSchema", "responseSchema");
        let written = schema.as_ref().unwrap_or(&Value::Null);
        writing.dropped.extend(lost::schema_words(writing.request, written, "Gemini takes the schema alone"));
        if !writing.model.json_schema() {
            let why = "the model knows a part of JSON Schema only";
            writing.dropped.extend(lost::strict_schema(writing.request, why));
        }
        config.extend(schema.map(|schema| (member.to_owned(), schema)));
    }
    Ok(())
}
