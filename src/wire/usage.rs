//! Token counts in buckets that never overlap, so that pricing is a sum of products.
//!
//! OpenAI's `prompt_tokens` includes the cached ones and `completion_tokens` includes the reasoning ones; some compatible upstreams
//! count reasoning beside the completion, which shows in `total_tokens`. Numbers come from outside, so they are clamped: a
//! negative or absurd count must never turn into a negative or an overflowing bill.

use std::fmt::Write as _;

use serde::de::{IgnoredAny, MapAccess};
use serde_json::value::RawValue;

use super::lenient::{Any, FromJson};

/// No request has this many tokens of a kind; a larger count is nonsense and is cut to this.
pub const MAX_TOKENS: u64 = 100_000_000;

/// The usual rule of thumb, used only when the upstream reports nothing.
const CHARS_PER_TOKEN: u64 = 4;

/// Tokens of one answer; the buckets are disjoint.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens that were neither read from nor written to a cache, and are text.
    pub input_fresh: u64,
    /// Prompt tokens read from the provider's cache.
    pub cache_read: u64,
    /// Prompt tokens written to the provider's short-lived cache.
    pub cache_write_5m: u64,
    /// Prompt tokens written to the provider's one-hour cache.
    pub cache_write_1h: u64,
    /// Answer tokens that the client sees as text.
    pub output_text: u64,
    /// Answer tokens spent on reasoning.
    pub output_reasoning: u64,
    /// Prompt tokens of audio.
    pub audio_in: u64,
    /// Answer tokens of audio.
    pub audio_out: u64,
    /// Prompt tokens of images.
    pub image_in: u64,
    /// Guessed from lengths, not reported.
    pub estimated: bool,
}

impl Usage {
    /// Reads the `usage` object of a chat or a Responses answer; none when it is no object or names no count at all.
    pub fn from_openai(usage: &RawValue) -> Option<Self> {
        let Any(reported) = serde_json::from_str::<Any<Reported>>(usage.get()).ok()?;
        reported.split()
    }

    /// A guess from lengths, marked as one.
    pub fn estimate(chars_in: u64, chars_out: u64) -> Self {
        let tokens = |chars: u64| chars.div_ceil(CHARS_PER_TOKEN).min(MAX_TOKENS);
        Self { input_fresh: tokens(chars_in), output_text: tokens(chars_out), estimated: true, ..Self::default() }
    }

    /// These and those, for an answer that took more than one call.
    #[must_use]
    pub const fn and(&self, more: &Self) -> Self {
        Self {
            input_fresh: self.input_fresh.saturating_add(more.input_fresh),
            cache_read: self.cache_read.saturating_add(more.cache_read),
            cache_write_5m: self.cache_write_5m.saturating_add(more.cache_write_5m),
            cache_write_1h: self.cache_write_1h.saturating_add(more.cache_write_1h),
            output_text: self.output_text.saturating_add(more.output_text),
            output_reasoning: self.output_reasoning.saturating_add(more.output_reasoning),
            audio_in: self.audio_in.saturating_add(more.audio_in),
            audio_out: self.audio_out.saturating_add(more.audio_out),
            image_in: self.image_in.saturating_add(more.image_in),
            estimated: self.estimated || more.estimated,
        }
    }

    /// All tokens of the prompt, as OpenAI counts them.
    pub fn prompt_tokens(&self) -> u64 {
        let caches = [self.cache_read, self.cache_write_5m, self.cache_write_1h];
        sum(&caches).saturating_add(sum(&[self.input_fresh, self.audio_in, self.image_in]))
    }

    /// All tokens of the answer, as OpenAI counts them.
    pub fn completion_tokens(&self) -> u64 {
        sum(&[self.output_text, self.output_reasoning, self.audio_out])
    }

    /// The chat `usage` object, as JSON text.
    pub fn to_openai(&self) -> String {
        let (prompt, completion) = (self.prompt_tokens(), self.completion_tokens());
        let mut json = String::with_capacity(256);
        // Writing to a String cannot fail.
        let _ = write!(
            json,
            "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},\"total_tokens\":{},\
             \"prompt_tokens_details\":{{\"cached_tokens\":{},\"cache_write_tokens\":{},\"audio_tokens\":{},\
             \"image_tokens\":{}}},\"completion_tokens_details\":{{\"reasoning_tokens\":{},\"audio_tokens\":{}}}}}",
            prompt.saturating_add(completion),
            self.cache_read,
            self.cache_write_5m.saturating_add(self.cache_write_1h),
            self.audio_in,
            self.image_in,
            self.output_reasoning,
            self.audio_out,
        );
        json
    }
}

/// The counts as the upstream wrote them.
#[derive(Debug, Default)]
struct Reported {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cache_hit: u64,
    prompt_details: Details,
    completion_details: Details,
}

/// Either of the two details objects; they share names but not members.
#[derive(Debug, Default)]
struct Details {
    cached: u64,
    cache_write: u64,
    audio: u64,
    image: u64,
    reasoning: u64,
}

impl Reported {
    fn split(&self) -> Option<Usage> {
        let (prompt, completion) = self.sides()?;
        let mut left = prompt;
        let cache_read = take(&mut left, self.prompt_details.cached.max(self.cache_hit));
        let cache_write_5m = take(&mut left, self.prompt_details.cache_write);
        let audio_in = take(&mut left, self.prompt_details.audio);
        let image_in = take(&mut left, self.prompt_details.image);
        let mut text = completion;
        let output_reasoning = take(&mut text, self.completion_details.reasoning);
        let audio_out = take(&mut text, self.completion_details.audio);
        Some(Usage {
            input_fresh: left,
            cache_read,
            cache_write_5m,
            output_text: text,
            output_reasoning,
            audio_in,
            audio_out,
            image_in,
            ..Usage::default()
        })
    }

    /// Prompt and completion in OpenAI's sense, from whatever of the three counts is there.
    fn sides(&self) -> Option<(u64, u64)> {
        let (prompt, completion) = match (self.prompt, self.completion, self.total) {
            (None, None, None) => return None,
            (Some(prompt), Some(completion), _) => (prompt, completion),
            (Some(prompt), None, total) => (prompt, total.unwrap_or(prompt).saturating_sub(prompt)),
            (None, completion, total) => {
                let completion = completion.unwrap_or(0);
                (total.unwrap_or(completion).saturating_sub(completion), completion)
            }
        };
        let reasoning = self.completion_details.reasoning;
        let with_reasoning = completion.saturating_add(reasoning);
        let counted_beside = reasoning > 0 && self.total == Some(prompt.saturating_add(with_reasoning));
        Some((prompt, if counted_beside { with_reasoning } else { completion }))
    }
}

impl<'de> FromJson<'de> for Reported {
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut out = Self::default();
        while let Some(key) = members.next_key::<UsageKey>()? {
            match key {
                UsageKey::PromptTokens | UsageKey::InputTokens => out.prompt = count(&mut members)?.or(out.prompt),
                UsageKey::CompletionTokens | UsageKey::OutputTokens => {
                    out.completion = count(&mut members)?.or(out.completion);
                }
                UsageKey::TotalTokens => out.total = count(&mut members)?,
                UsageKey::PromptCacheHitTokens => out.cache_hit = count(&mut members)?.unwrap_or(0),
                UsageKey::PromptTokensDetails | UsageKey::InputTokensDetails => {
                    out.prompt_details = members.next_value::<Any<_>>()?.0;
                }
                UsageKey::CompletionTokensDetails | UsageKey::OutputTokensDetails => {
                    out.completion_details = members.next_value::<Any<_>>()?.0;
                }
                UsageKey::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(out)
    }
}

impl<'de> FromJson<'de> for Details {
    fn from_object<A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        let mut out = Self::default();
        while let Some(key) = members.next_key::<DetailKey>()? {
            let value = count(&mut members)?.unwrap_or(0);
            match key {
                DetailKey::CachedTokens => out.cached = value,
                DetailKey::CacheWriteTokens => out.cache_write = value,
                DetailKey::AudioTokens => out.audio = value,
                DetailKey::ImageTokens => out.image = value,
                DetailKey::ReasoningTokens => out.reasoning = value,
                DetailKey::Other => {}
            }
        }
        Ok(out)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum UsageKey {
    PromptTokens,
    InputTokens,
    CompletionTokens,
    OutputTokens,
    TotalTokens,
    PromptCacheHitTokens,
    PromptTokensDetails,
    InputTokensDetails,
    CompletionTokensDetails,
    OutputTokensDetails,
    #[serde(other)]
    Other,
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum DetailKey {
    CachedTokens,
    CacheWriteTokens,
    AudioTokens,
    ImageTokens,
    ReasoningTokens,
    #[serde(other)]
    Other,
}

/// The next value as a count. Read from its text, because a number beyond f64 is an error to a JSON reader but not to us.
fn count<'de, A: MapAccess<'de>>(members: &mut A) -> Result<Option<u64>, A::Error> {
    Ok(clamped(members.next_value::<&'de RawValue>()?.get()))
}

pub(crate) fn clamped(text: &str) -> Option<u64> {
    let number = text.trim_matches('"');
    if let Ok(count) = number.parse::<u64>() {
        return Some(count.min(MAX_TOKENS));
    }
    let number: f64 = number.parse().ok()?;
    // The cast saturates: NaN and everything negative become 0.
    Some((number as u64).min(MAX_TOKENS))
}

pub(crate) fn take(left: &mut u64, wanted: u64) -> u64 {
    let taken = wanted.min(*left);
    *left -= taken;
    taken
}

fn sum(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |total, part| total.saturating_add(*part))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Option<Usage> {
        Usage::from_openai(serde_json::from_str::<&RawValue>(json).unwrap())
    }

    #[test]
    fn the_documented_shape_falls_into_disjoint_buckets() {
        let usage = read(
            r#"{"prompt_tokens":1000,"completion_tokens":50,"total_tokens":1050,
                "prompt_tokens_details":{"cached_tokens":600,"cache_write_tokens":100,"audio_tokens":20,"image_tokens":30},
                "completion_tokens_details":{"reasoning_tokens":20,"audio_tokens":5,"accepted_prediction_tokens":0}}"#,
        );

        let expected = Usage {
            input_fresh: 250,
            cache_read: 600,
            cache_write_5m: 100,
            output_text: 25,
            output_reasoning: 20,
            audio_in: 20,
            audio_out: 5,
            image_in: 30,
            ..Usage::default()
        };
        assert_eq!(usage, Some(expected));
    }

    #[rstest::rstest]
    #[case::deepseek(
        r#"{"prompt_tokens":10,"completion_tokens":4,"prompt_cache_hit_tokens":6,"prompt_cache_miss_tokens":4}"#,
        4,
        6,
        4,
        0
    )]
    #[case::nulls(
        r#"{"prompt_tokens":10,"completion_tokens":null,"total_tokens":null,"prompt_tokens_details":null}"#,
        10,
        0,
        0,
        0
    )]
    #[case::null_inside(
        r#"{"prompt_tokens":3,"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":null}}"#,
        3,
        0,
        4,
        0
    )]
    #[case::only_total(r#"{"total_tokens":7}"#, 7, 0, 0, 0)]
    #[case::total_and_prompt(r#"{"prompt_tokens":5,"total_tokens":7}"#, 5, 0, 2, 0)]
    #[case::other_names(r#"{"input_tokens":5,"output_tokens":7}"#, 5, 0, 7, 0)]
    #[case::reasoning_beside(r#"{"prompt_tokens":5,"completion_tokens":7,"total_tokens":42,"completion_tokens_details":{"reasoning_tokens":30}}"#, 5, 0, 7, 30)]
    #[case::reasoning_inside(r#"{"prompt_tokens":5,"completion_tokens":37,"total_tokens":42,"completion_tokens_details":{"reasoning_tokens":30}}"#, 5, 0, 7, 30)]
    #[case::negative(r#"{"prompt_tokens":-5,"completion_tokens":7}"#, 0, 0, 7, 0)]
    #[case::two_to_63(
        r#"{"prompt_tokens":9223372036854775808,"completion_tokens":1e400}"#,
        MAX_TOKENS,
        0,
        MAX_TOKENS,
        0
    )]
    #[case::texts(r#"{"prompt_tokens":"12","completion_tokens":"NaN"}"#, 12, 0, 0, 0)]
    #[case::fraction(r#"{"prompt_tokens":12.0,"completion_tokens":1.9}"#, 12, 0, 1, 0)]
    #[case::more_cached_than_sent(
        r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":9}}"#,
        0,
        5,
        1,
        0
    )]
    #[case::odd_details(
        r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":[],"completion_tokens_details":"x"}"#,
        5,
        0,
        1,
        0
    )]
    fn sloppy_counts_are_read(
        #[case] json: &str,
        #[case] fresh: u64,
        #[case] cached: u64,
        #[case] text: u64,
        #[case] reasoning: u64,
    ) {
        let usage = read(json).unwrap();

        let got = (usage.input_fresh, usage.cache_read, usage.output_text, usage.output_reasoning);
        assert_eq!(got, (fresh, cached, text, reasoning));
        assert!(!usage.estimated);
    }

    #[rstest::rstest]
    #[case("null")]
    #[case("{}")]
    #[case("[]")]
    #[case("7")]
    #[case(r#"{"prompt_tokens":null}"#)]
    #[case(r#"{"prompt_tokens":{}}"#)]
    fn an_object_without_counts_is_no_usage(#[case] json: &str) {
        assert_eq!(read(json), None);
    }

    #[test]
    fn an_estimate_says_so_and_rounds_up() {
        let usage = Usage::estimate(9, 1);

        assert_eq!((usage.input_fresh, usage.output_text, usage.estimated), (3, 1, true));
        assert_eq!(Usage::estimate(u64::MAX, 0).input_fresh, MAX_TOKENS);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn the_buckets_sum_to_what_was_reported(
            prompt in 0..MAX_TOKENS, completion in 0..MAX_TOKENS,
            cached in any::<u64>(), write in any::<u64>(), reasoning in any::<u64>(), audio in any::<u64>(),
        ) {
            let json = format!(
                "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},\"prompt_tokens_details\":\
                 {{\"cached_tokens\":{cached},\"cache_write_tokens\":{write},\"audio_tokens\":{audio}}},\
                 \"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning}}}}}");

            let usage = read(&json).unwrap();

            prop_assert_eq!((usage.prompt_tokens(), usage.completion_tokens()), (prompt, completion));
            prop_assert_eq!(read(&usage.to_openai()), Some(usage));
        }

        #[test]
        fn any_number_at_all_stays_within_bounds(number in "-?[0-9]{1,30}(\\.[0-9]{1,3})?(e[0-9]{1,3})?") {
            prop_assert!(clamped(&number).is_none_or(|count| count <= MAX_TOKENS));
        }
    }
}
