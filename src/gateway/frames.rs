//! A stream's bytes, cut into frames, whatever frames they are.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use omniroute_actors::resilience::outcome::Outcome;

use super::fault::Fault;
use crate::wire::bedrock::event_stream::{self, EventMessage, EventStreamScanner};
use crate::wire::lines::{self, Line, LineScanner};
use crate::wire::sse::{Remainder, SseEvent, SseScanner};

/// One frame.
#[derive(Debug)]
pub enum Frame {
    /// A server-sent event.
    Event(SseEvent),
    /// A line of NDJSON.
    Line(Line),
    /// A message of an AWS event stream.
    Message(EventMessage),
    /// An answer that is no stream.
    Whole(Bytes),
}

impl Frame {
    /// Its name.
    pub fn name(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Event(event) => event.event.as_deref().map(String::from_utf8_lossy),
            Self::Line(_) | Self::Whole(_) => None,
            Self::Message(message) => Some(Cow::Borrowed(&message.name)),
        }
    }

    /// What it says.
    pub fn data(&self) -> &[u8] {
        match self {
            Self::Event(event) => &event.data,
            Self::Line(line) => &line.data,
            Self::Message(message) => &message.payload,
            Self::Whole(body) => body,
        }
    }

    /// Pass it to a client of the same format.
    pub fn pass(&self, out: &mut BytesMut) {
        match self {
            Self::Event(event) => out.extend_from_slice(&event.raw),
            Self::Line(line) => lines::write_raw(&line.data, out),
            // No client speaks it.
            Self::Message(_) | Self::Whole(_) => {}
        }
    }

    /// It only keeps the connection alive.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Event(event) => event.is_comment || (event.data.is_empty() && event.event.is_none()),
            Self::Line(line) => line.data.is_empty(),
            Self::Message(_) | Self::Whole(_) => false,
        }
    }
}

/// Cuts one stream.
#[derive(Debug)]
pub enum Frames {
    /// Into server-sent events.
    Events(SseScanner),
    /// Into lines.
    Lines(LineScanner),
    /// Into messages.
    Messages(EventStreamScanner),
    /// Not at all: what came so far, and how much may come.
    Whole(BytesMut, usize),
}

impl Frames {
    /// Server-sent events of at most that many bytes.
    pub fn events(longest: usize) -> Self {
        Self::Events(SseScanner::new(longest))
    }

    /// Lines of at most that many bytes.
    pub fn lines(longest: usize) -> Self {
        Self::Lines(LineScanner::new(longest))
    }

    /// Messages; the scanner has its own cap.
    pub fn aws() -> Self {
        Self::Messages(EventStreamScanner::default())
    }

    /// One answer of at most that many bytes.
    pub fn whole(longest: usize) -> Self {
        Self::Whole(BytesMut::new(), longest)
    }

    /// Take bytes.
    pub fn push(&mut self, chunk: Bytes) {
        match self {
            Self::Events(scanner) => scanner.push(chunk),
            Self::Lines(scanner) => scanner.push(chunk),
            Self::Messages(scanner) => scanner.push(chunk),
            Self::Whole(body, longest) => {
                // One byte too many is enough to know.
                let room = longest.saturating_add(1).saturating_sub(body.len());
                body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            }
        }
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// One is too large, or no frame at all.
    pub fn next(&mut self) -> Result<Option<Frame>, Fault> {
        Ok(match self {
            Self::Events(scanner) => scanner.next_event()?.map(Frame::Event),
            Self::Lines(scanner) => scanner.next_line()?.map(Frame::Line),
            Self::Messages(scanner) => scanner.next_message()?.map(Frame::Message),
            Self::Whole(body, longest) if body.len() > *longest => {
                return Err(Fault::own(Outcome::BrokenAnswer, "the provider's answer is too large"));
            }
            Self::Whole(..) => None,
        })
    }

    /// What is left when the stream has ended.
    ///
    /// # Errors
    /// It is too large, or half of a frame.
    pub fn finish(&mut self) -> Result<Option<Frame>, Fault> {
        Ok(match self {
            Self::Events(scanner) => match scanner.finish()? {
                Remainder::Nothing => None,
                Remainder::Event(event) | Remainder::Cut(event) => Some(Frame::Event(event)),
            },
            Self::Lines(scanner) => scanner.finish().map(Frame::Line),
            Self::Messages(scanner) => match scanner.finish()? {
                event_stream::Remainder::Nothing => None,
                event_stream::Remainder::Cut => return Err(event_stream::EventStreamError::Malformed.into()),
            },
            Self::Whole(body, _) => Some(body.split().freeze()).filter(|body| !body.is_empty()).map(Frame::Whole),
        })
    }
}
