//! Writing a whole answer: what a stream of it would end with.

use bytes::{Bytes, BytesMut};

use super::encoder::Encoder;
use super::object::{Frame, Status};
use crate::chat::{Answer, Begin, Event, Reply, StreamEncoder as _};

/// The body while there is no answer yet.
pub fn encode_begun(reply: &Reply) -> Bytes {
    Frame::new(&Begin::default(), reply).object(&Status::InProgress, &[], None).into()
}

/// The body for a client.
pub fn encode_answer(answer: &Answer, reply: &Reply) -> Bytes {
    let (mut encoder, mut nowhere) = (Encoder::silent(reply), BytesMut::new());
    encoder.event(&Event::Begin(answer.begin.clone()), &mut nowhere);
    // The probabilities come first, so that they find the text they belong to.
    for choice in answer.choices.iter().filter(|choice| choice.index == 0) {
        if let Some(logprobs) = &choice.logprobs {
            encoder.event(&Event::Logprobs { choice: 0, logprobs: logprobs.clone() }, &mut nowhere);
        }
    }
    for event in answer.events().iter().filter(|event| !matches!(event, Event::Logprobs { .. })) {
        encoder.event(event, &mut nowhere);
    }
    encoder.finish(&mut nowhere);
    encoder.response().unwrap_or_default()
}
