//! Token counts as Responses writes them; [`Usage::from_openai`] reads them.

use crate::usage::Usage;

/// The `usage` object, as JSON text. `input_tokens` holds the cached ones, `output_tokens` the reasoning.
pub(super) fn to_json(usage: &Usage) -> String {
    let (input, output) = (usage.prompt_tokens(), usage.completion_tokens());
    format!(
        "{{\"input_tokens\":{input},\"input_tokens_details\":{{\"cached_tokens\":{},\"cache_write_tokens\":{}}},\
         \"output_tokens\":{output},\"output_tokens_details\":{{\"reasoning_tokens\":{}}},\"total_tokens\":{}}}",
        usage.cache_read,
        usage.cache_write_5m.saturating_add(usage.cache_write_1h),
        usage.output_reasoning,
        input.saturating_add(output),
    )
}

/// The body of `POST /v1/responses/input_tokens`.
pub fn input_tokens_body(tokens: u64) -> bytes::Bytes {
    format!("{{\"object\":\"response.input_tokens\",\"input_tokens\":{tokens}}}").into()
}
