//! OpenAI Responses.
//!
//! What is odd about it:
//! - the conversation is a flat list of items: a call, its result and a thought stand beside messages, not inside them;
//! - `strict` of a function is true unless said otherwise, so a translated function always says it;
//! - answers repeat the whole request, and streams announce every item and every part before they grow;
//! - an item's id is not the id that pairs a call with its result (`call_id`);
//! - thoughts come back encrypted; a foreign seal travels in the same field, marked (`marks` has the table);
//! - it can remember answers, which the gateway does for providers that cannot ([`stored`]).
//!
//! What it cannot carry: stop sequences, seeds, penalties, `top_k`, several choices, images and sound that the model made
//! (but for hosted image generation), errors of tools (they become text), names of speakers, videos.

mod citation;
mod compact;
mod decode_answer;
mod decode_items;
mod decode_request;
mod decode_tools;
mod decoder;
mod encode_answer;
mod encode_fit;
mod encode_items;
mod encode_request;
mod encode_tools;
mod encoder;
mod errors;
mod extras;
mod frame;
mod marks;
mod object;
pub mod stored;
mod streamed_item;
#[cfg(test)]
mod tests;
pub mod transcript;
mod usage;
mod writer;
mod written_item;

pub use compact::{compact_answer, compact_request};
pub use decode_answer::decode_answer;
pub use decode_request::decode_request;
pub use decoder::Decoder;
pub use encode_answer::{encode_answer, encode_begun};
pub use encode_request::{encode_request, rewrite};
pub use encoder::Encoder;
pub use errors::error_body;
pub use extras::{Extras, extras};
pub use usage::input_tokens_body;
