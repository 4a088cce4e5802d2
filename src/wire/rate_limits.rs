//! What a provider says about its own limits, in whatever dialect its headers speak.
//!
//! Known: OpenAI and those like it (Azure, Groq, Mistral, Together, xAI: `x-ratelimit-limit-requests`), Anthropic
//! (`anthropic-ratelimit-input-tokens-remaining`), Cerebras (`x-ratelimit-limit-requests-day`), Mistral's
//! `x-ratelimitbysize-remaining-minute`, OpenRouter and generic (`x-ratelimit-remaining`), and the IETF's
//! `RateLimit-Limit` as well as its `RateLimit: "name";r=1;t=2`. A header that cannot be read is passed over.

use std::time::Duration;

use memchr::memmem;

use super::retry_hint::{number, reset_in};

/// Counts beyond this are no counts.
const MOST: f64 = 1e15;
/// Reset plus what comes back meanwhile say how long a whole bucket takes; this is "about a minute".
const MINUTE: std::ops::RangeInclusive<f64> = 50.0..=70.0;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Requests.
    Requests,
    /// Tokens, both ways.
    Tokens,
    /// Tokens of the prompt.
    InputTokens,
    /// Tokens of the answer.
    OutputTokens,
    /// Requests of a day.
    RequestsPerDay,
    /// Tokens of a day.
    TokensPerDay,
}

const KINDS: usize = 6;

/// One limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limit {
    /// How much there is.
    pub limit: Option<u64>,
    /// How much is left.
    pub remaining: Option<u64>,
    /// How long until it is full again.
    pub reset: Option<Duration>,
    /// The header says that it is one of a minute.
    minute: bool,
}

impl Limit {
    /// Whether the limit is one of a minute: its header says so, or the pace at which it refills does.
    pub fn is_per_minute(&self) -> bool {
        self.minute || self.refills_in().is_some_and(|seconds| MINUTE.contains(&seconds))
    }

    /// How long a whole bucket takes to refill, if it refills evenly.
    fn refills_in(&self) -> Option<f64> {
        let (limit, remaining) = (self.limit?, self.remaining?);
        let used = limit.checked_sub(remaining).filter(|used| *used > 0)?;
        Some(self.reset?.as_secs_f64() * limit as f64 / used as f64)
    }
}

/// Everything an answer said.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RateLimits([Limit; KINDS]);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Limit,
    Remaining,
    Reset,
}

impl RateLimits {
    /// Read an answer's headers (lower-case names) at `now` in Unix milliseconds; `None` when they say nothing.
    pub fn read<'h>(headers: impl Iterator<Item = (&'h str, &'h str)>, now: i64) -> Option<Self> {
        let mut limits = Self::default();
        for (name, value) in headers {
            let Some(at) = memmem::find(name.as_bytes(), b"ratelimit") else { continue };
            limits.take(name, name.get(at + "ratelimit".len()..).unwrap_or_default(), value.trim(), now);
        }
        limits.0.iter().any(|limit| *limit != Limit::default()).then_some(limits)
    }

    /// What was said, by kind.
    pub fn iter(&self) -> impl Iterator<Item = (Counted, &Limit)> {
        use Counted as C;
        let kinds = [C::Requests, C::Tokens, C::InputTokens, C::OutputTokens, C::RequestsPerDay, C::TokensPerDay];
        kinds.into_iter().zip(&self.0).filter(|(_, limit)| **limit != Limit::default())
    }

    fn take(&mut self, name: &str, rest: &str, value: &str, now: i64) {
        // The policy names numbers that are no state; priority and unified limits have a shape of their own.
        if ["policy", "priority", "unified", "overage"].iter().any(|word| rest.contains(word)) {
            return;
        }
        if name == "ratelimit" {
            return self.take_fields(value);
        }
        let Some(part) = part(rest) else { return };
        let kind = kind(rest);
        let Some(limit) = self.0.get_mut(kind as usize) else { return };
        limit.minute |= rest.ends_with("-minute");
        limit.put(part, value, now);
    }

    /// `RateLimit: "default";r=50;t=30` of the newer drafts, `limit=100, remaining=50, reset=5` of an older one.
    fn take_fields(&mut self, value: &str) {
        let Some(limit) = self.0.first_mut() else { return };
        for field in value.split([';', ',']) {
            let Some((name, value)) = field.split_once('=') else { continue };
            let part = match name.trim() {
                "r" | "remaining" => Part::Remaining,
                "t" | "reset" => Part::Reset,
                "limit" | "q" => Part::Limit,
                _ => continue,
            };
            limit.put(part, value.trim(), i64::MAX);
        }
    }
}

impl Limit {
    /// The smaller of two that name the same, and the later reset: several windows may share a name.
    fn put(&mut self, part: Part, value: &str, now: i64) {
        match part {
            Part::Limit => self.limit = count(value).into_iter().chain(self.limit).min(),
            Part::Remaining => self.remaining = count(value).into_iter().chain(self.remaining).min(),
            Part::Reset => self.reset = reset_in(value, now).into_iter().chain(self.reset).max(),
        }
    }
}

fn part(rest: &str) -> Option<Part> {
    [("limit", Part::Limit), ("remaining", Part::Remaining), ("reset", Part::Reset)]
        .into_iter()
        .find_map(|(word, part)| rest.split('-').any(|piece| piece == word).then_some(part))
}

/// Bare names count requests, those by size count tokens.
fn kind(rest: &str) -> Counted {
    let has = |word: &str| rest.split('-').any(|piece| piece == word);
    let tokens = has("tokens") || rest.starts_with("bysize");
    match (tokens, has("day")) {
        (true, _) if has("input") || has("prompt") => Counted::InputTokens,
        (true, _) if has("output") || has("completion") || has("generated") => Counted::OutputTokens,
        (true, true) => Counted::TokensPerDay,
        (true, false) => Counted::Tokens,
        (false, true) => Counted::RequestsPerDay,
        (false, false) => Counted::Requests,
    }
}

/// A whole number, or the first of a list (`100, 100;w=60`); less than none is none.
fn count(value: &str) -> Option<u64> {
    let first = value.split([',', ';']).next()?.trim();
    let text = first.strip_prefix('-').map_or(first, |_| "0");
    // The cast cannot wrap: the range is checked before.
    number(text).filter(|count| *count <= MOST).map(|count| count as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_795_000_000_000;

    type Row = (Counted, Option<u64>, Option<u64>, Option<f64>, bool);

    fn read(headers: &[(&str, &str)]) -> Vec<Row> {
        let limits = RateLimits::read(headers.iter().copied(), NOW).unwrap_or_default();
        let row = |(kind, limit): (Counted, &Limit)| {
            (kind, limit.limit, limit.remaining, limit.reset.map(|reset| reset.as_secs_f64()), limit.is_per_minute())
        };
        limits.iter().map(row).collect()
    }

    #[test]
    fn openai_s_dialect_is_read_and_its_minute_recognised() {
        let read = read(&[
            ("x-ratelimit-limit-requests", "500"),
            ("x-ratelimit-remaining-requests", "499"),
            ("x-ratelimit-reset-requests", "120ms"),
            ("x-ratelimit-limit-tokens", "30000"),
            ("x-ratelimit-remaining-tokens", "15000"),
            ("x-ratelimit-reset-tokens", "30s"),
        ]);

        let requests = (Counted::Requests, Some(500), Some(499), Some(0.12), true);
        assert_eq!(read, [requests, (Counted::Tokens, Some(30_000), Some(15_000), Some(30.0), true)]);
    }

    #[test]
    fn groq_s_requests_of_a_day_are_no_pace() {
        let read = read(&[
            ("x-ratelimit-limit-requests", "14400"),
            ("x-ratelimit-remaining-requests", "14370"),
            ("x-ratelimit-reset-requests", "2m59.56s"),
        ]);

        assert_eq!(read, [(Counted::Requests, Some(14_400), Some(14_370), Some(179.56), false)]);
    }

    #[test]
    fn anthropic_s_dialect_is_read() {
        let read = read(&[
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2026-11-18T11:07:40Z"),
            ("anthropic-ratelimit-input-tokens-limit", "40000"),
            ("anthropic-ratelimit-input-tokens-remaining", "39000"),
            ("anthropic-ratelimit-output-tokens-remaining", "8000"),
            ("anthropic-ratelimit-unified-status", "allowed"),
            ("anthropic-priority-input-tokens-limit", "1"),
        ]);

        let requests = (Counted::Requests, Some(50), Some(0), Some(60.0), true);
        let input = (Counted::InputTokens, Some(40_000), Some(39_000), None, false);
        assert_eq!(read, [requests, input, (Counted::OutputTokens, None, Some(8_000), None, false)]);
    }

    #[test]
    fn a_day_and_a_minute_of_cerebras_are_two_limits() {
        let read = read(&[
            ("x-ratelimit-limit-requests-day", "14400"),
            ("x-ratelimit-limit-tokens-minute", "60000"),
            ("x-ratelimit-remaining-requests-day", "14399"),
            ("x-ratelimit-remaining-tokens-minute", "59000"),
            ("x-ratelimit-reset-requests-day", "33011.382867"),
            ("x-ratelimit-reset-tokens-minute", "11.382867"),
        ]);

        assert_eq!(read[0], (Counted::Tokens, Some(60_000), Some(59_000), Some(11.383), true));
        assert_eq!(read[1].0, Counted::RequestsPerDay);
        assert_eq!((read[1].1, read[1].2, read[1].4), (Some(14_400), Some(14_399), false));
    }

    #[rstest::rstest]
    #[case::openrouter(&[("x-ratelimit-limit", "20"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795000060000")])]
    #[case::draft_3(&[("ratelimit-limit", "20, 20;w=60"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "60")])]
    #[case::draft_6(&[("ratelimit", "limit=20, remaining=0, reset=60"), ("ratelimit-policy", "5;w=1")])]
    #[case::draft_8(&[("ratelimit", "\"default\";q=20;r=0;t=60")])]
    #[case::unix_seconds(&[("x-ratelimit-limit", "20"), ("x-ratelimit-remaining", "-3"), ("x-ratelimit-reset", "1795000060")])]
    fn generic_headers_count_requests(#[case] headers: &[(&str, &str)]) {
        assert_eq!(read(headers), [(Counted::Requests, Some(20), Some(0), Some(60.0), true)]);
    }

    #[test]
    fn mistral_s_limit_by_size_counts_tokens() {
        let read = read(&[
            ("x-ratelimitbysize-limit-minute", "500000"),
            ("x-ratelimitbysize-remaining-minute", "499000"),
            ("ratelimitbysize-reset", "41"),
        ]);

        assert_eq!(read, [(Counted::Tokens, Some(500_000), Some(499_000), Some(41.0), true)]);
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        let nothing = [("x-ratelimit-limit-requests", "many"), ("x-ratelimit-foo", "1"), ("content-type", "x")];

        assert!(RateLimits::read(nothing.into_iter(), NOW).is_none());
    }

    proptest! {
        #[test]
        fn any_header_gives_bounded_numbers(name in "x-ratelimit(bysize)?(-(limit|remaining|reset|tokens|input|day|minute)){0,4}",
                                            value in "\\PC{0,20}|-?[0-9.]{1,30}[a-z]{0,2}|[a-z]=[0-9]{1,30};t=9", now in any::<i64>()) {
            for name in [name.as_str(), "ratelimit"] {
                if let Some(limits) = RateLimits::read([(name, value.as_str())].into_iter(), now) {
                    for (_, limit) in limits.iter() {
                        prop_assert!(limit.limit.is_none_or(|count| count as f64 <= MOST));
                        prop_assert!(limit.reset.is_none_or(|reset| reset <= super::super::retry_hint::MAX_HINT));
                        let _ = limit.is_per_minute();
                    }
                }
            }
        }
    }
}
