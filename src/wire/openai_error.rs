//! Errors in OpenAI's shape: reading whatever an upstream sends instead of an answer, and writing our own.
//!
//! The inner text of an upstream is shown to clients only after [`redact`]: providers like to quote the key they refused.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

/// A comment that keeps a stream open; the one keep-alive that every OpenAI client tolerates.
pub const HEARTBEAT: &str = ": ka\n\n";

/// The most characters of an upstream message that are kept.
pub const MAX_MESSAGE_CHARS: usize = 2_000;

const MAX_LABEL_CHARS: usize = 200;
const REDACTED: &str = "[redacted]";
const KEY_PREFIXES: [&str; 6] = ["sk-", "sk_", "gsk_", "xai-", "AIza", "pplx-"];

/// What an upstream said went wrong, whatever shape it said it in.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct UpstreamErrorBody {
    /// Its words, without control characters, at most [`MAX_MESSAGE_CHARS`] of them.
    pub message: String,
    /// Its `type`, or Google's `status`.
    pub kind: Option<String>,
    /// Its `code`; numbers as text.
    pub code: Option<String>,
    /// The request field it blames.
    pub param: Option<String>,
}

impl UpstreamErrorBody {
    /// Reads any error body. There is always an answer; an empty body gives an empty message.
    pub fn parse(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let text = text.trim().trim_start_matches('\u{feff}');
        match serde_json::from_str::<Value>(text) {
            Ok(json) => Self::from_json(&json).unwrap_or_else(|| Self::plain(text)),
            Err(_) if text.starts_with('<') => Self::plain(html_title(text).unwrap_or("an HTML page")),
            Err(_) => Self::plain(text),
        }
    }

    /// The error in a JSON value, if one of the known shapes is there.
    pub fn from_json(json: &Value) -> Option<Self> {
        match json {
            Value::Array(items) => items.iter().find_map(Self::from_json),
            Value::Object(members) => match members.get("error") {
                None if members.contains_key("base_resp") => {
                    members.get("base_resp").and_then(crate::minimax::error_of).or_else(|| Self::from_object(json))
                }
                Some(Value::Object(_)) => json.get("error").and_then(Self::from_object),
                Some(Value::String(text)) if !text.is_empty() => {
                    Some(Self { message: clean(text, MAX_MESSAGE_CHARS), ..Self::labels(json) })
                }
                _ => Self::from_object(json),
            },
            _ => None,
        }
    }

    fn from_object(object: &Value) -> Option<Self> {
        let words = ["message", "detail", "msg", "error_description", "error_message", "title"];
        let message = words.iter().find_map(|name| object.get(name)).filter(|value| !value.is_null());
        let labels = Self::labels(object);
        match message {
            Some(value) => Some(Self { message: clean(&words_of(value), MAX_MESSAGE_CHARS), ..labels }),
            None if labels.code.is_some() || labels.kind.as_deref().is_some_and(|kind| kind.contains("error")) => {
                Some(Self { message: clean(&object.to_string(), MAX_MESSAGE_CHARS), ..labels })
            }
            None => None,
        }
    }

    fn labels(object: &Value) -> Self {
        let label = |name: &str| match object.get(name)? {
            Value::String(text) if !text.is_empty() => Some(clean(text, MAX_LABEL_CHARS)),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        Self {
            message: String::new(),
            kind: label("type").or_else(|| label("status")),
            code: label("code"),
            param: label("param"),
        }
    }

    fn plain(text: &str) -> Self {
        Self { message: clean(text, MAX_MESSAGE_CHARS), ..Self::default() }
    }
}

/// An error for an OpenAI client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorBody {
    /// What happened, which limit, and what to do.
    pub message: String,
    /// The family, such as `invalid_request_error`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The request field to blame.
    pub param: Option<String>,
    /// The stable name of the error.
    pub code: Option<Cow<'static, str>>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a ErrorBody,
}

impl ErrorBody {
    /// The body of a JSON answer.
    pub fn to_json(&self) -> Bytes {
        self.framed("", "")
    }

    /// One event of a stream; the stream is closed after it, without `[DONE]`.
    pub fn to_sse(&self) -> Bytes {
        self.framed("data: ", "\n\n")
    }

    fn framed(&self, before: &str, after: &str) -> Bytes {
        let mut out = Vec::with_capacity(self.message.len().saturating_add(128));
        out.extend_from_slice(before.as_bytes());
        // Strings and nulls into memory: neither the shape nor the writer can fail.
        let _ = serde_json::to_writer(&mut out, &Envelope { error: self });
        out.extend_from_slice(after.as_bytes());
        Bytes::from(out)
    }
}

/// A message without the given secrets and without anything that looks like a bearer token.
pub fn redact(message: &str, secrets: &[&str]) -> String {
    let mut secrets: Vec<&str> = secrets.iter().copied().filter(|secret| !secret.is_empty()).collect();
    // Longest first: a secret that begins like another must not leave its own end behind.
    secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    let known = secrets.iter().fold(message.to_owned(), |text, secret| text.replace(secret, REDACTED));
    redact_bearers(&redact_prefixed(&known))
}

/// Replaces words that begin like a provider key (`sk-…`), however they are quoted.
fn redact_prefixed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(next) = rest.chars().next() {
        let starts_word = !before.is_alphanumeric() && before != '_' && before != '-';
        let like_key = starts_word && KEY_PREFIXES.iter().any(|prefix| rest.starts_with(prefix));
        let length = if like_key { token_len(rest) } else { 0 };
        let is_key = length >= 8;
        let step = if is_key { length } else { next.len_utf8() };
        let (taken, left) = rest.split_at(step);
        out.push_str(if is_key { REDACTED } else { taken });
        before = taken.chars().next_back().unwrap_or(' ');
        rest = left;
    }
    out
}

/// Replaces what follows the word `Bearer`, unless it is plainly a word of a sentence.
fn redact_bearers(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, word) in lower.match_indices("bearer") {
        let after = at.saturating_add(word.len());
        let Some(rest) = text.get(after..) else { continue };
        let gap = rest.len().saturating_sub(rest.trim_start_matches([' ', '\t', ':', '=', '"', '\'']).len());
        let length = token_len(rest.get(gap..).unwrap_or_default());
        let token = rest.get(gap..gap.saturating_add(length)).unwrap_or_default();
        let looks_secret = length >= 20 || (length >= 3 && token.contains(|c: char| c.is_ascii_digit()));
        if gap == 0 || at < copied || !looks_secret {
            continue;
        }
        out.push_str(text.get(copied..after.saturating_add(gap)).unwrap_or_default());
        out.push_str(REDACTED);
        copied = after.saturating_add(gap).saturating_add(length);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// How long the token at the start of `text` is. Asterisks belong to it: providers mask the middle of a key only.
fn token_len(text: &str) -> usize {
    let belongs = |c: char| c.is_ascii_alphanumeric() || "-_.*~+/=".contains(c);
    let token = text.get(..text.find(|c| !belongs(c)).unwrap_or(text.len())).unwrap_or_default();
    token.trim_end_matches('.').len()
}

fn words_of(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        // FastAPI lists its complaints as [{"msg": ..}], others nest {"message": ..} once more.
        Value::Array(items) => items.first().map_or(Cow::Borrowed(""), words_of),
        Value::Object(members) => match members.get("message").or_else(|| members.get("msg")) {
            Some(Value::String(text)) => Cow::Borrowed(text),
            _ => Cow::Owned(value.to_string()),
        },
        other => Cow::Owned(other.to_string()),
    }
}

fn html_title(page: &str) -> Option<&str> {
    let lower = page.to_ascii_lowercase();
    let open = lower.find("<title")?;
    let start = open.saturating_add(lower.get(open..)?.find('>')?).saturating_add(1);
    let end = start.saturating_add(lower.get(start..)?.find("</title")?);
    page.get(start..end).map(str::trim).filter(|title| !title.is_empty())
}

fn clean(text: &str, max_chars: usize) -> String {
    let printable = text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c });
    printable.filter(|c| !c.is_control()).take(max_chars).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(body: &str) -> (String, Option<String>, Option<String>) {
        let error = UpstreamErrorBody::parse(body.as_bytes());
        (error.message, error.kind, error.code)
    }

    #[rstest::rstest]
    #[case::openai(
        r#"{"error":{"message":"no","type":"t_error","param":"n","code":"c"}}"#,
        "no",
        Some("t_error"),
        Some("c")
    )]
    #[case::plain_text_error(r#"{"error":"no"}"#, "no", None, None)]
    #[case::text_and_code(r#"{"error":"no","code":7}"#, "no", None, Some("7"))]
    #[case::flat(r#"{"message":"no","code":1302}"#, "no", None, Some("1302"))]
    #[case::anthropic(
        r#"{"type":"error","error":{"type":"overloaded_error","message":"no"}}"#,
        "no",
        Some("overloaded_error"),
        None
    )]
    #[case::gemini(
        r#"[{"error":{"code":429,"message":"no","status":"RESOURCE_EXHAUSTED"}}]"#,
        "no",
        Some("RESOURCE_EXHAUSTED"),
        Some("429")
    )]
    #[case::detail(r#"{"detail":"no"}"#, "no", None, None)]
    #[case::detail_list(r#"{"detail":[{"loc":["body"],"msg":"no"}]}"#, "no", None, None)]
    #[case::detail_object(r#"{"detail":{"message":"no"}}"#, "no", None, None)]
    #[case::null_error(r#"{"error":null,"message":"no"}"#, "no", None, None)]
    #[case::only_a_code(r#"{"error":{"code":"busy"}}"#, r#"{"code":"busy"}"#, None, Some("busy"))]
    #[case::text("  upstream\tconnect\nerror ", "upstream connect error", None, None)]
    #[case::html(
        "<!doctype html><html><head><TITLE lang=x> 502 Bad Gateway </TITLE></head></html>",
        "502 Bad Gateway",
        None,
        None
    )]
    #[case::html_without_title("<html>secret</html>", "an HTML page", None, None)]
    #[case::unknown_json(r#"{"foo":1}"#, r#"{"foo":1}"#, None, None)]
    #[case::cut_json(r#"{"error":{"mess"#, r#"{"error":{"mess"#, None, None)]
    #[case::empty("", "", None, None)]
    fn every_known_error_shape_is_read(
        #[case] body: &str,
        #[case] message: &str,
        #[case] kind: Option<&str>,
        #[case] code: Option<&str>,
    ) {
        assert_eq!(told(body), (message.into(), kind.map(Into::into), code.map(Into::into)));
    }

    #[test]
    fn messages_are_capped_and_lose_control_characters() {
        let body = format!("{{\"error\":{{\"message\":\"a\\u0000b\\u001bc{}\"}}}}", "ä".repeat(5_000));

        let message = told(&body).0;

        assert!(message.starts_with("abcä"));
        assert_eq!(message.chars().count(), MAX_MESSAGE_CHARS);
    }

    #[test]
    fn an_error_is_written_as_json_and_as_one_event() {
        let error = ErrorBody {
            message: "say \"x\"\nagain".into(),
            kind: "server_error".into(),
            param: None,
            code: Some("stream_cut".into()),
        };
        let json = r#"{"error":{"message":"say \"x\"\nagain","type":"server_error","param":null,"code":"stream_cut"}}"#;

        assert_eq!(error.to_json(), json);
        assert_eq!(error.to_sse(), format!("data: {json}\n\n"));
    }

    #[rstest::rstest]
    #[case("Incorrect API key provided: sk-abc***xyz. Go away.", "Incorrect API key provided: [redacted]. Go away.")]
    #[case("key 'sk-proj-abcdefgh' is bad", "key '[redacted]' is bad")]
    #[case("Authorization: Bearer abc123.def", "Authorization: Bearer [redacted]")]
    #[case("\"authorization\":\"bearer 0a1b2c3d\"", "\"authorization\":\"bearer [redacted]\"")]
    #[case("?key=AIzaSyA1234567&x", "?key=[redacted]&x")]
    #[case("the task-force asked for a Bearer token", "the task-force asked for a Bearer token")]
    #[case("known s3cr and s3cr-longer", "known [redacted] and [redacted]")]
    #[case("ſk-… bearer", "ſk-… bearer")]
    fn secrets_and_bearers_are_removed(#[case] message: &str, #[case] expected: &str) {
        assert_eq!(redact(message, &["s3cr", "s3cr-longer", ""]), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_body_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let message = UpstreamErrorBody::parse(&body).message;

            prop_assert!(!message.contains(char::is_control));
        }

        #[test]
        fn a_given_secret_never_survives(before in "\\PC{0,20}", secret in "[a-zA-Z0-9]{6,20}", after in "\\PC{0,20}") {
            let out = redact(&format!("{before}{secret}{after}"), &[&secret]);

            prop_assert!(!out.contains(&secret));
        }
    }
}
