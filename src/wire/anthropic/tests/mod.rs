//! What the format promises.

mod answers;
mod conversations;
mod requests;
mod streams;
mod telling;
mod thinking;
mod tools;

use serde_json::Value;

use super::*;
use crate::chat::*;

fn target(model: &str) -> EncodeTarget<'_> {
    EncodeTarget { model, stream: false, traits: Traits::default() }
}

fn decoded(body: &Value) -> Request {
    decode_request(body.to_string().as_bytes()).unwrap()
}

fn encoded(request: &Request, model: &str) -> (Value, Encoded) {
    let encoded = encode_request(request, &target(model)).unwrap();
    (serde_json::from_slice(&encoded.body).unwrap(), encoded)
}

fn dropped(encoded: &Encoded) -> Vec<&str> {
    encoded.dropped.iter().map(|dropped| dropped.field.as_str()).collect()
}

fn asking(from: Format) -> Request {
    let mut request = Request::new(from, "m");
    request.messages = vec![Message::text(Role::User, "hi")];
    request
}
