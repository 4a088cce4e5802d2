//! From a request to an answer.

pub mod directory;
