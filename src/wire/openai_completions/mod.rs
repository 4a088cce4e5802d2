//! Legacy completions (`/v1/completions`), for clients only: a prompt goes to a chat model as a message of the user.
//!
//! What is odd about it: the answer is one text per choice, so thoughts have no place and a refusal is text; probabilities are
//! parallel lists. What it cannot do here: prompts as tokens, several prompts in one request, `suffix` (text is only added at the
//! end), `echo`, and `best_of` above `n`. These are refused, because leaving them out would change the answer.

mod decode_request;
mod encode_answer;
mod encoder;
mod logprobs;
#[cfg(test)]
mod tests;

pub use crate::openai::error_body;
pub use decode_request::{decode_request, wants_usage};
pub use encode_answer::encode_answer;
pub use encoder::Encoder;
