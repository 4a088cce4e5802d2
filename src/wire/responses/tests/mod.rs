//! Promises of the format, one file per direction.

mod answers;
mod encoding;
mod requests;
mod state;
mod streams;

use std::sync::Arc;

use bytes::BytesMut;
use serde_json::Value;

use crate::chat::{Answer, BadAnswer, Collector, EncodeTarget, Event, Reply, Request, StreamDecoder, Traits};

fn target() -> EncodeTarget<'static> {
    EncodeTarget { model: "gpt-x", stream: true, traits: Traits::default() }
}

fn decoded(body: &Value) -> Request {
    super::decode_request(body.to_string().as_bytes()).unwrap()
}

fn encoded(request: &Request) -> Value {
    let encoded = super::encode_request(request, &target()).unwrap();
    serde_json::from_slice(&encoded.body).unwrap()
}

fn dropped(request: &Request) -> Vec<String> {
    let encoded = super::encode_request(request, &target()).unwrap();
    encoded.dropped.into_iter().map(|dropped| dropped.field).collect()
}

fn reply(request: Request) -> Reply {
    Reply {
        id: "0198-ab".into(),
        created: 1_750_000_000,
        model: "fast".into(),
        include_usage: false,
        as_array: false,
        request: Arc::new(request),
    }
}

/// What a provider's frames say.
fn read(frames: &[Value]) -> Result<(Vec<Event>, bool), BadAnswer> {
    let (mut decoder, mut events, mut over) = (super::Decoder::default(), Vec::new(), false);
    for frame in frames {
        over = decoder.frame(None, frame.to_string().as_bytes(), &mut events)?;
    }
    Ok((events, over))
}

fn collected(events: &[Event]) -> Answer {
    let mut collector = Collector::default();
    events.iter().for_each(|event| collector.take(event));
    collector.finish()
}

/// The frames of a client's stream: name and data.
fn frames(bytes: &BytesMut) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(bytes).unwrap();
    let frame = |frame: &str| {
        let (name, data) = frame.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        (name.to_owned(), serde_json::from_str(data).unwrap())
    };
    text.split_terminator("\n\n").map(frame).collect()
}
