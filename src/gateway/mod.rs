//! From a request to an answer: the pipeline, the attempts, the body that carries the lease.

pub mod assemble;
pub mod directory;
