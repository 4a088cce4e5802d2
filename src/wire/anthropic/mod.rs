//! Anthropic Messages, for clients and for providers.
//!
//! What is odd about it:
//! - the cap on tokens is mandatory; instructions stand beside the messages, and newer models also take them in between;
//! - turns alternate, the user begins, no text is empty, and all results of a turn's calls come first in the one message that
//!   follows it;
//! - inside an open tool loop with a thinking budget the model's own thoughts must come back with their signatures;
//! - blocks of a stream never overlap, and a stream without `message_stop` passes for a whole one with some clients, so an
//!   early end is always an `error` event;
//! - the three counts of prompt tokens are disjoint.
//!
//! What it cannot carry: several choices, seeds, penalties, biases and probabilities of tokens, audio and video, free JSON
//! without a schema (that is asked for as the call of a tool), labels beside the user's name, keys of prompt caches.
//!
//! Members of blocks and tools that the neutral model has no place for ride in [`Request::rest`](crate::chat::Request::rest)
//! under their path (`tools[1].defer_loading`, counted in neutral messages and parts) and are put back for the same format.

mod block;
mod cache;
mod citation;
mod count;
mod decode_answer;
mod decode_parts;
mod decode_request;
mod decoder;
mod encode_answer;
mod encode_parts;
mod encode_request;
mod encoder;
mod errors;
pub(crate) mod json;
mod messages;
mod models;
pub(crate) mod native;
pub(crate) mod open_blocks;
mod output;
mod reasoning;
mod rest;
mod rewrite;
mod sampling;
mod stop;
#[cfg(test)]
mod tests;
mod tools;
mod usage;
mod version;
mod vertex;

pub use count::{count_answer, decode_count_request};
pub use decode_answer::decode_answer;
pub use decode_request::decode_request;
pub use decoder::Decoder;
pub use encode_answer::encode_answer;
pub use encode_request::encode_request;
pub use encoder::Encoder;
pub use errors::{error_body, kind_of_status, status_of_kind};
pub(crate) use messages::{begun_by_user, demoted};
pub use models::{ListedModel, Page, models_page};
pub(crate) use output::{ANSWER_TOOL, ASK_BY_TOOL};
pub(crate) use reasoning::{Plan, in_open_tool_loop};
pub use rewrite::rewrite;
pub(crate) use sampling::Words;
pub(crate) use tools::object_schema;
pub(crate) use version::Version;
pub use vertex::vertex_body;
