//! The directory: from what is stored, found in the environment and built in, to connections and a plan.

/// Builds and publishes.
#[derive(Debug)]
pub struct Directory;
