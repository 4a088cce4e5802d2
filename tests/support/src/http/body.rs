//! Where a body ends: by its length, by its last chunk, or by the end of the connection.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use super::Head;

/// What is still to come of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Empty,
    Length(u64),
    UntilClose,
    /// The line with the size of the next chunk.
    ChunkSize,
    ChunkData(usize),
    /// The line end behind a chunk.
    ChunkEnd,
    Trailer,
}

impl Body {
    pub(crate) fn of(head: &Head) -> io::Result<Self> {
        if head.status == 204 || head.status == 304 {
            return Ok(Body::Empty);
        }
        if head.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Ok(Body::ChunkSize);
        }
        match head.header("content-length").map(str::parse) {
            Some(Ok(0)) => Ok(Body::Empty),
            Some(Ok(length)) => Ok(Body::Length(length)),
            Some(Err(_)) => Err(bad("a bad Content-Length")),
            None => Ok(Body::UntilClose),
        }
    }

    pub(crate) fn is_done(self) -> bool {
        self == Body::Empty
    }

    pub(crate) fn ends_by_close(self) -> bool {
        self == Body::UntilClose
    }

    /// The next piece that is in the buffer; nothing means read more, or done.
    pub(crate) fn take(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
        loop {
            match *self {
                Body::Empty => return Ok(None),
                _ if buffer.is_empty() => return Ok(None),
                Body::UntilClose => return Ok(Some(buffer.split().freeze())),
                Body::Length(left) => {
                    let part = buffer.split_to(buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                    let left = left - part.len() as u64;
                    *self = if left == 0 { Body::Empty } else { Body::Length(left) };
                    return Ok(Some(part.freeze()));
                }
                Body::ChunkData(left) => {
                    let part = buffer.split_to(buffer.len().min(left));
                    *self = if part.len() == left { Body::ChunkEnd } else { Body::ChunkData(left - part.len()) };
                    return Ok(Some(part.freeze()));
                }
                Body::ChunkSize | Body::ChunkEnd | Body::Trailer => {
                    let Some(end) = memmem::find(buffer, b"\r\n") else { return Ok(None) };
                    *self = self.after_line(&buffer.split_to(end))?;
                    buffer.advance(2);
                }
            }
        }
    }

    fn after_line(self, line: &[u8]) -> io::Result<Self> {
        match self {
            Body::ChunkSize => match size(line)? {
                0 => Ok(Body::Trailer),
                size => Ok(Body::ChunkData(size)),
            },
            Body::ChunkEnd if line.is_empty() => Ok(Body::ChunkSize),
            Body::ChunkEnd => Err(bad("no line end behind a chunk")),
            Body::Trailer if line.is_empty() => Ok(Body::Empty),
            other => Ok(other),
        }
    }
}

fn size(line: &[u8]) -> io::Result<usize> {
    let text = std::str::from_utf8(line).map_err(|_| bad("a chunk size that is no text"))?;
    let digits = text.split(';').next().unwrap_or("").trim();
    usize::from_str_radix(digits, 16).map_err(|_| bad("a bad chunk size"))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
