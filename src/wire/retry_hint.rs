//! How long an upstream asked us to wait, in whatever dialect it said so.
//!
//! Exact sources come first: `retry-after-ms`, `Retry-After`, Google's `RetryInfo`; then rate-limit reset headers; the words of the
//! message are the last resort. A source that cannot be read is passed over, never an error. Whoever uses a hint still caps it.

use std::time::Duration;

use jiff::{Timestamp, civil, fmt::rfc2822, tz::TimeZone};
use serde_json::Value;

/// No hint is longer; what is longer is an outage for the operator, not a wait.
pub const MAX_HINT: Duration = Duration::from_secs(31 * 24 * 3600);

const RESETS: [&str; 5] = [
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-reset",
    "ratelimit-reset",
    "anthropic-ratelimit-unified-reset",
];
const PHRASES: [&str; 6] =
    ["try again in ", "retry in ", "reset after ", "retry after ", "resets in ", "available again in "];

/// A body is searched for hints up to here.
const MAX_BODY: usize = 64 * 1024;

/// A wait the upstream asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryHint {
    /// How long from now; zero for at once.
    pub after: Duration,
    /// Where it was found.
    pub source: HintSource,
}

/// Where a hint was found, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HintSource {
    /// `retry-after-ms`.
    RetryAfterMs,
    /// `Retry-After`.
    RetryAfter,
    /// `google.rpc.RetryInfo` in the body.
    RetryInfo,
    /// A rate-limit reset header.
    RateLimitReset,
    /// The words of the message.
    Text,
}

impl RetryHint {
    /// Looks for a hint in an answer's headers (`header` gives a value by lower-case name) and body at `now` in Unix milliseconds.
    pub fn find<'h>(header: impl Fn(&str) -> Option<&'h str>, body: &[u8], now: i64) -> Option<Self> {
        let retry_after_ms = || header("retry-after-ms").and_then(number).and_then(millis);
        let retry_after = || header("retry-after").and_then(|value| retry_after(value.trim(), now));
        let hint = |source| move |after: Duration| Self { after: after.min(MAX_HINT), source };
        let (json, text) = read_body(body);
        retry_after_ms()
            .map(hint(HintSource::RetryAfterMs))
            .or_else(|| retry_after().map(hint(HintSource::RetryAfter)))
            .or_else(|| retry_info(&json).map(hint(HintSource::RetryInfo)))
            .or_else(|| rate_limit_reset(&header, now).map(hint(HintSource::RateLimitReset)))
            .or_else(|| words(&text).map(hint(HintSource::Text)))
    }
}

/// Seconds, a date, or by mistake a point in time as Unix seconds.
fn retry_after(value: &str, now: i64) -> Option<Duration> {
    let Some(seconds) = number(value) else { return date(value, now).or_else(|| span(value)) };
    let now_seconds = now as f64 / 1000.0;
    let a_point_in_time = (now_seconds - 86_400.0..now_seconds + 365.0 * 86_400.0).contains(&seconds);
    if a_point_in_time && seconds > MAX_HINT.as_secs_f64() {
        return Some(until((seconds * 1000.0) as i64, now));
    }
    millis(seconds * 1000.0)
}

/// The longest of the resets, of exhausted buckets only when the headers tell which are.
fn rate_limit_reset<'h>(header: &impl Fn(&str) -> Option<&'h str>, now: i64) -> Option<Duration> {
    let exhausted = |reset: &&str| {
        let remaining = header(&reset.replace("reset", "remaining"));
        remaining.and_then(number).is_some_and(|left| left <= 0.0)
    };
    let longest =
        |names: &mut dyn Iterator<Item = &str>| names.filter_map(|name| reset_in(header(name)?.trim(), now)).max();
    longest(&mut RESETS.into_iter().filter(exhausted)).or_else(|| longest(&mut RESETS.into_iter()))
}

/// Unix seconds or milliseconds, seconds from now, a span such as `1m30s`, or a date.
pub(crate) fn reset_in(value: &str, now: i64) -> Option<Duration> {
    let capped = |wait: Duration| wait.min(MAX_HINT);
    match number(value) {
        Some(ms) if ms >= 1e12 => Some(capped(until(ms as i64, now))),
        Some(seconds) if seconds >= 1e9 => Some(capped(until((seconds * 1000.0) as i64, now))),
        Some(seconds) => millis(seconds * 1000.0),
        None => span(value).or_else(|| date(value, now)).map(capped),
    }
}

/// `error.details[].retryDelay`, wherever `error` stands.
fn retry_info(json: &Value) -> Option<Duration> {
    if let Value::Array(items) = json {
        return items.iter().find_map(retry_info);
    }
    let details = json.pointer("/error/details").or_else(|| json.get("details"))?.as_array()?;
    details.iter().find_map(|detail| span(detail.get("retryDelay")?.as_str()?))
}

fn words(text: &str) -> Option<Duration> {
    let lower = text.to_ascii_lowercase();
    PHRASES.iter().find_map(|phrase| {
        let start = lower.find(phrase)?.saturating_add(phrase.len());
        span_prefix(lower.get(start..)?)
    })
}

fn read_body(body: &[u8]) -> (Value, String) {
    let body = body.get(..MAX_BODY).unwrap_or(body);
    (serde_json::from_slice(body).unwrap_or_default(), String::from_utf8_lossy(body).into_owned())
}

/// A date as HTTP (all three forms) or ISO 8601 writes it; the past is zero.
fn date(value: &str, now: i64) -> Option<Duration> {
    let of_form = |form: &str| {
        let civil: civil::DateTime = jiff::fmt::strtime::parse(form, value).ok()?.to_datetime().ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let at = rfc2822::DateTimeParser::new()
        .parse_timestamp(value)
        .ok()
        .or_else(|| value.parse::<Timestamp>().ok())
        .or_else(|| of_form("%A, %d-%b-%y %H:%M:%S GMT"))
        .or_else(|| of_form("%a %b %e %H:%M:%S %Y"))?;
    Some(until(at.as_millisecond(), now))
}

fn until(at: i64, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(at.saturating_sub(now)).unwrap_or(0))
}

/// A whole text that is a span.
fn span(text: &str) -> Option<Duration> {
    let (length, rest) = read_span(text.trim())?;
    rest.trim().is_empty().then_some(length)
}

/// A span at the start of a sentence.
fn span_prefix(text: &str) -> Option<Duration> {
    read_span(text.trim_start()).map(|(length, _)| length)
}

/// Numbers with units, such as `1h2m3.5s` or `2 minutes`, up to the first thing that is neither.
fn read_span(text: &str) -> Option<(Duration, &str)> {
    let mut total: Option<f64> = None;
    let mut rest = text;
    while let Some((ms, after)) = read_piece(rest) {
        total = Some(total.unwrap_or(0.0) + ms);
        rest = after;
    }
    Some((millis(total?)?, rest))
}

fn read_piece(text: &str) -> Option<(f64, &str)> {
    let text = text.trim_start();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(digits)?;
    let value = number(value.trim_end_matches('.'))?;
    let rest = rest.trim_start();
    let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at_checked(letters)?;
    Some((value * unit_ms(unit)?, rest))
}

fn unit_ms(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-6,
        "us" | "µs" | "μs" => 1e-3,
        "ms" | "millisecond" | "milliseconds" => 1.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1e3,
        "m" | "min" | "mins" | "minute" | "minutes" => 60e3,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600e3,
        "d" | "day" | "days" => 86_400e3,
        _ => return None,
    })
}

/// A plain number; words that Rust would also read as numbers (`inf`, `nan`) are none.
pub(crate) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(['e', 'E']);
    text.parse().ok().filter(|_| plain)
}

/// Rounded up, so that the retry does not come a moment too early.
fn millis(ms: f64) -> Option<Duration> {
    // The cast saturates; the result is capped.
    (ms >= 0.0).then(|| Duration::from_millis(ms.ceil() as u64).min(MAX_HINT))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: i64 = 784_111_777_000;
    const LATE: i64 = 1_795_000_000_000;

    fn find(headers: &[(&str, &str)], body: &str, now: i64) -> Option<(f64, HintSource)> {
        let header = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        RetryHint::find(header, body.as_bytes(), now).map(|hint| (hint.after.as_secs_f64(), hint.source))
    }

    #[rstest::rstest]
    #[case::seconds("30", Some(30.0))]
    #[case::fraction("2.5", Some(2.5))]
    #[case::at_once("0", Some(0.0))]
    #[case::spaces(" 7 ", Some(7.0))]
    #[case::huge("1000000000", Some(2_678_400.0))]
    #[case::astronomic("99999999999999999999999999", Some(2_678_400.0))]
    #[case::date("Sun, 06 Nov 1994 08:50:37 GMT", Some(60.0))]
    #[case::past_date("Sun, 06 Nov 1994 08:40:00 GMT", Some(0.0))]
    #[case::old_date("Sunday, 06-Nov-94 08:50:37 GMT", Some(60.0))]
    #[case::older_date("Sun Nov  6 08:50:37 1994", Some(60.0))]
    #[case::iso_date("1994-11-06T08:50:37Z", Some(60.0))]
    #[case::span("1m30s", Some(90.0))]
    #[case::negative("-5", None)]
    #[case::garbage("soon", None)]
    #[case::infinite("inf", None)]
    #[case::not_a_number("NaN", None)]
    #[case::nothing("", None)]
    fn retry_after_is_read_in_every_form(#[case] value: &str, #[case] expected: Option<f64>) {
        let found = find(&[("retry-after", value)], "", NOW);

        assert_eq!(found, expected.map(|seconds| (seconds, HintSource::RetryAfter)));
    }

    #[test]
    fn a_retry_after_that_is_a_point_in_time_is_seen_as_one() {
        assert_eq!(find(&[("retry-after", "1795000030")], "", LATE), Some((30.0, HintSource::RetryAfter)));
    }

    #[rstest::rstest]
    #[case::unix_seconds("1795000090", 90.0)]
    #[case::unix_millis("1795000090500", 90.5)]
    #[case::past("1794999999", 0.0)]
    #[case::delta("12", 12.0)]
    #[case::span("1m30s", 90.0)]
    #[case::groq("2m59.56s", 179.56)]
    #[case::millis("6ms", 0.006)]
    #[case::micros("120µs", 0.001)]
    #[case::iso("2026-11-18T11:08:10Z", 90.0)]
    fn a_reset_header_is_read_in_every_dialect(#[case] value: &str, #[case] seconds: f64) {
        let found = find(&[("x-ratelimit-reset", value)], "", LATE);

        assert_eq!(found, Some((seconds, HintSource::RateLimitReset)));
    }

    #[test]
    fn the_reset_of_the_exhausted_bucket_counts() {
        let resets = [("x-ratelimit-reset-requests", "8h"), ("x-ratelimit-reset-tokens", "6s")];
        let known =
            [&resets[..], &[("x-ratelimit-remaining-requests", "9"), ("x-ratelimit-remaining-tokens", "0")]].concat();

        assert_eq!(find(&known, "", NOW), Some((6.0, HintSource::RateLimitReset)));
        assert_eq!(find(&resets, "", NOW), Some((28_800.0, HintSource::RateLimitReset)));
    }

    #[rstest::rstest]
    #[case::object(r#"{"error":{"details":[{"@type":"type.googleapis.com/google.rpc.Help"},{"retryDelay":"12s"}]}}"#)]
    #[case::array(
        r#"[{"error":{"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"12s"}]}}]"#
    )]
    fn google_s_retry_info_is_read(#[case] body: &str) {
        assert_eq!(find(&[], body, NOW), Some((12.0, HintSource::RetryInfo)));
    }

    #[rstest::rstest]
    #[case("[p/m] quota exceeded (reset after 1h2m3s)", Some(3_723.0))]
    #[case("Rate limit reached. Please try again in 2.5s. Visit", Some(2.5))]
    #[case("Please try again in 20ms.", Some(0.02))]
    #[case("Please retry in 2 minutes 5 seconds, thanks", Some(125.0))]
    #[case("Retry after 7 seconds", Some(7.0))]
    #[case("try again in a moment", None)]
    #[case("try again in 5 apples", None)]
    #[case("", None)]
    fn the_words_of_a_message_are_the_last_resort(#[case] body: &str, #[case] seconds: Option<f64>) {
        assert_eq!(find(&[], body, NOW), seconds.map(|seconds| (seconds, HintSource::Text)));
    }

    #[test]
    fn the_exact_source_wins_and_a_broken_one_is_passed_over() {
        let body = r#"{"error":{"message":"try again in 9s","details":[{"retryDelay":"8s"}]}}"#;
        let all = [("retry-after-ms", "1500"), ("retry-after", "3"), ("x-ratelimit-reset", "4")];

        assert_eq!(find(&all, body, NOW), Some((1.5, HintSource::RetryAfterMs)));
        assert_eq!(find(&all[1..], body, NOW), Some((3.0, HintSource::RetryAfter)));
        assert_eq!(find(&all[2..], body, NOW), Some((8.0, HintSource::RetryInfo)));
        assert_eq!(find(&[("retry-after", "x"), all[2]], "", NOW), Some((4.0, HintSource::RateLimitReset)));
        assert_eq!(find(&[("retry-after-ms", "x")], body, NOW), Some((8.0, HintSource::RetryInfo)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_text_gives_a_bounded_hint_or_none(value in "\\PC{0,30}|[0-9.]{1,40}[a-zµ]{0,3}", now in any::<i64>()) {
            for name in ["retry-after", "retry-after-ms", "x-ratelimit-reset"] {
                let header = |key: &str| (key == name).then_some(value.as_str());
                let body = format!("try again in {value}");

                let hint = RetryHint::find(header, body.as_bytes(), now);

                prop_assert!(hint.is_none_or(|hint| hint.after <= MAX_HINT));
            }
        }
    }
}
