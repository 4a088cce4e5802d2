//! Cohere's chat, version 2 (`/v2/chat`); providers only.
//!
//! What is odd about it:
//! - what the model says before it calls tools is its `tool_plan`, not its content;
//! - one tool cannot be demanded by name: only that one is offered then, and a call is required;
//! - every piece of a stream says its type in its JSON, and one thing at a time is open;
//! - usage counts twice: `billed_units` is what is paid for, `tokens` is what the model saw.
//!
//! What it cannot carry: more than one choice, sound, video and documents behind URLs, a shape of the answer together with tools
//! (Cohere refuses the pair), a bias of tokens, labels and names of users, names of speakers, cache hints.

mod decode_answer;
mod decoder;
mod encode_messages;
mod encode_request;
mod frame;
mod stop;
#[cfg(test)]
mod tests;
mod usage;

pub use decode_answer::decode_answer;
pub use decoder::Decoder;
pub use encode_request::encode_request;
