//! A small HTTP/1.1 request reader: keep-alive, Content-Length and chunked bodies, nothing allocated for a plain request.

use std::io;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memmem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAX_HEAD: usize = 256 * 1024;
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A request as it came, with the places of what the mock looks at.
#[derive(Debug)]
pub(super) struct Request {
    head: Bytes,
    parts: Parts,
    pub(super) body: Bytes,
}

#[derive(Debug, Clone, Default)]
struct Parts {
    method: Range<usize>,
    path: Range<usize>,
    authorization: Option<Range<usize>>,
    length: usize,
    chunked: bool,
    close: bool,
    expects: bool,
}

impl Request {
    pub(super) fn method(&self) -> &str {
        self.text(&self.parts.method)
    }

    /// The path with its query.
    pub(super) fn path(&self) -> &str {
        self.text(&self.parts.path)
    }

    /// The value of the bearer token, or nothing.
    pub(super) fn key(&self) -> &str {
        let value = self.parts.authorization.as_ref().map_or("", |range| self.text(range));
        value.split_once(' ').map_or(value, |(_, key)| key.trim())
    }

    pub(super) fn wants_close(&self) -> bool {
        self.parts.close
    }

    /// Names as sent, in order.
    pub(super) fn headers(&self) -> Vec<(String, String)> {
        let text = String::from_utf8_lossy(&self.head);
        let lines = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    }

    fn text(&self, range: &Range<usize>) -> &str {
        self.head.get(range.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
    }
}

/// Read one request, or nothing when the client closed between two.
pub(super) async fn read(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Option<Request>> {
    let Some(head_len) = read_head(stream, buffer).await? else { return Ok(None) };
    let parts = parse(&buffer[..head_len])?;
    if parts.length > MAX_BODY {
        return Err(bad("a body over 64 MiB"));
    }
    if parts.expects {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    if parts.chunked {
        let head = buffer.split_to(head_len).freeze();
        let body = read_chunked(stream, buffer).await?;
        return Ok(Some(Request { head, parts, body }));
    }
    let total = head_len + parts.length;
    buffer.reserve(total.saturating_sub(buffer.len()));
    while buffer.len() < total {
        more(stream, buffer).await?;
    }
    let mut head = buffer.split_to(total).freeze();
    let body = head.split_off(head_len);
    Ok(Some(Request { head, parts, body }))
}

async fn read_head(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
    let mut seen = 0;
    loop {
        if let Some(at) = memmem::find(&buffer[seen..], b"\r\n\r\n") {
            return Ok(Some(seen + at + 4));
        }
        seen = buffer.len().saturating_sub(3);
        if buffer.len() > MAX_HEAD {
            return Err(bad("a head over 256 KiB"));
        }
        buffer.reserve(4096);
        if stream.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(bad("an end inside the head")) };
        }
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<()> {
    match stream.read_buf(buffer).await? {
        0 => Err(bad("an end inside the body")),
        _ => Ok(()),
    }
}

async fn read_chunked(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Bytes> {
    let mut body = BytesMut::new();
    loop {
        let line_end = loop {
            match memmem::find(buffer, b"\r\n") {
                Some(at) => break at,
                None => more(stream, buffer).await?,
            }
        };
        let size = std::str::from_utf8(&buffer[..line_end]).ok();
        let size = size.and_then(|line| usize::from_str_radix(line.split(';').next()?.trim(), 16).ok());
        let size = size.filter(|size| body.len() + size <= MAX_BODY).ok_or_else(|| bad("a bad chunk size"))?;
        while buffer.len() < line_end + 2 + size + 2 {
            more(stream, buffer).await?;
        }
        buffer.advance(line_end + 2);
        body.extend_from_slice(&buffer.split_to(size));
        buffer.advance(2);
        if size == 0 {
            return Ok(body.freeze());
        }
    }
}

fn parse(head: &[u8]) -> io::Result<Parts> {
    let line_end = memchr(b'\r', head).ok_or_else(|| bad("no request line"))?;
    let method_end = memchr(b' ', &head[..line_end]).ok_or_else(|| bad("no path"))?;
    let path_end = memchr(b' ', &head[method_end + 1..line_end]).ok_or_else(|| bad("no version"))? + method_end + 1;
    let mut parts = Parts { method: 0..method_end, path: method_end + 1..path_end, ..Parts::default() };
    parts.close = head[path_end..line_end].ends_with(b"1.0");
    let mut at = line_end + 2;
    while let Some(end) = memchr(b'\r', &head[at..]).filter(|end| *end > 0).map(|end| at + end) {
        header(head, at..end, &mut parts)?;
        at = end + 2;
    }
    Ok(parts)
}

fn header(head: &[u8], line: Range<usize>, parts: &mut Parts) -> io::Result<()> {
    let Some(colon) = memchr(b':', &head[line.clone()]).map(|at| line.start + at) else {
        return Err(bad("a header without a colon"));
    };
    let start = colon + 1 + head[colon + 1..line.end].iter().take_while(|byte| **byte == b' ').count();
    let (name, value) = (&head[line.start..colon], &head[start..line.end]);
    if name.eq_ignore_ascii_case(b"content-length") {
        let number = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
        parts.length = number.ok_or_else(|| bad("a bad Content-Length"))?;
    } else if name.eq_ignore_ascii_case(b"authorization") {
        parts.authorization = Some(start..line.end);
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        parts.chunked = value.eq_ignore_ascii_case(b"chunked");
    } else if name.eq_ignore_ascii_case(b"connection") {
        parts.close |= value.eq_ignore_ascii_case(b"close");
    } else if name.eq_ignore_ascii_case(b"expect") {
        parts.expects = true;
    }
    Ok(())
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_head_are_found_whatever_their_case() {
        let head =
            b"POST /v1/chat/completions HTTP/1.1\r\nHOST: x\r\nauthorization:Bearer sk-1\r\nContent-LENGTH:  7\r\n\r\n";

        let request = Request { parts: parse(head).unwrap(), head: Bytes::from_static(head), body: Bytes::new() };

        assert_eq!((request.method(), request.path(), request.key()), ("POST", "/v1/chat/completions", "sk-1"));
        assert_eq!((request.parts.length, request.wants_close()), (7, false));
        assert_eq!(request.headers()[0], ("HOST".to_owned(), "x".to_owned()));
    }

    #[test]
    fn a_head_that_is_no_http_is_refused() {
        for head in [&b"\r\n\r\n"[..], b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"] {
            assert!(parse(head).is_err());
        }
    }
}
