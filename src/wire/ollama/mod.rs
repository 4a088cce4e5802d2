//! Ollama's `/api/chat` and `/api/generate`.
//!
//! What is odd about it:
//! - a request that says nothing of it wants a stream, and a stream is lines of JSON;
//! - images are Base64 without a type, so the type is read off the bytes;
//! - arguments of calls are objects; results of tools are messages of their own, and pair by the tool's name and by order;
//! - `/api/generate` is a prompt with a text for its answer: it is read as a conversation, and [`Encoder::generate`] and
//!   [`encode_generate`] write its answers;
//! - clients raise on blank lines and on lines that are no JSON, so the heartbeat is a chunk that says nothing.
//!
//! What it cannot carry: `tool_choice` (but `none` leaves the tools out, and a choice among some leaves out the others), `parallel_tools`, `logit_bias`, `verbosity`, `user`,
//! `metadata`, `service_tier`, `cache_key`, `modalities`, marks for the prompt cache, names of speakers, other models' sealed thoughts.
//! Answers hold no pictures: the official clients cannot read them. Several answers, and files, sounds, videos or images behind URLs in the last question, are refused.

mod decode_answer;
mod decode_messages;
mod decode_request;
mod decoder;
mod encode_answer;
mod encode_messages;
mod encode_request;
mod encoder;
mod errors;
mod load;
mod models;
mod rewrite;
mod shape;
#[cfg(test)]
mod tests;
mod usage;
mod write;

pub use decode_answer::decode_answer;
pub use decode_request::{decode_generate, decode_request};
pub use decoder::Decoder;
pub use encode_answer::{encode_answer, encode_generate};
pub use encode_request::encode_request;
pub use encoder::Encoder;
pub use errors::error_body;
pub use load::Load;
pub use models::{ps_body, show_body, tags_body, version_body};
pub use rewrite::rewrite;
