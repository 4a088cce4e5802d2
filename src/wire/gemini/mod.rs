//! Google Gemini `generateContent`, as AI Studio and Vertex speak it.
//!
//! What is odd about it:
//! - model and action stand in the path ([`parse_path`]), so [`decode_request`] is told both; the body is the same for all models;
//! - keys come in camelCase, and in snake_case from older clients;
//! - the roles are `user` and `model`; results of tools stand in one content of the user, exactly as many as there were calls;
//! - calls mostly have no ids: they pair by name and order;
//! - a signature sits on the piece that carried it, be it a thought, a call or a text. A signed text is a [`chat::Thinking`] without
//!   text that stands before it, an empty signed text is one that stands where it stood;
//! - a call ends with `STOP`, as any text does;
//! - a stream is server-sent events without names and without an end mark, or one JSON array; clients take no comments.
//!
//! What it cannot carry: `min_p`, `logit_bias`, `verbosity`, `user`, `metadata`, `service_tier`, `cache_key`, `parallel_tools`, names of
//! speakers, marks for the prompt cache, files of another provider's store, more than five stop sequences. Models before 2.5 do not
//! think on request, and models before 3 do not give JSON while they have functions: that is refused.
//!
//! [`chat::Thinking`]: crate::chat::Thinking

mod citations;
mod count_tokens;
mod decode_answer;
mod decode_config;
mod decode_parts;
mod decode_request;
mod decoder;
mod encode_answer;
mod encode_config;
mod encode_parts;
mod encode_request;
mod encoder;
mod errors;
mod finish;
mod keys;
mod logprobs;
mod media;
mod model;
mod models;
mod path;
mod schema;
mod seals;
mod shape;
#[cfg(test)]
mod tests;
mod usage;
mod write;

pub use count_tokens::{count_tokens_body, decode_count_tokens};
pub use decode_answer::decode_answer;
pub use decode_request::decode_request;
pub use decoder::Decoder;
pub use encode_answer::encode_answer;
pub use encode_request::encode_request;
pub use encoder::Encoder;
pub use errors::{error_body, error_body_with_retry};
pub use models::{model_body, models_page};
pub use path::{Action, parse_path};
