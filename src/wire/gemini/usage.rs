//! Token counts, both ways.
//!
//! The prompt's count holds the cached tokens; the count of the candidates does not hold the thoughts.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use super::shape::{Counts, OfKind};
use crate::usage::{Usage, clamped, take};

fn count(value: Option<&RawValue>) -> Option<u64> {
    clamped(value?.get())
}

fn of_kind(details: Option<&Vec<OfKind<'_>>>, kind: &str) -> u64 {
    let of_kind = |detail: &&OfKind<'_>| detail.modality.as_deref() == Some(kind);
    let counts = details.into_iter().flatten().filter(of_kind).filter_map(|detail| count(detail.token_count));
    counts.fold(0, u64::saturating_add)
}

/// What `usageMetadata` says; none when it counts nothing.
pub(super) fn read(counts: &Counts<'_>) -> Option<Usage> {
    let prompt = count(counts.prompt_token_count);
    let output = count(counts.candidates_token_count);
    let total = count(counts.total_token_count);
    let reasoning = count(counts.thoughts_token_count).unwrap_or(0);
    let tools = count(counts.tool_use_prompt_token_count).unwrap_or(0);
    if prompt.is_none() && output.is_none() && total.unwrap_or(0) == 0 {
        return None;
    }
    let cached = count(counts.cached_content_token_count).unwrap_or(0);
    let beside = reasoning.saturating_add(tools);
    let prompt_or = || total.unwrap_or(0).saturating_sub(output.unwrap_or(0).saturating_add(beside));
    let prompt = prompt.unwrap_or_else(prompt_or);
    let mut output = output.unwrap_or_else(|| total.unwrap_or(0).saturating_sub(prompt.saturating_add(beside)));
    let mut left = prompt;
    let cache_read = take(&mut left, cached);
    let details = counts.prompt_tokens_details.as_ref();
    let fresh = |kind| of_kind(details, kind).saturating_sub(of_kind(counts.cache_tokens_details.as_ref(), kind));
    let audio_in = take(&mut left, fresh("AUDIO"));
    let image_in = take(&mut left, fresh("IMAGE"));
    let audio_out = take(&mut output, of_kind(counts.candidates_tokens_details.as_ref(), "AUDIO"));
    Some(Usage {
        input_fresh: left.saturating_add(tools),
        cache_read,
        output_text: output,
        output_reasoning: reasoning,
        audio_in,
        audio_out,
        image_in,
        ..Usage::default()
    })
}

/// The object `usageMetadata`, as JSON text.
pub(super) fn json(usage: &Usage) -> String {
    let prompt = usage.prompt_tokens();
    let output = usage.output_text.saturating_add(usage.audio_out);
    let total = prompt.saturating_add(usage.completion_tokens());
    let mut json = String::with_capacity(160);
    // Writing to a String cannot fail.
    let _ =
        write!(json, "{{\"promptTokenCount\":{prompt},\"candidatesTokenCount\":{output},\"totalTokenCount\":{total}");
    if usage.cache_read > 0 {
        let _ = write!(json, ",\"cachedContentTokenCount\":{}", usage.cache_read);
    }
    if usage.output_reasoning > 0 {
        let _ = write!(json, ",\"thoughtsTokenCount\":{}", usage.output_reasoning);
    }
    let special = usage.audio_in.saturating_add(usage.image_in);
    if special > 0 {
        let kinds = [("TEXT", prompt.saturating_sub(special)), ("AUDIO", usage.audio_in), ("IMAGE", usage.image_in)];
        details(&mut json, "promptTokensDetails", &kinds);
    }
    if usage.audio_out > 0 {
        details(&mut json, "candidatesTokensDetails", &[("TEXT", usage.output_text), ("AUDIO", usage.audio_out)]);
    }
    json.push('}');
    json
}

fn details(json: &mut String, name: &str, kinds: &[(&str, u64)]) {
    let _ = write!(json, ",\"{name}\":[");
    for (index, (kind, count)) in kinds.iter().filter(|kind| kind.1 > 0).enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(json, "{comma}{{\"modality\":\"{kind}\",\"tokenCount\":{count}}}");
    }
    json.push(']');
}
