//! Server-sent events out of bytes that are cut anywhere.
//!
//! Lines end with LF, CRLF or CR and with nothing else: U+2028 and its kind are content.
//!
//! A CR at the very end of the bytes seen so far may be half of a CRLF, so the event it would close waits for the next byte (or for
//! [`SseScanner::finish`]). That makes the events independent of how the stream was cut. Streams with bare CRs are next to extinct.

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

use crate::uncut::Uncut;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One event, as it came and as it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// The exact bytes, the closing blank line included.
    pub raw: Bytes,
    /// The values of its `data` lines, joined by LF.
    pub data: Bytes,
    /// The value of its `event` line.
    pub event: Option<Bytes>,
    /// It has neither a `data` nor an `event` line: a keep-alive, not a message.
    pub is_comment: bool,
}

/// Why a stream cannot be read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// One event grew past the cap.
    #[error("an event of the stream is larger than {0} bytes")]
    EventTooLarge(usize),
}

/// What was left when the stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remainder {
    /// Nothing: the last event was closed properly.
    Nothing,
    /// A last event whose lines are all ended and that only lacks its blank line; `raw` has one added.
    Event(SseEvent),
    /// A last event that stops inside a line. It may be whole (`data: [DONE]` without a line end) or half of one; `raw` is closed.
    Cut(SseEvent),
}

/// Cuts a stream of bytes into events.
#[derive(Debug)]
pub struct SseScanner {
    bytes: Uncut,
    place: Place,
    started: bool,
}

/// Where the scan stands inside the current event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    InLine,
    LineStart,
    AfterCr,
    AfterBlankCr,
}

impl SseScanner {
    /// A scanner that refuses events of more than `max_event_bytes` and never holds more than that of an unfinished one.
    pub fn new(max_event_bytes: usize) -> Self {
        Self { bytes: Uncut::new(max_event_bytes), place: Place::InLine, started: false }
    }

    /// Takes the next bytes of the stream. Ask [`Self::next_event`] until it has none before pushing more.
    pub fn push(&mut self, chunk: Bytes) {
        self.bytes.push(chunk);
    }

    /// The next whole event, or none until more bytes come. After an error the scanner only repeats it.
    pub fn next_event(&mut self) -> Result<Option<SseEvent>, SseError> {
        let too_large = SseError::EventTooLarge(self.bytes.cap());
        if self.bytes.has_failed() {
            return Err(too_large);
        }
        if self.bytes.tail.is_empty() && !self.skip_to_event() {
            return Ok(None);
        }
        match self.place.scan(&self.bytes.chunk) {
            Some(end) => {
                self.place = Place::InLine;
                let raw = self.bytes.take(end).map_err(|_| too_large)?;
                Ok(Some(SseEvent::read(raw)))
            }
            None => self.bytes.keep().map(|()| None).map_err(|_| too_large),
        }
    }

    /// Tells what was left over at the end of the stream.
    pub fn finish(&mut self) -> Result<Remainder, SseError> {
        self.started = true;
        if let Some(event) = self.next_event()? {
            return Ok(Remainder::Event(event));
        }
        if self.bytes.tail.is_empty() {
            return Ok(Remainder::Nothing);
        }
        let place = std::mem::replace(&mut self.place, Place::InLine);
        let missing: &[u8] = match place {
            Place::AfterBlankCr => b"",
            Place::AfterCr => b"\r",
            Place::LineStart if self.bytes.tail.ends_with(b"\r\n") => b"\r\n",
            Place::LineStart => b"\n",
            Place::InLine => b"\n\n",
        };
        self.bytes.tail.extend_from_slice(missing);
        let event = SseEvent::read(self.bytes.tail.split().freeze());
        Ok(if place == Place::InLine { Remainder::Cut(event) } else { Remainder::Event(event) })
    }

    /// Passes over a byte order mark and blank lines; false when no event has begun.
    fn skip_to_event(&mut self) -> bool {
        if !self.started {
            if self.bytes.chunk.len() < BOM.len() && BOM.starts_with(&self.bytes.chunk) {
                return self.wait_for_mark();
            }
            self.started = true;
            if self.bytes.chunk.starts_with(BOM) {
                let _ = self.bytes.chunk.split_to(BOM.len());
            }
        }
        match self.bytes.chunk.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) {
            Some(0) => true,
            Some(blank) => {
                let _ = self.bytes.chunk.split_to(blank);
                true
            }
            None => {
                self.bytes.chunk = Bytes::new();
                false
            }
        }
    }

    /// Keeps the first one or two bytes of what may become a byte order mark, without tying up the chunk they lie in.
    fn wait_for_mark(&mut self) -> bool {
        self.bytes.chunk = Bytes::copy_from_slice(&self.bytes.chunk);
        false
    }
}

impl Place {
    /// Reads on through `bytes`; the offset behind the event's blank line once that is certain.
    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..)?;
            let next = *rest.first()?;
            match (*self, next) {
                (Self::InLine, _) => {
                    let end = memchr2(b'\n', b'\r', rest)?;
                    *self = if rest.get(end) == Some(&b'\r') { Self::AfterCr } else { Self::LineStart };
                    at += end + 1;
                }
                (Self::AfterCr, b'\n') => {
                    *self = Self::LineStart;
                    at += 1;
                }
                (Self::AfterCr, _) => *self = Self::LineStart,
                (Self::LineStart | Self::AfterBlankCr, b'\n') => return Some(at + 1),
                (Self::LineStart, b'\r') => {
                    *self = Self::AfterBlankCr;
                    at += 1;
                }
                (Self::LineStart, _) => *self = Self::InLine,
                (Self::AfterBlankCr, _) => return Some(at),
            }
        }
    }
}

impl SseEvent {
    fn read(raw: Bytes) -> Self {
        let mut data: Option<Bytes> = None;
        let mut event = None;
        let mut at = 0;
        while let Some(rest) = raw.get(at..).filter(|rest| !rest.is_empty()) {
            let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let line = rest.get(..length).unwrap_or_default();
            if let Some(skip) = value_start(line, b"data") {
                let value = raw.slice(at + skip..at + length);
                data = Some(data.map_or_else(|| value.clone(), |before| join(&before, &value)));
            } else if let Some(skip) = value_start(line, b"event") {
                event = Some(raw.slice(at + skip..at + length));
            }
            at += length + 1;
        }
        let is_comment = data.is_none() && event.is_none();
        Self { raw, data: data.unwrap_or_default(), event, is_comment }
    }
}

/// Where the value of the field `name` begins in its line: after the colon and one space.
fn value_start(line: &[u8], name: &[u8]) -> Option<usize> {
    match line.strip_prefix(name)? {
        [] => Some(name.len()),
        [b':', b' ', ..] => Some(name.len() + 2),
        [b':', ..] => Some(name.len() + 1),
        _ => None,
    }
}

fn join(before: &[u8], line: &[u8]) -> Bytes {
    let mut joined = BytesMut::with_capacity(before.len() + line.len() + 1);
    joined.extend_from_slice(before);
    joined.extend_from_slice(b"\n");
    joined.extend_from_slice(line);
    joined.freeze()
}

#[cfg(test)]
mod tests;
