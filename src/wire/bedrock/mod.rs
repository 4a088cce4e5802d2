//! AWS Bedrock Converse, for providers.
//!
//! What is odd about it:
//! - the model stands in the path, and so does whether to stream; the body names neither;
//! - a block is an object whose only member tells its kind; bytes are Base64 without a media type;
//! - the cache is told by points between blocks instead of marks on them;
//! - whoever spoke of tools before must offer tools again;
//! - a stream is a row of binary messages ([`event_stream`]), and requests are signed ([`sigv4`]).
//!
//! What it cannot carry: URLs and files of a provider's store, several choices, seeds, penalties, biases and probabilities of
//! tokens, hosted tools, a choice of no tool. JSON of any shape is asked for as the call of a tool. Thinking is known of Claude
//! only and travels in `additionalModelRequestFields`.

mod block;
mod decode_answer;
mod decoder;
mod encode_parts;
mod encode_request;
mod errors;
pub mod event_stream;
pub mod sigv4;
#[cfg(test)]
mod tests;
mod tools;
mod usage;

pub use decode_answer::decode_answer;
pub use decoder::Decoder;
pub use encode_request::encode_request;
