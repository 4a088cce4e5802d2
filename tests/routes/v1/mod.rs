//! The data plane.

mod bodies;
mod chat_completions;
mod headers;
mod keys;
mod model_strings;
mod models;
