//! The formats of providers: one row per way out.

use bytes::Bytes;
use omniroute_actors::connection::config::UpstreamTarget;

use super::assemble::quirk_bit;
use super::frames::Frames;
use crate::providers::{Quirk, Wire};
use crate::wire::chat::{Answer, BadAnswer, EncodeTarget, Encoded, Format, Refused, Request, StreamDecoder, Traits};
use crate::wire::{anthropic, bedrock, cohere, gemini, ollama, openai, plain, responses};

/// The services that do not stream answer in one piece of at most so many bytes.
const LONGEST_WHOLE: usize = 8 * 1024 * 1024;

/// Whether a provider's stream is made of server-sent events.
pub const fn streams_events(format: Format) -> bool {
    !matches!(format, Format::Ollama | Format::Bedrock) && streams(format)
}

/// Whether providers of this format stream at all; those that do not are given to a streaming client in one piece.
pub const fn streams(format: Format) -> bool {
    !matches!(format, Format::NlpCloud | Format::GitLab | Format::Petals)
}

/// The body as the provider takes it, where its cloud wants it a little different.
pub fn finished(target: &UpstreamTarget, body: Bytes) -> Bytes {
    if target.quirks & quirk_bit(Quirk::VertexBody) == 0 { body } else { anthropic::vertex_body(&body) }
}

/// The format that a target speaks.
pub fn of(target: &UpstreamTarget) -> Format {
    Wire::format_of(target.wire)
}

/// What is odd about a target.
pub fn traits(target: &UpstreamTarget) -> Traits {
    let has = |quirk: Quirk| target.quirks & quirk_bit(quirk) != 0;
    Traits {
        max_completion_tokens: has(Quirk::MaxCompletionTokens),
        no_stream_options: has(Quirk::NoStreamOptions),
        no_developer_role: !has(Quirk::DeveloperRole),
        reasoning_content: has(Quirk::ReasoningContent),
        no_json_schema: has(Quirk::NoJsonSchema),
        alternate_roles: has(Quirk::AlternateRoles),
        short_call_ids: has(Quirk::ShortCallIds),
        default_max_tokens: None,
    }
}

/// Writes a request.
///
/// # Errors
/// What the format cannot carry.
pub fn encode_request(format: Format, request: &Request, target: &EncodeTarget<'_>) -> Result<Encoded, Refused> {
    match format {
        Format::OpenAiChat => openai::encode_request(request, target),
        Format::OpenAiResponses => responses::encode_request(request, target),
        Format::Anthropic => anthropic::encode_request(request, target),
        Format::Gemini => gemini::encode_request(request, target),
        Format::Ollama => ollama::encode_request(request, target),
        Format::Cohere => cohere::encode_request(request, target),
        Format::Bedrock => bedrock::encode_request(request, target),
        Format::NlpCloud => plain::nlpcloud::encode_request(request, target),
        Format::GitLab => plain::gitlab::encode_request(request, target),
        Format::Petals => plain::petals::encode_request(request, target),
    }
}

/// Whether a client's body must be written anew for this provider although it speaks the same format.
pub fn must_mend(format: Format, request: &Request, traits: Traits) -> bool {
    format == Format::OpenAiChat && openai::must_mend(request, traits)
}

/// A client's body for a provider of the same format: only the model's name changes.
pub fn rewrite(format: Format, body: &Bytes, model: &str) -> Bytes {
    match format {
        Format::OpenAiResponses => responses::rewrite(body, model),
        Format::Anthropic => anthropic::rewrite(body, model),
        Format::Ollama => ollama::rewrite(body, model),
        // The model is in the path, or no client speaks it.
        Format::Gemini | Format::OpenAiChat | Format::Cohere | Format::Bedrock => body.clone(),
        Format::NlpCloud | Format::GitLab | Format::Petals => body.clone(),
    }
}

/// Reads a whole answer.
///
/// # Errors
/// Why it is none.
pub fn decode_answer(format: Format, body: &[u8]) -> Result<Answer, BadAnswer> {
    match format {
        Format::OpenAiChat => openai::decode_answer(body),
        Format::OpenAiResponses => responses::decode_answer(body),
        Format::Anthropic => anthropic::decode_answer(body),
        Format::Gemini => gemini::decode_answer(body),
        Format::Ollama => ollama::decode_answer(body),
        Format::Cohere => cohere::decode_answer(body),
        Format::Bedrock => bedrock::decode_answer(body),
        Format::NlpCloud => plain::nlpcloud::decode_answer(body),
        Format::GitLab => plain::gitlab::decode_answer(body),
        Format::Petals => plain::petals::decode_answer(body),
    }
}

/// Reads a stream.
pub fn decoder(format: Format) -> Box<dyn StreamDecoder> {
    match format {
        Format::OpenAiChat => Box::<openai::Decoder>::default(),
        Format::OpenAiResponses => Box::<responses::Decoder>::default(),
        Format::Anthropic => Box::<anthropic::Decoder>::default(),
        Format::Gemini => Box::<gemini::Decoder>::default(),
        Format::Ollama => Box::<ollama::Decoder>::default(),
        Format::Cohere => Box::<cohere::Decoder>::default(),
        Format::Bedrock => Box::<bedrock::Decoder>::default(),
        Format::NlpCloud => Box::new(plain::Decoder::new(plain::nlpcloud::decode_answer)),
        Format::GitLab => Box::new(plain::Decoder::new(plain::gitlab::decode_answer)),
        Format::Petals => Box::new(plain::Decoder::new(plain::petals::decode_answer)),
    }
}

/// Cuts a stream's bytes into what the decoder reads.
pub fn frames(format: Format, longest: usize) -> Frames {
    match format {
        Format::Ollama => Frames::lines(longest),
        Format::Bedrock => Frames::aws(),
        Format::NlpCloud | Format::GitLab | Format::Petals => Frames::whole(LONGEST_WHOLE),
        _ => Frames::events(longest),
    }
}
