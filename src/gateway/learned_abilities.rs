//! What an entry of a provider's list says a model can do, in the words of each dialect. What an entry does not speak
//! about stays unknown: only a clear word denies an ability.

use std::collections::BTreeMap;

use omniroute_actors::router::features::Needs;
use serde_json::Value;

/// Where the kinds of input are listed.
const MODALITIES: [&str; 2] = ["/architecture/input_modalities", "/input_modalities"];
/// Abilities that are flags of their own.
const FLAGS: [(&str, Needs); 4] = [
    ("/capabilities/function_calling", Needs::TOOLS),
    ("/capabilities/vision", Needs::VISION),
    ("/capabilities/audio", Needs::AUDIO),
    ("/capabilities/reasoning", Needs::REASONING),
];
/// The same where each ability is described by an object.
const DESCRIBED: [(&str, Needs); 4] = [
    ("/capabilities/image_input/supported", Needs::VISION),
    ("/capabilities/pdf_input/supported", Needs::FILES),
    ("/capabilities/structured_outputs/supported", Needs::JSON_SCHEMA),
    ("/capabilities/thinking/supported", Needs::REASONING),
];

/// What is known.
#[derive(Debug, Default)]
struct Known(BTreeMap<String, bool>);

impl Known {
    fn note(&mut self, ability: Needs, has: bool) {
        self.0.extend(ability.words().map(|word| (word.to_owned(), has)));
    }

    /// Known only where it is there.
    fn note_if(&mut self, ability: Needs, has: bool) {
        if has {
            self.note(ability, true);
        }
    }
}

/// The abilities that the entry speaks about; nothing where it speaks about none.
pub fn abilities(entry: &Value) -> Option<BTreeMap<String, bool>> {
    let mut known = Known::default();
    modalities(entry, &mut known);
    parameters(entry, &mut known);
    for (place, ability) in FLAGS.into_iter().chain(DESCRIBED) {
        if let Some(has) = entry.pointer(place).and_then(Value::as_bool) {
            known.note(ability, has);
        }
    }
    // Google's word; an older list leaves it out for everybody.
    if let Some(thinks) = entry.get("thinking").and_then(Value::as_bool) {
        known.note(Needs::REASONING, thinks);
    }
    shown(entry, &mut known);
    Some(known.0).filter(|known| !known.is_empty())
}

/// OpenRouter and those that follow it. Files are read for models that cannot, so that only their being there says something.
fn modalities(entry: &Value, known: &mut Known) {
    let Some(kinds) = MODALITIES.iter().find_map(|place| words(entry.pointer(place)?)) else { return };
    known.note(Needs::VISION, kinds.contains(&"image"));
    known.note(Needs::AUDIO, kinds.contains(&"audio"));
    known.note_if(Needs::FILES, kinds.contains(&"file"));
}

fn parameters(entry: &Value, known: &mut Known) {
    let Some(taken) = entry.get("supported_parameters").and_then(words) else { return };
    known.note(Needs::TOOLS, taken.contains(&"tools"));
    known.note(Needs::REASONING, taken.contains(&"reasoning") || taken.contains(&"include_reasoning"));
    let schema = taken.contains(&"structured_outputs");
    if schema || !taken.contains(&"response_format") {
        known.note(Needs::JSON_SCHEMA, schema);
    }
}

/// What Ollama shows of a model. It holds every model that completes to a schema itself.
fn shown(entry: &Value, known: &mut Known) {
    let Some(can) = entry.get("capabilities").and_then(words).filter(|can| can.contains(&"completion")) else { return };
    known.note(Needs::TOOLS, can.contains(&"tools"));
    known.note(Needs::VISION, can.contains(&"vision"));
    known.note(Needs::REASONING, can.contains(&"thinking"));
    known.note_if(Needs::AUDIO, can.contains(&"audio"));
    known.note(Needs::JSON_SCHEMA, true);
}

fn words(list: &Value) -> Option<Vec<&str>> {
    Some(list.as_array()?.iter().filter_map(Value::as_str).collect())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// Those that are there, and those that are denied.
    fn said(entry: &Value) -> (Vec<String>, Vec<String>) {
        let known = abilities(entry).unwrap_or_default();
        let of = |has: bool| known.iter().filter(|(_, is)| **is == has).map(|(word, _)| word.clone()).collect();
        (of(true), of(false))
    }

    #[rstest]
    #[case::openrouter(
        json!({"id": "x", "architecture": {"input_modalities": ["text", "image", "file"]},
               "supported_parameters": ["tools", "tool_choice", "structured_outputs", "response_format", "max_tokens"]}),
        &["files", "json_schema", "tools", "vision"], &["audio", "reasoning"]
    )]
    #[case::openrouter_of_text(
        json!({"id": "x", "architecture": {"input_modalities": ["text"]}, "supported_parameters": ["reasoning", "response_format"]}),
        &["reasoning"], &["audio", "tools", "vision"]
    )]
    #[case::mistral(
        json!({"id": "x", "capabilities": {"completion_chat": true, "function_calling": true, "vision": false, "fine_tuning": false}}),
        &["tools"], &["vision"]
    )]
    #[case::gemini(
        json!({"name": "models/x", "supportedGenerationMethods": ["generateContent"], "thinking": true}), &["reasoning"], &[]
    )]
    #[case::gemini_before(json!({"name": "models/x", "supportedGenerationMethods": ["generateContent"]}), &[], &[])]
    #[case::ollama(
        json!({"capabilities": ["completion", "tools", "thinking"]}), &["json_schema", "reasoning", "tools"], &["vision"]
    )]
    #[case::ollama_embedding(json!({"capabilities": ["embedding"]}), &[], &[])]
    #[case::anthropic(
        json!({"id": "x", "type": "model", "capabilities": {
            "image_input": {"supported": true}, "pdf_input": {"supported": true}, "batch": {"supported": true},
            "structured_outputs": {"supported": false}, "thinking": {"supported": true, "types": {}},
        }}),
        &["files", "reasoning", "vision"], &["json_schema"]
    )]
    #[case::plain(json!({"id": "x", "object": "model"}), &[], &[])]
    fn each_dialect_says_what_a_model_can_and_what_it_cannot(
        #[case] entry: Value,
        #[case] can: &[&str],
        #[case] cannot: &[&str],
    ) {
        let (has, lacks) = said(&entry);

        assert_eq!(
            (has, lacks),
            (can.iter().map(ToString::to_string).collect(), cannot.iter().map(ToString::to_string).collect())
        );
    }
}
