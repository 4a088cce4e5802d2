//! Promises of the format, one file per direction.

mod requests;

use crate::chat::{EncodeTarget, Request, Traits};

fn target() -> EncodeTarget<'static> {
    EncodeTarget { model: "gpt-x", stream: true, traits: Traits::default() }
}

fn decoded(body: &serde_json::Value) -> Request {
    super::decode_request(body.to_string().as_bytes()).unwrap()
}

fn encoded(request: &Request) -> serde_json::Value {
    let encoded = super::encode_request(request, &target()).unwrap();
    serde_json::from_slice(&encoded.body).unwrap()
}

fn dropped(request: &Request) -> Vec<String> {
    let encoded = super::encode_request(request, &target()).unwrap();
    encoded.dropped.into_iter().map(|dropped| dropped.field).collect()
}
