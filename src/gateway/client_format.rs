//! The formats of clients: one row per way in.

use std::time::Duration;

use actix_web::http::header::HeaderMap;
use bytes::Bytes;

use crate::wire::chat::{Answer, Format, Reply, StreamEncoder};
use crate::wire::openai_error::ErrorBody;
use crate::wire::{anthropic, gemini, ollama, openai, openai_completions, responses};

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientFormat {
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI's older completions of a prompt.
    Completions,
    /// OpenAI Responses.
    Responses,
    /// A conversation of OpenAI Responses is to be made short; the answer is whole.
    Compaction,
    /// Anthropic Messages.
    Anthropic,
    /// Gemini; a stream is server-sent events, or one JSON array.
    Gemini {
        /// An array.
        as_array: bool,
    },
    /// Ollama `/api/chat`.
    Ollama,
    /// Ollama `/api/generate`.
    OllamaGenerate,
}

impl ClientFormat {
    /// The format whose bytes may pass as they are; the older completions and the bare prompt have none.
    pub const fn same_as(self) -> Option<Format> {
        match self {
            Self::Chat => Some(Format::OpenAiChat),
            Self::Responses => Some(Format::OpenAiResponses),
            Self::Anthropic => Some(Format::Anthropic),
            // A stream is always asked for as server-sent events.
            Self::Gemini { as_array: false } => Some(Format::Gemini),
            Self::Ollama => Some(Format::Ollama),
            Self::Completions | Self::Compaction | Self::OllamaGenerate | Self::Gemini { as_array: true } => None,
        }
    }

    /// What the clients of an address speak: errors that are met before the body is read have to be said, too.
    pub fn of_address(path: &str, headers: &HeaderMap) -> Self {
        let path = path.strip_prefix("/api").filter(|rest| rest.starts_with("/v1")).unwrap_or(path);
        let names = |word: &str| path.split('/').any(|part| part == word);
        match () {
            () if path.starts_with("/v1beta") || path.contains(":generateContent") || path.contains(":countTokens") => {
                Self::Gemini { as_array: false }
            }
            () if path.contains(":streamGenerateContent") => Self::Gemini { as_array: false },
            () if is_ollama(path) => Self::Ollama,
            () if names("messages") || headers.contains_key("anthropic-version") => Self::Anthropic,
            () if names("responses") => Self::Responses,
            () if headers.contains_key("x-goog-api-key") => Self::Gemini { as_array: false },
            () => Self::Chat,
        }
    }

    /// The content type of a stream.
    pub const fn stream_type(self) -> &'static str {
        match self {
            Self::Gemini { as_array: true } => "application/json",
            Self::Ollama | Self::OllamaGenerate => "application/x-ndjson",
            _ => "text/event-stream; charset=utf-8",
        }
    }

    /// Writes a stream.
    pub fn encoder(self, reply: &Reply) -> Box<dyn StreamEncoder> {
        match self {
            Self::Chat => Box::new(openai::Encoder::new(reply)),
            Self::Completions => Box::new(openai_completions::Encoder::new(reply)),
            Self::Responses | Self::Compaction => Box::new(responses::Encoder::new(reply)),
            Self::Anthropic => Box::new(anthropic::Encoder::new(reply)),
            Self::Gemini { .. } => Box::new(gemini::Encoder::new(reply)),
            Self::Ollama => Box::new(ollama::Encoder::new(reply)),
            Self::OllamaGenerate => Box::new(ollama::Encoder::generate(reply)),
        }
    }

    /// Writes a whole answer.
    pub fn encode_answer(self, answer: &Answer, reply: &Reply) -> Bytes {
        match self {
            Self::Chat => openai::encode_answer(answer, reply),
            Self::Completions => openai_completions::encode_answer(answer, reply),
            Self::Responses => responses::encode_answer(answer, reply),
            // Without a summary the answer says at least what the model said.
            Self::Compaction => {
                responses::compact_answer(answer, reply).unwrap_or_else(|| responses::encode_answer(answer, reply))
            }
            Self::Anthropic => anthropic::encode_answer(answer, reply),
            Self::Gemini { .. } => gemini::encode_answer(answer, reply),
            Self::Ollama => ollama::encode_answer(answer, reply),
            Self::OllamaGenerate => ollama::encode_generate(answer, reply),
        }
    }

    /// What closes a stream that passed as it came and whose provider left the closing out. The other formats have no
    /// such event, or cannot be whole without it.
    pub const fn closing(self) -> &'static [u8] {
        match self {
            Self::Anthropic => b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            _ => b"",
        }
    }

    /// Writes an error. Google's clients look for the time to come back in the body.
    pub fn error_body(
        self,
        error: &ErrorBody,
        status: u16,
        request_id: Option<&str>,
        retry_after: Option<Duration>,
    ) -> Bytes {
        match self {
            Self::Chat | Self::Completions => openai::error_body(error, status, request_id),
            Self::Responses | Self::Compaction => responses::error_body(error, status, request_id),
            Self::Anthropic => anthropic::error_body(error, status, request_id),
            Self::Gemini { .. } => gemini::error_body_with_retry(error, status, request_id, retry_after),
            Self::Ollama | Self::OllamaGenerate => ollama::error_body(error, status, request_id),
        }
    }
}

/// Ollama's own addresses. They lie under `/api`, but they are no management.
pub fn is_ollama(path: &str) -> bool {
    let path = path.strip_prefix("/v1").unwrap_or(path);
    ["/api/chat", "/api/generate", "/api/tags", "/api/show", "/api/version", "/api/ps"].contains(&path)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use rstest::rstest;

    use super::*;

    const GEMINI: ClientFormat = ClientFormat::Gemini { as_array: false };

    #[rstest]
    #[case("/v1/chat/completions", None, ClientFormat::Chat)]
    #[case("/v1/messages", None, ClientFormat::Anthropic)]
    #[case("/api/v1/messages/count_tokens", None, ClientFormat::Anthropic)]
    #[case("/v1/models", Some("anthropic-version"), ClientFormat::Anthropic)]
    #[case("/v1/responses/resp_1", None, ClientFormat::Responses)]
    #[case("/v1beta/models/a/m:generateContent", None, GEMINI)]
    #[case("/v1/models/a/m:streamGenerateContent", None, GEMINI)]
    #[case("/v1/models", Some("x-goog-api-key"), GEMINI)]
    #[case("/api/chat", None, ClientFormat::Ollama)]
    #[case("/v1/api/tags", None, ClientFormat::Ollama)]
    #[case("/v1/nothing", None, ClientFormat::Chat)]
    fn an_error_is_said_in_the_format_of_its_address(
        #[case] path: &str,
        #[case] header: Option<&'static str>,
        #[case] expected: ClientFormat,
    ) {
        let mut headers = HeaderMap::new();
        if let Some(name) = header {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }

        assert_eq!(ClientFormat::of_address(path, &headers), expected);
    }
}
