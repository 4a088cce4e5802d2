//! A provider's bytes, cut anywhere, as the bytes that a client reads.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;

use super::formats::{Client, Provider};
use crate::bedrock::event_stream::EventStreamScanner;
use crate::chat::{Event, Reply, StreamDecoder};
use crate::lines::LineScanner;
use crate::openai_error::ErrorBody;
use crate::sse::{Remainder, SseScanner};

/// The most that one frame may take.
const CAP: usize = 1024 * 1024;

/// How a provider cuts its stream into frames.
#[derive(Debug, Clone, Copy)]
pub(super) enum Framing {
    /// Server-sent events.
    Events,
    /// Lines of JSON.
    Lines,
    /// Binary messages of an AWS event stream.
    Messages,
}

/// What a stream said, and whether it was a whole answer.
pub(super) struct Heard {
    pub(super) events: Vec<Event>,
    pub(super) whole: Result<(), String>,
}

/// Frames of any framing: the name and the data of each.
enum Scanner {
    Events(SseScanner),
    Lines(LineScanner),
    Messages(EventStreamScanner),
}

type Frames = Result<Vec<(Option<String>, Bytes)>, String>;

impl Scanner {
    fn new(framing: Framing) -> Self {
        match framing {
            Framing::Events => Self::Events(SseScanner::new(CAP)),
            Framing::Lines => Self::Lines(LineScanner::new(CAP)),
            Framing::Messages => Self::Messages(EventStreamScanner::default()),
        }
    }

    fn push(&mut self, chunk: Bytes) -> Frames {
        match self {
            Self::Events(scanner) => scanner.push(chunk),
            Self::Lines(scanner) => scanner.push(chunk),
            Self::Messages(scanner) => scanner.push(chunk),
        }
        let mut frames = Vec::new();
        while let Some(frame) = self.next()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn next(&mut self) -> Result<Option<(Option<String>, Bytes)>, String> {
        Ok(match self {
            Self::Events(scanner) => scanner.next_event().map_err(|e| e.to_string())?.map(event_frame),
            Self::Lines(scanner) => scanner.next_line().map_err(|e| e.to_string())?.map(|line| (None, line.data)),
            Self::Messages(scanner) => {
                let message = scanner.next_message().map_err(|e| e.to_string())?;
                message.map(|message| (Some(message.name), message.payload))
            }
        })
    }

    fn finish(&mut self) -> Frames {
        Ok(match self {
            Self::Events(scanner) => match scanner.finish().map_err(|e| e.to_string())? {
                Remainder::Nothing => Vec::new(),
                Remainder::Event(event) | Remainder::Cut(event) => vec![event_frame(event)],
            },
            Self::Lines(scanner) => scanner.finish().map(|line| (None, line.data)).into_iter().collect(),
            Self::Messages(scanner) => scanner.finish().map(|_| Vec::new()).map_err(|e| e.to_string())?,
        })
    }
}

fn event_frame(event: crate::sse::SseEvent) -> (Option<String>, Bytes) {
    let name = event.event.map(|name| String::from_utf8_lossy(&name).into_owned());
    (name, event.data)
}

/// What a stream in these pieces says.
pub(super) fn heard(provider: &Provider, pieces: impl IntoIterator<Item = Bytes>) -> Heard {
    let (mut decoder, mut events) = ((provider.decoder)(), Vec::new());
    let whole = listen(provider.framing, decoder.as_mut(), pieces, &mut events);
    Heard { events, whole }
}

fn listen(
    framing: Framing,
    decoder: &mut dyn StreamDecoder,
    pieces: impl IntoIterator<Item = Bytes>,
    events: &mut Vec<Event>,
) -> Result<(), String> {
    let mut scanner = Scanner::new(framing);
    for piece in pieces {
        if take(decoder, scanner.push(piece)?, events)? {
            return decoder.end(events).map_err(|e| e.to_string());
        }
    }
    take(decoder, scanner.finish()?, events)?;
    decoder.end(events).map_err(|e| e.to_string())
}

fn take(
    decoder: &mut dyn StreamDecoder,
    frames: Vec<(Option<String>, Bytes)>,
    events: &mut Vec<Event>,
) -> Result<bool, String> {
    for (name, data) in frames {
        if decoder.frame(name.as_deref(), &data, events).map_err(|e| e.to_string())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The same for a client: what it reads.
pub(super) fn told(client: &Client, heard: &Heard, reply: &Reply) -> BytesMut {
    let (mut encoder, mut out) = ((client.encoder)(reply), BytesMut::new());
    heard.events.iter().for_each(|event| encoder.event(event, &mut out));
    match &heard.whole {
        Ok(()) => encoder.finish(&mut out),
        Err(why) => {
            let (message, kind) = (why.clone(), "upstream_error".into());
            encoder.fail(&ErrorBody { message, kind, param: None, code: None }, &mut out);
        }
    }
    out
}

/// A list of names and payloads as the messages of an AWS event stream.
pub(super) fn framed_messages(list: &[u8]) -> Bytes {
    let list: Vec<(String, Value)> = serde_json::from_slice(list).unwrap();
    let mut out = BytesMut::new();
    for (name, payload) in list {
        out.put(framed_message(&name, payload.to_string().as_bytes()));
    }
    out.freeze()
}

/// One message with the three headers that AWS sends.
pub(super) fn framed_message(name: &str, payload: &[u8]) -> Bytes {
    let mut headers = BytesMut::new();
    for (header, value) in [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")] {
        headers.put_u8(u8::try_from(header.len()).unwrap());
        headers.put_slice(header.as_bytes());
        headers.put_u8(7);
        headers.put_u16(u16::try_from(value.len()).unwrap());
        headers.put_slice(value.as_bytes());
    }
    let mut out = BytesMut::new();
    out.put_u32(u32::try_from(16 + headers.len() + payload.len()).unwrap());
    out.put_u32(u32::try_from(headers.len()).unwrap());
    out.put_u32(crc32fast::hash(&out));
    out.put_slice(&headers);
    out.put_slice(payload);
    out.put_u32(crc32fast::hash(&out));
    out.freeze()
}
