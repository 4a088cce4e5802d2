//! Token counts as this format writes them: fresh, read from and written to the cache are disjoint; thinking is inside of the
//! output.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use super::json::Members;
use crate::usage::{MAX_TOKENS, Usage};

/// Counts as they were reported. A stream reports some at its beginning and some at its end.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    input: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    write_5m: Option<u64>,
    write_1h: Option<u64>,
    output: Option<u64>,
    thinking: Option<u64>,
}

impl Counts {
    /// Read a `usage` object.
    pub(crate) fn read(raw: &RawValue) -> Self {
        let usage = Members::of(raw);
        let split = usage.members("cache_creation").unwrap_or_default();
        let details = usage.members("output_tokens_details").unwrap_or_default();
        Self {
            input: usage.count("input_tokens"),
            cache_read: usage.count("cache_read_input_tokens"),
            cache_write: usage.count("cache_creation_input_tokens"),
            write_5m: split.count("ephemeral_5m_input_tokens"),
            write_1h: split.count("ephemeral_1h_input_tokens"),
            output: usage.count("output_tokens"),
            thinking: details.count("thinking_tokens"),
        }
    }

    /// Learn newer counts. A zero never replaces a number: some providers end with a report of zeros.
    pub(crate) fn merge(&mut self, newer: Self) {
        let learn = |known: &mut Option<u64>, newer: Option<u64>| match newer {
            Some(0) if known.is_some() => {}
            Some(count) => *known = Some(count),
            None => {}
        };
        learn(&mut self.input, newer.input);
        learn(&mut self.cache_read, newer.cache_read);
        learn(&mut self.cache_write, newer.cache_write);
        learn(&mut self.write_5m, newer.write_5m);
        learn(&mut self.write_1h, newer.write_1h);
        learn(&mut self.output, newer.output);
        learn(&mut self.thinking, newer.thinking);
    }

    /// The buckets; none when nothing was reported.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.input.or(self.output).or(self.cache_read).or(self.cache_write)?;
        let count = |count: Option<u64>| count.unwrap_or(0).min(MAX_TOKENS);
        let cache_write_1h = count(self.write_1h);
        let cache_write_5m = count(self.write_5m).max(count(self.cache_write).saturating_sub(cache_write_1h));
        let output = count(self.output);
        let output_reasoning = count(self.thinking).min(output);
        Some(Usage {
            input_fresh: count(self.input),
            cache_read: count(self.cache_read),
            cache_write_5m,
            cache_write_1h,
            output_text: output.saturating_sub(output_reasoning),
            output_reasoning,
            ..Usage::default()
        })
    }
}

impl Usage {
    /// Reads an Anthropic `usage` object; none when it is no object or names no count at all.
    pub fn from_anthropic(usage: &RawValue) -> Option<Self> {
        Counts::read(usage).usage()
    }

    /// The Anthropic `usage` object, as JSON text.
    pub fn to_anthropic(&self) -> String {
        let input = self.input_fresh.saturating_add(self.audio_in).saturating_add(self.image_in);
        let written = self.cache_write_5m.saturating_add(self.cache_write_1h);
        let mut json = String::with_capacity(256);
        // Writing to a String cannot fail.
        let _ = write!(
            json,
            "{{\"input_tokens\":{input},\"cache_creation_input_tokens\":{written},\"cache_read_input_tokens\":{},\
             \"cache_creation\":{{\"ephemeral_5m_input_tokens\":{},\"ephemeral_1h_input_tokens\":{}}},\
             \"output_tokens\":{}",
            self.cache_read,
            self.cache_write_5m,
            self.cache_write_1h,
            self.completion_tokens(),
        );
        if self.output_reasoning > 0 {
            let _ = write!(json, ",\"output_tokens_details\":{{\"thinking_tokens\":{}}}", self.output_reasoning);
        }
        json.push('}');
        json
    }
}
