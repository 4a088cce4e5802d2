//! Token counts: what was read from and written to the cache is beside the input, not inside.

use serde_json::value::RawValue;

use crate::anthropic::json::Members;
use crate::usage::{MAX_TOKENS, Usage};

/// Reads a `usage` object; none when it names no count.
pub(crate) fn read(raw: &RawValue) -> Option<Usage> {
    let usage = Members::of(raw);
    let count = |name: &str| usage.count(name).map(|count| count.min(MAX_TOKENS));
    let (input, output) = (count("inputTokens"), count("outputTokens"));
    let (read, written) = (count("cacheReadInputTokens"), count("cacheWriteInputTokens"));
    input.or(output).or(read).or(written)?;
    let written = written.unwrap_or(0);
    let cache_write_1h = written_for_an_hour(&usage).min(written);
    Some(Usage {
        input_fresh: input.unwrap_or(0),
        cache_read: read.unwrap_or(0),
        cache_write_5m: written.saturating_sub(cache_write_1h),
        cache_write_1h,
        output_text: output.unwrap_or(0),
        ..Usage::default()
    })
}

fn written_for_an_hour(usage: &Members<'_>) -> u64 {
    let details = usage.list("cacheDetails").unwrap_or_default();
    let hours = details.into_iter().map(Members::of).filter(|detail| detail.text("ttl").as_deref() == Some("1h"));
    hours.filter_map(|detail| detail.count("inputTokens")).fold(0, u64::saturating_add)
}
