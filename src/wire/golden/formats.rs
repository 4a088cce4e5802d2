//! Every format's names behind one table each, with its fixtures.

use bytes::Bytes;

use super::relay::{Framing, framed_messages};
use crate::bad_request::BadRequest;
use crate::chat::{
    Answer, BadAnswer, EncodeTarget, Encoded, Format, Refused, Reply, Request, StreamDecoder, StreamEncoder, Traits,
};
use crate::{anthropic, bedrock, cohere, gemini, ollama, openai, openai_completions, responses};

/// A format in which clients ask.
#[derive(Clone, Copy)]
pub(super) struct Client {
    pub(super) name: &'static str,
    pub(super) format: Format,
    pub(super) fixture: &'static [u8],
    pub(super) decode: fn(&[u8]) -> Result<Request, BadRequest>,
    pub(super) encode_answer: fn(&Answer, &Reply) -> Bytes,
    pub(super) encoder: fn(&Reply) -> Box<dyn StreamEncoder>,
}

/// A format in which providers answer.
#[derive(Clone, Copy)]
pub(super) struct Provider {
    pub(super) name: &'static str,
    pub(super) model: &'static str,
    pub(super) answer: &'static [u8],
    stream: &'static [u8],
    pub(super) framing: Framing,
    pub(super) encode: fn(&Request, &EncodeTarget<'_>) -> Result<Encoded, Refused>,
    pub(super) decode_answer: fn(&[u8]) -> Result<Answer, BadAnswer>,
    pub(super) decoder: fn() -> Box<dyn StreamDecoder>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Provider {
    /// The request as this provider reads it.
    pub(super) fn encoded(&self, request: &Request) -> Result<Encoded, Refused> {
        let target = EncodeTarget { model: self.model, stream: request.stream, traits: Traits::default() };
        (self.encode)(request, &target)
    }

    /// Its stream as the bytes of a body.
    pub(super) fn stream(&self) -> Bytes {
        match self.framing {
            Framing::Messages => framed_messages(self.stream),
            Framing::Events | Framing::Lines => Bytes::from_static(self.stream),
        }
    }
}

macro_rules! client {
    ($name:literal, $format:expr, $decode:expr, $answer:expr, $encoder:expr) => {
        Client {
            name: $name,
            format: $format,
            fixture: include_bytes!(concat!("fixtures/requests/", $name, ".json")),
            decode: $decode,
            encode_answer: $answer,
            encoder: |reply| Box::new($encoder(reply)),
        }
    };
}

/// All that clients speak.
pub(super) const CLIENTS: [Client; 7] = [
    client!("openai_chat", Format::OpenAiChat, openai::decode_request, openai::encode_answer, openai::Encoder::new),
    client!(
        "openai_completions",
        Format::OpenAiChat,
        openai_completions::decode_request,
        openai_completions::encode_answer,
        openai_completions::Encoder::new
    ),
    client!(
        "responses",
        Format::OpenAiResponses,
        responses::decode_request,
        responses::encode_answer,
        responses::Encoder::new
    ),
    client!(
        "anthropic",
        Format::Anthropic,
        anthropic::decode_request,
        anthropic::encode_answer,
        anthropic::Encoder::new
    ),
    client!("gemini", Format::Gemini, decode_gemini, gemini::encode_answer, gemini::Encoder::new),
    client!("ollama", Format::Ollama, ollama::decode_request, ollama::encode_answer, ollama::Encoder::new),
    client!(
        "ollama_generate",
        Format::Ollama,
        ollama::decode_generate,
        ollama::encode_generate,
        ollama::Encoder::generate
    ),
];

/// The model and the stream stand in the path, which is not among the bytes.
fn decode_gemini(body: &[u8]) -> Result<Request, BadRequest> {
    gemini::decode_request(body, "the-model", true)
}

macro_rules! provider {
    ($name:literal, $model:literal, $module:ident, $stream:literal, $framing:expr) => {
        Provider {
            name: $name,
            model: $model,
            answer: include_bytes!(concat!("fixtures/answers/", $name, ".json")),
            stream: include_bytes!(concat!("fixtures/streams/", $stream)),
            framing: $framing,
            encode: $module::encode_request,
            decode_answer: $module::decode_answer,
            decoder: || Box::new($module::Decoder::default()),
        }
    };
}

/// All that providers speak.
pub(super) const PROVIDERS: [Provider; 7] = [
    provider!("openai_chat", "gpt-5.1", openai, "openai_chat.sse", Framing::Events),
    provider!("responses", "gpt-5.1", responses, "responses.sse", Framing::Events),
    provider!("anthropic", "claude-sonnet-4-5", anthropic, "anthropic.sse", Framing::Events),
    provider!("gemini", "gemini-3-pro-preview", gemini, "gemini.sse", Framing::Events),
    provider!("ollama", "qwen3:32b", ollama, "ollama.ndjson", Framing::Lines),
    provider!("cohere", "command-a-03-2025", cohere, "cohere.sse", Framing::Events),
    provider!("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", bedrock, "bedrock.json", Framing::Messages),
];
