//! The data plane.

mod affinity;
mod background;
mod background_streams;
mod bodies;
mod chat_completions;
mod completions;
mod continuation;
mod ensembles;
mod handoff;
mod headers;
mod keys;
mod media;
mod messages;
mod model_strings;
mod models;
mod overload;
mod quirks;
mod responses;
mod tokens;
mod told;
