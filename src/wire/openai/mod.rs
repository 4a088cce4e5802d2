//! OpenAI Chat Completions, as clients write it and as every provider that calls itself compatible reads it.
//!
//! What is odd about it:
//! - results of tools are messages of their own, and hold text only: their images follow in a message of the user;
//! - thoughts have no place in the standard. Their text is `reasoning_content`; what proves them is `reasoning_details` of the
//!   message, and `extra_content.<family>.thought_signature` of a call;
//! - the fragments of several calls may come by turns, and upstreams differ in nearly everything else about a stream: the
//!   [`Decoder`] knows their habits;
//! - `functions`, the form before tools, is read as tools and answered as `function_call`.
//!
//! What it cannot carry: the order of text and calls within one message, `top_k` and `min_p` (compatible providers take them,
//! OpenAI refuses them), cache hints and tools that another format's provider runs, documents behind URLs.

mod body;
mod decode_answer;
mod decode_messages;
mod decode_parts;
mod decode_request;
mod decode_tools;
mod decoder;
mod details;
mod encode_answer;
mod encode_assistant;
mod encode_messages;
mod encode_parts;
mod encode_request;
mod encode_tools;
mod encoder;
mod errors;
mod stop;
mod stream_calls;
mod stream_choice;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use body::{Call, parsed};
pub use decode_answer::decode_answer;
pub use decode_request::decode_request;
pub(crate) use decode_request::{sampling, stream};
pub use decoder::Decoder;
pub use encode_answer::encode_answer;
pub(crate) use encode_answer::usage;
pub(crate) use encode_messages::gathered;
pub use encode_messages::must_mend;
pub use encode_request::encode_request;
pub(crate) use encode_request::put;
pub(crate) use encode_tools::{described, text_argument};
pub use encoder::Encoder;
pub use errors::error_body;
pub(crate) use stop::write as finish_reason;
pub(crate) use write::{stream_end, stream_head};
