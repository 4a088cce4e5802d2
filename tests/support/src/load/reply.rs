//! One connection of the load generator: send the prepared bytes, read one answer, note what it was and when.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use memchr::{memchr, memmem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::body::Body;

/// What one answer was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) latency: Duration,
    pub(super) first_token: Option<Duration>,
    pub(super) largest_gap: Duration,
    pub(super) bytes: u64,
}

/// Why one request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    Status(u16),
    /// Refused, reset, cut, or no HTTP.
    Io,
    /// A proper end without the end marker of the protocol.
    Incomplete,
}

/// A connection that opens when it is needed.
pub(super) struct Line {
    addr: SocketAddr,
    marks: Marks,
    open: Option<(TcpStream, BytesMut)>,
}

impl Line {
    pub(super) fn new(addr: SocketAddr, marks: Marks) -> Self {
        Line { addr, marks, open: None }
    }

    pub(super) async fn ask(&mut self, request: &[u8], stream: bool) -> Result<Seen, Failed> {
        let begin = Instant::now();
        match self.exchange(request, begin, stream).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.open = None;
                Err(Failed::Io)
            }
        }
    }

    async fn exchange(&mut self, request: &[u8], begin: Instant, stream: bool) -> io::Result<Result<Seen, Failed>> {
        let (mut socket, mut buffer) = match self.open.take() {
            Some(open) => open,
            None => (connect(self.addr).await?, BytesMut::with_capacity(64 * 1024)),
        };
        socket.write_all(request).await?;
        let (head, mut body) = read_head(&mut socket, &mut buffer).await?;
        let mut scan = Scan::new(begin, self.marks);
        while !body.is_done() {
            match body.take(&mut buffer)? {
                Some(piece) => scan.piece(&piece),
                None if body.is_done() => {}
                None => more(&mut socket, &mut buffer).await?,
            }
        }
        if !head.close {
            self.open = Some((socket, buffer));
        }
        Ok(scan.outcome(head.status, stream))
    }
}

async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(addr).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn more(socket: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<()> {
    buffer.reserve(16 * 1024);
    match socket.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

struct Head {
    status: u16,
    close: bool,
}

async fn read_head(socket: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<(Head, Body)> {
    loop {
        match memmem::find(buffer, b"\r\n\r\n") {
            Some(end) => return parse(&buffer.split_to(end + 4)),
            None => more(socket, buffer).await?,
        }
    }
}

fn parse(head: &[u8]) -> io::Result<(Head, Body)> {
    let status = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let status = status.ok_or(io::ErrorKind::InvalidData)?;
    let (mut body, mut close) = (None, false);
    let mut rest = head;
    while let Some(end) = memchr(b'\n', rest) {
        let (line, after) = (rest[..end].trim_ascii_end(), &rest[end + 1..]);
        if let Some(value) = value_of(line, b"content-length:") {
            let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            body = Some(length.map_or(Body::Empty, |n| if n == 0 { Body::Empty } else { Body::Length(n) }));
        } else if value_of(line, b"transfer-encoding:").is_some() {
            body = Some(Body::ChunkSize);
        } else if let Some(value) = value_of(line, b"connection:") {
            close = value.eq_ignore_ascii_case(b"close");
        }
        rest = after;
    }
    Ok((Head { status, close }, body.ok_or(io::ErrorKind::InvalidData)?))
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// Looks for the first content and the end marker, also where they are cut between two pieces.
struct Scan {
    marks: Marks,
    begin: Instant,
    last: Option<Instant>,
    first_token: Option<Duration>,
    largest_gap: Duration,
    done: bool,
    bytes: u64,
    tail: Vec<u8>,
}

/// How a format writes its content and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    content: &'static [u8],
    end: &'static [u8],
}

impl Marks {
    const CHAT: Self = Self { content: b"\"content\":\"", end: b"[DONE]" };
    const ANTHROPIC: Self = Self { content: b"\"text\":\"", end: b"\"message_stop\"" };

    /// Of the format that is spoken under this path.
    pub(super) fn of_path(path: &str) -> Self {
        if path.ends_with("/messages") { Self::ANTHROPIC } else { Self::CHAT }
    }
}

/// Longer than all needles.
const OVERLAP: usize = 20;

impl Scan {
    fn new(begin: Instant, marks: Marks) -> Self {
        let (largest_gap, done, bytes) = Default::default();
        Scan {
            marks,
            begin,
            last: None,
            first_token: None,
            largest_gap,
            done,
            bytes,
            tail: Vec::with_capacity(2 * OVERLAP),
        }
    }

    fn piece(&mut self, piece: &[u8]) {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            self.largest_gap = self.largest_gap.max(now - last);
        }
        self.bytes += piece.len() as u64;
        self.tail.extend_from_slice(&piece[..piece.len().min(OVERLAP)]);
        let marks = self.marks;
        if self.first_token.is_none() && (has_content(&self.tail, marks) || has_content(piece, marks)) {
            self.first_token = Some(now - self.begin);
        }
        self.done |= [&self.tail, piece].iter().any(|text| memmem::find(text, marks.end).is_some());
        if piece.len() >= OVERLAP {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - OVERLAP..]);
        } else {
            self.tail.drain(..self.tail.len().saturating_sub(OVERLAP));
        }
    }

    fn outcome(self, status: u16, stream: bool) -> Result<Seen, Failed> {
        match status {
            200 if stream && !self.done => Err(Failed::Incomplete),
            200 => Ok(Seen {
                latency: self.begin.elapsed(),
                first_token: self.first_token,
                largest_gap: self.largest_gap,
                bytes: self.bytes,
            }),
            status => Err(Failed::Status(status)),
        }
    }
}

/// A content delta that is not empty; the role delta has an empty one.
fn has_content(text: &[u8], marks: Marks) -> bool {
    let is_text = |at: usize| text.get(at + marks.content.len()).is_some_and(|next| *next != b'"');
    memmem::find_iter(text, marks.content).any(is_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_and_the_end_are_found_wherever_the_pieces_are_cut() {
        let text =
            b"data: {\"delta\":{\"content\":\"\"}}\n\ndata: {\"delta\":{\"content\":\"hi\"}}\n\ndata: [DONE]\n\n";

        for size in 1..text.len() {
            let mut scan = Scan::new(Instant::now(), Marks::CHAT);
            text.chunks(size).for_each(|piece| scan.piece(piece));

            assert!(scan.first_token.is_some() && scan.done, "pieces of {size}");
        }
    }

    #[test]
    fn an_empty_role_delta_is_no_content_and_a_prefix_of_the_marker_no_end() {
        let mut scan = Scan::new(Instant::now(), Marks::CHAT);

        b"data: {\"delta\":{\"content\":\"\"}}\n\ndata: [DON".chunks(3).for_each(|piece| scan.piece(piece));

        assert!(scan.first_token.is_none() && !scan.done);
    }
}
