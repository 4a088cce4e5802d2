//! What the mock does with a request: a kind and its parameters, written as `status code=429 retry_after=2`.
//!
//! The same words work in a prompt (`[[fault:status code=429]]`), in the control interface and in Rust. An unknown word is an
//! error, so a misspelt fault cannot pass for a healthy answer.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde_json::Value;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The ways in which the mock can answer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[$doc])* $variant,)* }

        impl Kind {
            /// Every kind, in the order of this file.
            pub const ALL: &[Kind] = &[$(Kind::$variant,)*];

            /// The word that names it.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// A complete answer of `tokens` words (or `text`).
    Ok = "ok",
    /// A complete answer that calls the tool `get_weather`.
    ToolCall = "tool_call",
    /// A complete answer with reasoning before the text.
    Reasoning = "reasoning",
    /// An error status `code` with an OpenAI error body (or `body`), `retry_after`, `retry_after_ms`.
    Status = "status",
    /// Accepts the request and never answers.
    HangBeforeHead = "hang_before_head",
    /// Sends the head and nothing else.
    HangAfterHead = "hang_after_head",
    /// Sends `n` content chunks (half the body without stream), then nothing.
    StallAfter = "stall_after",
    /// Sends the answer byte by byte, `delay_ms` (default 1) apart; `part=head`, `body` or `all`.
    Dribble = "dribble",
    /// Resets the connection before any byte (a per-request stand-in for a refused connection).
    Refuse = "refuse",
    /// Resets the connection before any byte.
    Reset = "reset",
    /// Closes the connection in an orderly way before any byte.
    FinBeforeAnyByte = "fin_before_any_byte",
    /// Promises more bytes by Content-Length than it sends.
    CutContentLength = "cut_content_length",
    /// Ends a chunked answer by FIN after `n` content chunks, without the last chunk.
    CutChunked = "cut_chunked",
    /// Resets the connection after `n` content chunks.
    RstAfter = "rst_after",
    /// A clean chunked end without `finish_reason` and without `[DONE]`.
    NoEndMarker = "no_end_marker",
    /// `[DONE]` without any `finish_reason`.
    DoneWithoutFinish = "done_without_finish",
    /// `finish_reason` without `[DONE]`.
    FinishWithoutDone = "finish_without_done",
    /// Status 200 with an empty body.
    Empty200 = "empty_200",
    /// An event stream without an event.
    EmptySse = "empty_sse",
    /// Status 200 with a JSON error object.
    ErrorIn200 = "error_in_200",
    /// The first event of the stream is an error.
    ErrorEventFirst = "error_event_first",
    /// An error event after `n` content chunks, then a clean end.
    ErrorEventMid = "error_event_mid",
    /// A body that is cut-off JSON, well framed.
    InvalidJson = "invalid_json",
    /// Event `n` of the content is cut-off JSON; the rest is whole.
    InvalidJsonEvent = "invalid_json_event",
    /// A login page with status 200.
    Html200 = "html_200",
    /// A 302 to `location`.
    Redirect = "redirect",
    /// `n` interim 100 answers before a complete answer.
    Storm1xx = "storm_1xx",
    /// Comments for ever, `delay_ms` (default 10) apart.
    EndlessComments = "endless_comments",
    /// A body of `bytes` (default 1 GB).
    HugeBody = "huge_body",
    /// One event line of `bytes` (default 20 MB).
    HugeLine = "huge_line",
    /// A gzip body that grows to `bytes` (default 64 MB), whatever encoding was asked for.
    GzipBomb = "gzip_bomb",
    /// A complete answer with CRLF line ends.
    Crlf = "crlf",
    /// A complete answer in chunks of one byte.
    OneByteChunks = "one_byte_chunks",
    /// A complete answer behind a byte order mark.
    Bom = "bom",
    /// A complete answer whose characters are cut by chunk borders.
    SplitUtf8 = "split_utf8",
    /// A complete answer whose text holds bytes that are no UTF-8.
    InvalidUtf8 = "invalid_utf8",
    /// The role delta, then a clean end.
    RoleOnlyThenEof = "role_only_then_eof",
    /// A complete answer with `n` (default 5000) extra headers, or with one of `bytes`.
    HeaderBomb = "header_bomb",
    /// A complete answer under the wrong content type.
    WrongContentType = "wrong_content_type",
    /// One token of `bytes` (default 2 MB) in a complete answer.
    HugeToken = "huge_token",
}

/// A kind with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// The kind of answer.
    pub kind: Kind,
    /// How many content chunks (words) a complete answer has.
    pub tokens: usize,
    /// Pause between content chunks.
    pub delay_ms: Option<u64>,
    /// Pause before the head.
    pub first_delay_ms: u64,
    /// How many chunks, events, headers or interim answers; the kind says which.
    pub n: Option<usize>,
    /// How large; the kind says what.
    pub bytes: Option<u64>,
    /// The status of `status`.
    pub code: u16,
    /// `Retry-After`, verbatim.
    pub retry_after: Option<String>,
    /// `retry-after-ms`, verbatim.
    pub retry_after_ms: Option<String>,
    /// Error body, verbatim.
    pub body: Option<String>,
    /// The text of the answer; its words become the chunks.
    pub text: Option<String>,
    /// `error.type`.
    pub error_type: Option<String>,
    /// `error.code`.
    pub error_code: Option<String>,
    /// Where a redirect points.
    pub location: Option<String>,
    /// One more response header, as `name: value`.
    pub header: Option<String>,
    /// Which part `dribble` slows down: `head`, `body` or `all`.
    pub part: String,
    /// Whether usage is reported at all.
    pub usage: bool,
    /// The prompt tokens that the usage reports.
    pub prompt_tokens: u64,
    /// The share of requests in per cent that meet this behaviour; the others get a complete answer.
    pub share: u64,
    /// How long the requests meet this behaviour before they get complete answers for as long; 0 is always.
    pub phase_ms: u64,
    /// Send the whole stream in one write.
    pub coalesce: bool,
    spec: String,
}

impl Behaviour {
    /// A kind with its default parameters.
    pub fn new(kind: Kind) -> Self {
        let plain = Behaviour {
            kind,
            tokens: 64,
            delay_ms: None,
            first_delay_ms: 0,
            n: None,
            bytes: None,
            code: 500,
            retry_after: None,
            retry_after_ms: None,
            body: None,
            text: None,
            error_type: None,
            error_code: None,
            location: None,
            header: None,
            part: "all".into(),
            usage: true,
            prompt_tokens: 10,
            share: 100,
            phase_ms: 0,
            coalesce: false,
            spec: String::new(),
        };
        plain.sealed()
    }

    /// From a JSON string in the marker's words, or an object `{"name": "status", "code": 429}`.
    pub fn from_json(value: &Value) -> Result<Self, Unknown> {
        match value {
            Value::String(words) => words.parse(),
            Value::Object(fields) => {
                let name = fields.get("name").and_then(Value::as_str).ok_or_else(|| Unknown("no \"name\"".into()))?;
                let mut behaviour = name.parse::<Behaviour>()?;
                for (key, value) in fields.iter().filter(|(key, _)| *key != "name") {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    behaviour.set(key, &text)?;
                }
                Ok(behaviour.sealed())
            }
            other => Err(Unknown(format!("not a behaviour: {other}"))),
        }
    }

    /// A text that two behaviours share only when they answer alike.
    pub fn spec(&self) -> &str {
        &self.spec
    }

    /// The pause between chunks, or `default` when none was given.
    pub(super) fn delay_or(&self, default: u64) -> std::time::Duration {
        std::time::Duration::from_millis(self.delay_ms.unwrap_or(default))
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Unknown> {
        match key {
            "tokens" => self.tokens = number(key, value)?,
            "delay_ms" => self.delay_ms = Some(number(key, value)?),
            "first_delay_ms" => self.first_delay_ms = number(key, value)?,
            "n" | "after" => self.n = Some(number(key, value)?),
            "bytes" => self.bytes = Some(number(key, value)?),
            "code" => self.code = number(key, value)?,
            "retry_after" => self.retry_after = Some(value.into()),
            "retry_after_ms" => self.retry_after_ms = Some(value.into()),
            "body" => self.body = Some(value.into()),
            "text" => self.text = Some(value.into()),
            "error_type" | "type" => self.error_type = Some(value.into()),
            "error_code" => self.error_code = Some(value.into()),
            "location" => self.location = Some(value.into()),
            "header" => self.header = Some(value.into()),
            "part" if ["head", "body", "all"].contains(&value) => self.part = value.into(),
            "usage" => self.usage = switch(key, value)?,
            "prompt_tokens" => self.prompt_tokens = number(key, value)?,
            "share" => self.share = number(key, value)?,
            "phase_ms" => self.phase_ms = number(key, value)?,
            "coalesce" => self.coalesce = switch(key, value)?,
            _ => return Err(Unknown(format!("parameter {key}={value}"))),
        }
        Ok(())
    }

    fn sealed(mut self) -> Self {
        self.spec.clear();
        let spec = format!("{self:?}");
        self.spec = spec;
        self
    }
}

impl FromStr for Behaviour {
    type Err = Unknown;

    /// `NAME key=value ...`; a `+` in a value stands for a space.
    fn from_str(words: &str) -> Result<Self, Unknown> {
        let mut words = words.split_whitespace();
        let name = words.next().unwrap_or_default();
        let kind = Kind::ALL.iter().copied().find(|kind| kind.name() == name);
        let mut behaviour = Behaviour::new(kind.ok_or_else(|| Unknown(format!("fault {name:?}")))?);
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| Unknown(format!("word {word:?}")))?;
            behaviour.set(key, &value.replace('+', " "))?;
        }
        Ok(behaviour.sealed())
    }
}

impl From<&str> for Behaviour {
    /// # Panics
    /// When the words name no behaviour: a test that misspells its fault should stop.
    fn from(words: &str) -> Self {
        words.parse().expect("a known behaviour")
    }
}

impl From<Kind> for Behaviour {
    fn from(kind: Kind) -> Self {
        Behaviour::new(kind)
    }
}

/// A word that names no fault and no parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown(pub String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the mock does not know ")?;
        f.write_str(&self.0)?;
        f.write_char('.')
    }
}

impl std::error::Error for Unknown {}

fn number<T: FromStr>(key: &str, value: &str) -> Result<T, Unknown> {
    value.parse().map_err(|_| Unknown(format!("the number {key}={value}")))
}

fn switch(key: &str, value: &str) -> Result<bool, Unknown> {
    match value {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err(Unknown(format!("the switch {key}={value}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_prompt_and_a_json_object_mean_the_same() {
        let words = Behaviour::from("status code=429 retry_after=2 type=slow+down");

        let object = serde_json::json!({"name": "status", "code": 429, "retry_after": "2", "error_type": "slow down"});

        assert_eq!(Behaviour::from_json(&object).unwrap(), words);
    }

    #[test]
    fn a_misspelt_fault_parameter_or_number_is_refused() {
        for words in ["", "statsu", "status cod=1", "status code=many", "ok usage=maybe", "ok tokens"] {
            assert!(words.parse::<Behaviour>().is_err(), "{words}");
        }
    }

    #[test]
    fn every_kind_is_found_by_its_own_name() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse::<Behaviour>().unwrap().kind, *kind);
        }
    }
}
