//! What the format promises.

mod answers;
mod pictures;
mod requests;
mod schemas;
mod small;
mod streams;
mod writing;

use serde_json::Value;

use crate::chat::{EncodeTarget, Traits};

fn target(model: &str) -> EncodeTarget<'_> {
    EncodeTarget { model, stream: true, traits: Traits::default() }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}
