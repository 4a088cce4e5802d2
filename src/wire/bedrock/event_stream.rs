//! Messages of `application/vnd.amazon.eventstream` out of bytes that are cut anywhere.
//!
//! ```text
//! total length 4 | headers length 4 | CRC of these 8 | headers | payload | CRC of all before
//! ```
//! Numbers are big-endian. Both checksums are checked: a message that lost a byte must not be taken for shorter words.

use bytes::{Buf as _, Bytes, BytesMut};

/// The most that one message may take.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventMessage {
    /// What it is called: the type of the event or exception, or the code of an error with `Exception` behind it.
    pub name: String,
    /// It is an exception or an error.
    pub failed: bool,
    /// The payload, mostly JSON. An error has none; its words are put here as `{"message": ..}`.
    pub payload: Bytes,
}

/// Why a stream cannot be read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventStreamError {
    /// A message is larger than the cap.
    #[error("a message of the stream is larger than {0} bytes")]
    TooLarge(usize),
    /// A checksum is wrong.
    #[error("a message of the stream is damaged")]
    Damaged,
    /// Lengths do not fit together.
    #[error("a message of the stream is malformed")]
    Malformed,
}

/// What was left when the stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remainder {
    /// Nothing: the last message was whole.
    Nothing,
    /// A message was cut off.
    Cut,
}

/// Cuts a stream of bytes into messages.
#[derive(Debug, Default)]
pub struct EventStreamScanner {
    buffer: BytesMut,
    failed: Option<EventStreamError>,
}

impl EventStreamScanner {
    /// Takes the next bytes of the stream. Ask [`Self::next_message`] until it has none before pushing more.
    pub fn push(&mut self, chunk: Bytes) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// The next whole message, or none until more bytes come.
    ///
    /// # Errors
    /// When the bytes are no such stream; it is only repeated then.
    pub fn next_message(&mut self) -> Result<Option<EventMessage>, EventStreamError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.take().inspect_err(|error| {
            self.failed = Some(*error);
            self.buffer = BytesMut::new();
        })
    }

    /// Tells what was left over at the end of the stream.
    ///
    /// # Errors
    /// As [`Self::next_message`].
    pub fn finish(&mut self) -> Result<Remainder, EventStreamError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.buffer.is_empty() => Ok(Remainder::Nothing),
            None => Ok(Remainder::Cut),
        }
    }

    fn take(&mut self) -> Result<Option<EventMessage>, EventStreamError> {
        let Some(mut prelude) = self.buffer.get(..PRELUDE) else { return Ok(None) };
        let checked = crc32fast::hash(prelude.get(..8).unwrap_or_default());
        let (total, headers, checksum) = (prelude.get_u32(), prelude.get_u32(), prelude.get_u32());
        if checked != checksum {
            return Err(EventStreamError::Damaged);
        }
        let (total, headers) = (as_size(total), as_size(headers));
        if total > MAX_MESSAGE_BYTES {
            return Err(EventStreamError::TooLarge(MAX_MESSAGE_BYTES));
        }
        if total < PRELUDE.saturating_add(CHECKSUM).saturating_add(headers) {
            return Err(EventStreamError::Malformed);
        }
        if self.buffer.len() < total {
            return Ok(None);
        }
        Self::read(self.buffer.split_to(total).freeze(), headers).map(Some)
    }

    /// `message` is whole and as long as its prelude says.
    fn read(message: Bytes, headers: usize) -> Result<EventMessage, EventStreamError> {
        let end = message.len().saturating_sub(CHECKSUM);
        let checksum = message.slice(end..).get_u32();
        if crc32fast::hash(message.get(..end).unwrap_or_default()) != checksum {
            return Err(EventStreamError::Damaged);
        }
        let start = PRELUDE.saturating_add(headers);
        let labels = Labels::read(message.slice(PRELUDE..start)).ok_or(EventStreamError::Malformed)?;
        Ok(labels.name(message.slice(start..end)))
    }
}

fn as_size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The headers that say what a message is.
#[derive(Debug, Default)]
struct Labels {
    message_type: String,
    event_type: String,
    exception_type: String,
    error_code: String,
    error_message: String,
}

impl Labels {
    fn read(mut bytes: Bytes) -> Option<Self> {
        let mut labels = Self::default();
        while !bytes.is_empty() {
            let length = usize::from(bytes.try_get_u8().ok()?);
            let name = split(&mut bytes, length)?;
            let kind = bytes.try_get_u8().ok()?;
            let length = match kind {
                0 | 1 => 0,
                2 => 1,
                3 => 2,
                4 => 4,
                5 | 8 => 8,
                6 | 7 => usize::from(bytes.try_get_u16().ok()?),
                9 => 16,
                _ => return None,
            };
            let value = split(&mut bytes, length)?;
            if kind == 7 {
                labels.set(&name, &value);
            }
        }
        Some(labels)
    }

    fn set(&mut self, name: &[u8], value: &[u8]) {
        let label = match name {
            b":message-type" => &mut self.message_type,
            b":event-type" => &mut self.event_type,
            b":exception-type" => &mut self.exception_type,
            b":error-code" => &mut self.error_code,
            b":error-message" => &mut self.error_message,
            _ => return,
        };
        *label = String::from_utf8_lossy(value).into_owned();
    }

    fn name(self, payload: Bytes) -> EventMessage {
        match self.message_type.as_str() {
            "exception" => EventMessage { name: as_exception(self.exception_type), failed: true, payload },
            "error" => {
                let words = serde_json::json!({ "message": self.error_message }).to_string();
                let payload = if payload.is_empty() { Bytes::from(words) } else { payload };
                EventMessage { name: as_exception(self.error_code), failed: true, payload }
            }
            _ => EventMessage { name: self.event_type, failed: false, payload },
        }
    }
}

/// Failures are told from events by the end of their name.
fn as_exception(name: String) -> String {
    if name.ends_with("Exception") || name.ends_with("Error") { name } else { format!("{name}Exception") }
}

fn split(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (bytes.len() >= length).then(|| bytes.split_to(length))
}
