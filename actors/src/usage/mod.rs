//! What was used: one record per request, on disk before the client sees the end of its answer.

pub mod journal;
pub mod record;
