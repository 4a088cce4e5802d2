//! What the chat codec promises.

mod answers;
mod decoding;
mod encoding;
mod foreign;
mod requests;
mod thoughts;

use std::sync::Arc;

use crate::chat::{
    Answer, BadAnswer, Collector, EncodeTarget, Event, Format, Reply, Request, StreamDecoder as _, Traits,
};

use super::Decoder;

fn target(traits: Traits) -> EncodeTarget<'static> {
    EncodeTarget { model: "upstream-model", stream: false, traits }
}

fn reply(request: Request) -> Reply {
    Reply {
        id: "r1".into(),
        created: 7,
        model: "client-model".into(),
        include_usage: true,
        as_array: false,
        request: Arc::new(request),
    }
}

fn any_reply() -> Reply {
    reply(Request::new(Format::OpenAiChat, "client-model"))
}

/// The events of a stream whose last frame is followed by the end of the connection.
fn read(frames: &[&str]) -> Result<Vec<Event>, BadAnswer> {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    for frame in frames {
        if decoder.frame(None, frame.as_bytes(), &mut out)? {
            break;
        }
    }
    decoder.end(&mut out).map_err(|truncated| BadAnswer::Broken(truncated.to_string()))?;
    Ok(out)
}

fn collected(events: &[Event]) -> Answer {
    let mut collector = Collector::default();
    events.iter().for_each(|event| collector.take(event));
    collector.finish()
}
