//! From a behaviour to the exact bytes, pauses and ends of one answer: pure, so that every fault can be read and tested here.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::behaviour::{Behaviour, Kind};
use super::gzip;
use super::render::{self, Events, Shape};

/// One thing to do on the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Write(Bytes),
    /// The head of the answer is out: take the time.
    HeadSent,
    Sleep(Duration),
    /// The same bytes so many times.
    Repeat(Bytes, u64),
    /// The same bytes until the client leaves.
    Forever(Bytes, Duration),
    /// Byte by byte with pauses.
    Dribble(Bytes, Duration),
    /// Nothing more until the client leaves.
    Hang,
    /// RST.
    Reset,
    /// FIN.
    Close,
}

use Step::{Close, Dribble, Forever, Hang, HeadSent, Repeat, Reset, Sleep, Write};

const JSON: &str = "application/json";
const SSE: &str = "text/event-stream; charset=utf-8";
const DONE: &str = "data: [DONE]\n\n";
const BLOCK: usize = 64 * 1024;
const LOGIN_PAGE: &str =
    "<!DOCTYPE html><html><head><title>Sign in</title></head><body><form>Sign in</form></body></html>";
/// Bytes written before a reset get this long to arrive, for a reset may discard them.
const SETTLE: Duration = Duration::from_millis(5);

/// The steps of the answer; after them the connection serves the next request, unless they ended it.
pub(super) fn plan(behaviour: &Behaviour, shape: &Shape) -> Vec<Step> {
    let answer = Answer { behaviour, shape };
    let mut steps = match behaviour.first_delay_ms {
        0 => Vec::new(),
        ms => vec![Sleep(Duration::from_millis(ms))],
    };
    steps.extend(answer.steps());
    steps
}

struct Answer<'a> {
    behaviour: &'a Behaviour,
    shape: &'a Shape,
}

impl Answer<'_> {
    fn steps(&self) -> Vec<Step> {
        match self.behaviour.kind {
            Kind::Status => self.status(),
            Kind::HangBeforeHead => vec![Hang],
            Kind::Refuse | Kind::Reset => vec![Reset],
            Kind::FinBeforeAnyByte => vec![Close],
            Kind::Empty200 => self.whole(self.content_type(), Vec::new()),
            Kind::ErrorIn200 => self.whole(JSON, render::error(self.behaviour).into()),
            Kind::InvalidJson => self.whole(JSON, br#"{"id":"chatcmpl-mock","object":"chat.comp"#.to_vec()),
            Kind::Html200 => self.whole("text/html; charset=utf-8", LOGIN_PAGE.into()),
            Kind::Redirect => self.redirect(),
            Kind::CutContentLength => self.cut_content_length(),
            Kind::HugeBody => self.huge_body(),
            Kind::GzipBomb => self.gzip_bomb(),
            Kind::Dribble => self.dribble(),
            Kind::Storm1xx => self.storm(),
            _ if self.shape.stream => self.streamed(),
            _ => self.plain(),
        }
    }

    // --- whole bodies ---

    fn plain(&self) -> Vec<Step> {
        let body = self.body(true);
        let half = body.len() / 2;
        let begin = || vec![self.head(JSON, &framing(body.len())), HeadSent];
        match self.behaviour.kind {
            Kind::HangAfterHead => ended(begin(), [Hang]),
            Kind::StallAfter => ended(begin(), [write(&body[..half]), Hang]),
            Kind::RstAfter => ended(begin(), [write(&body[..half]), Sleep(SETTLE), Reset]),
            Kind::CutChunked => {
                ended(vec![self.head(JSON, CHUNKED), HeadSent], [framed(&body[..half]), Sleep(SETTLE), Close])
            }
            Kind::NoEndMarker | Kind::DoneWithoutFinish | Kind::RoleOnlyThenEof => self.whole(JSON, self.body(false)),
            Kind::EmptySse => self.whole(JSON, Vec::new()),
            Kind::ErrorEventFirst | Kind::ErrorEventMid => self.whole(JSON, render::error(self.behaviour).into()),
            Kind::InvalidJsonEvent => self.whole(JSON, body[..half].to_vec()),
            Kind::EndlessComments => self.forever(JSON, " \n"),
            Kind::HugeLine => self.huge_body(),
            Kind::Crlf => self.whole(JSON, pretty(&body)),
            Kind::OneByteChunks => self.chunked(JSON, body.chunks(1)),
            Kind::SplitUtf8 => self.chunked(JSON, cut_in_characters(&body)),
            Kind::Bom => self.whole(JSON, [BOM, &body].concat()),
            Kind::InvalidUtf8 => self.whole(JSON, spoiled(&body)),
            Kind::HeaderBomb => {
                vec![self.head(JSON, &(self.many_headers() + &framing(body.len()))), HeadSent, write(&body)]
            }
            Kind::WrongContentType => self.whole("text/plain", body),
            _ => self.whole(JSON, body),
        }
    }

    fn body(&self, finish: bool) -> Vec<u8> {
        render::completion(self.behaviour, self.shape, &self.words(), finish).to_string().into_bytes()
    }

    /// Head and body in one write.
    fn whole(&self, content_type: &str, body: Vec<u8>) -> Vec<Step> {
        let head = self.head_text("200 OK", content_type, &framing(body.len()));
        vec![write(&[head.as_bytes(), &body].concat()), HeadSent]
    }

    fn status(&self) -> Vec<Step> {
        let body = render::error(self.behaviour);
        let mut extra = framing(body.len());
        for (name, value) in
            [("Retry-After", &self.behaviour.retry_after), ("retry-after-ms", &self.behaviour.retry_after_ms)]
        {
            extra.extend(value.iter().map(|value| format!("{name}: {value}\r\n")));
        }
        let status = format!("{} {}", self.behaviour.code, reason(self.behaviour.code));
        vec![write((self.head_text(&status, JSON, &extra) + &body).as_bytes()), HeadSent]
    }

    fn redirect(&self) -> Vec<Step> {
        let location = self.behaviour.location.as_deref().unwrap_or("http://127.0.0.1:9/elsewhere");
        let extra = format!("Location: {location}\r\n{}", framing(0));
        vec![write(self.head_text("302 Found", "text/html", &extra).as_bytes()), HeadSent]
    }

    fn cut_content_length(&self) -> Vec<Step> {
        let body = if self.shape.stream { self.sse_text() } else { self.body(true) };
        let head = self.head(self.content_type(), &framing(body.len() + 500));
        vec![head, HeadSent, write(&body), Sleep(SETTLE), Close]
    }

    fn huge_body(&self) -> Vec<Step> {
        let blocks = self.behaviour.bytes.unwrap_or(1 << 30).div_ceil(BLOCK as u64);
        let (opening, closing) = (&br#"{"id":"chatcmpl-mock","object":"chat.completion","padding":""#[..], &b"\"}"[..]);
        let length = opening.len() as u64 + blocks * BLOCK as u64 + closing.len() as u64;
        let head = self.head(JSON, &format!("Content-Length: {length}\r\n"));
        vec![head, HeadSent, write(opening), Repeat(vec![b'a'; BLOCK].into(), blocks), write(closing)]
    }

    fn gzip_bomb(&self) -> Vec<Step> {
        let bytes = self.behaviour.bytes.unwrap_or(64 << 20);
        let body = if self.shape.stream {
            gzip::bomb(
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"",
                bytes,
                "\"}}]}\n\ndata: [DONE]\n\n",
            )
        } else {
            gzip::bomb(
                "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"",
                bytes,
                "\"},\"finish_reason\":\"stop\"}]}",
            )
        };
        let extra = format!("Content-Encoding: gzip\r\n{}", framing(body.len()));
        vec![self.head(self.content_type(), &extra), HeadSent, write(&body)]
    }

    fn dribble(&self) -> Vec<Step> {
        let body = if self.shape.stream { self.sse_text() } else { self.body(true) };
        let head = self.head_text("200 OK", self.content_type(), &framing(body.len()));
        let pause = self.behaviour.delay_or(1);
        let slow = |bytes: &[u8]| Dribble(Bytes::copy_from_slice(bytes), pause);
        match self.behaviour.part.as_str() {
            "head" => vec![slow(head.as_bytes()), HeadSent, write(&body)],
            "body" => vec![write(head.as_bytes()), HeadSent, slow(&body)],
            _ => vec![slow(head.as_bytes()), HeadSent, slow(&body)],
        }
    }

    fn storm(&self) -> Vec<Step> {
        let interim = Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n");
        let mut steps = vec![Repeat(interim, self.behaviour.n.unwrap_or(1000) as u64)];
        steps.extend(if self.shape.stream { self.streamed() } else { self.plain() });
        steps
    }

    // --- streams ---

    fn streamed(&self) -> Vec<Step> {
        let events = render::events(self.behaviour, self.shape, &self.words());
        let some = self.behaviour.n.unwrap_or(2).min(events.content.len());
        let begun = |n: usize| self.begin(&events, n);
        match self.behaviour.kind {
            Kind::HangAfterHead => vec![self.head(SSE, CHUNKED), HeadSent, Hang],
            Kind::StallAfter => ended(begun(some), [Hang]),
            Kind::CutChunked => ended(begun(some), [Sleep(SETTLE), Close]),
            Kind::RstAfter => ended(begun(some), [Sleep(SETTLE), Reset]),
            Kind::NoEndMarker => ended(begun(events.content.len()), [end()]),
            Kind::DoneWithoutFinish => ended(begun(events.content.len()), [framed(DONE.as_bytes()), end()]),
            Kind::FinishWithoutDone => ended(begun(events.content.len()), [event(&events.finish), end()]),
            Kind::EmptySse => vec![self.head(SSE, CHUNKED), HeadSent, end()],
            Kind::RoleOnlyThenEof => ended(begun(0), [end()]),
            Kind::ErrorEventFirst => {
                vec![self.head(SSE, CHUNKED), HeadSent, event(&render::error(self.behaviour)), end()]
            }
            Kind::ErrorEventMid => ended(begun(some), [event(&render::error(self.behaviour)), end()]),
            Kind::InvalidJsonEvent => self.broken_event(events, some),
            Kind::EndlessComments => self.forever(SSE, ": still here\n\n"),
            Kind::HugeLine => self.huge_line(&events),
            Kind::Crlf => self.chunked(SSE, [self.sse_text_with("\r\n").as_slice()]),
            Kind::OneByteChunks => self.chunked(SSE, self.sse_text().chunks(1)),
            Kind::SplitUtf8 => self.chunked(SSE, cut_in_characters(&self.sse_text())),
            Kind::Bom => self.chunked(SSE, [BOM, &self.sse_text()]),
            Kind::InvalidUtf8 => self.chunked(SSE, [spoiled(&self.sse_text()).as_slice()]),
            Kind::HeaderBomb => {
                vec![self.head(SSE, &(self.many_headers() + CHUNKED)), HeadSent, framed(&self.sse_text()), end()]
            }
            Kind::WrongContentType => self.chunked("text/plain", [self.sse_text().as_slice()]),
            _ => self.complete(&events),
        }
    }

    fn complete(&self, events: &Events) -> Vec<Step> {
        let mut steps = self.begin(events, events.content.len());
        steps.push(event(&events.finish));
        steps.extend(events.usage.iter().map(|usage| event(usage)));
        steps.push(joined(&[framed(DONE.as_bytes()), end()]));
        if self.behaviour.coalesce { vec![joined(&steps), HeadSent] } else { steps }
    }

    /// Head, role and the first `n` content events. Head and role share a write, as servers send them.
    fn begin(&self, events: &Events, n: usize) -> Vec<Step> {
        let mut steps = vec![joined(&[self.head(SSE, CHUNKED), event(&events.role)]), HeadSent];
        for (place, content) in events.content.iter().take(n).enumerate() {
            let pause = self.behaviour.delay_or(0);
            if place > 0 && !pause.is_zero() {
                steps.push(Sleep(pause));
            }
            steps.push(event(content));
        }
        steps
    }

    fn broken_event(&self, mut events: Events, n: usize) -> Vec<Step> {
        if let Some(victim) = events.content.get_mut(n) {
            victim.truncate(victim.len() / 2);
        }
        self.complete(&events)
    }

    fn huge_line(&self, events: &Events) -> Vec<Step> {
        let blocks = self.behaviour.bytes.unwrap_or(20 << 20).div_ceil(BLOCK as u64);
        let block = Bytes::from(frame(&vec![b'a'; BLOCK]));
        ended(
            self.begin(events, 0),
            [framed(b"data: {\"padding\":\""), Repeat(block, blocks), framed(b"\"}\n\n"), end()],
        )
    }

    fn forever(&self, content_type: &str, text: &str) -> Vec<Step> {
        let pause = self.behaviour.delay_or(10);
        vec![self.head(content_type, CHUNKED), HeadSent, Forever(frame(text.as_bytes()).into(), pause)]
    }

    fn chunked<'a>(&self, content_type: &str, parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<Step> {
        let body: Vec<u8> = parts.into_iter().filter(|part| !part.is_empty()).flat_map(frame).collect();
        vec![self.head(content_type, CHUNKED), HeadSent, write(&body), end()]
    }

    fn sse_text(&self) -> Vec<u8> {
        self.sse_text_with("\n")
    }

    /// The whole event stream without chunk framing.
    fn sse_text_with(&self, newline: &str) -> Vec<u8> {
        let events = render::events(self.behaviour, self.shape, &self.words());
        let all = std::iter::once(&events.role).chain(&events.content).chain([&events.finish]).chain(&events.usage);
        let text: String = all.map(|event| format!("data: {event}{newline}{newline}")).collect();
        (text + &DONE.replace('\n', newline)).into_bytes()
    }

    // --- parts ---

    fn words(&self) -> Vec<String> {
        match self.behaviour.kind {
            Kind::HugeToken => {
                let bytes = usize::try_from(self.behaviour.bytes.unwrap_or(2 << 20)).unwrap_or(usize::MAX);
                vec!["a".repeat(bytes)]
            }
            Kind::SplitUtf8 if self.behaviour.text.is_none() => vec!["Grüße ".into(), "aus ".into(), "東京 🚀".into()],
            _ => render::words(self.behaviour),
        }
    }

    fn content_type(&self) -> &'static str {
        if self.shape.stream { SSE } else { JSON }
    }

    fn head(&self, content_type: &str, extra: &str) -> Step {
        write(self.head_text("200 OK", content_type, extra).as_bytes())
    }

    fn head_text(&self, status: &str, content_type: &str, extra: &str) -> String {
        let own = self.behaviour.header.iter().map(|header| format!("{header}\r\n")).collect::<String>();
        format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nx-request-id: req-mock\r\n{own}{extra}\r\n")
    }

    fn many_headers(&self) -> String {
        if let Some(bytes) = self.behaviour.bytes {
            return format!("x-padding: {}\r\n", "a".repeat(usize::try_from(bytes).unwrap_or(usize::MAX)));
        }
        (0..self.behaviour.n.unwrap_or(5000)).map(|n| format!("x-padding-{n}: {n}\r\n")).collect()
    }
}

const CHUNKED: &str = "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n";
const BOM: &[u8] = b"\xef\xbb\xbf";

fn framing(length: usize) -> String {
    format!("Content-Length: {length}\r\n")
}

fn write(bytes: &[u8]) -> Step {
    Write(Bytes::copy_from_slice(bytes))
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn framed(bytes: &[u8]) -> Step {
    Write(frame(bytes).into())
}

fn event(payload: &str) -> Step {
    framed(format!("data: {payload}\n\n").as_bytes())
}

/// The last chunk.
fn end() -> Step {
    write(b"0\r\n\r\n")
}

fn ended<const N: usize>(mut steps: Vec<Step>, end: [Step; N]) -> Vec<Step> {
    steps.extend(end);
    steps
}

/// The written bytes of these steps in one write.
fn joined(steps: &[Step]) -> Step {
    let writes = steps.iter().filter_map(|step| if let Write(bytes) = step { Some(bytes.as_ref()) } else { None });
    Write(writes.collect::<Vec<_>>().concat().into())
}

fn pretty(body: &[u8]) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or(json!(null));
    serde_json::to_string_pretty(&value).unwrap_or_default().replace('\n', "\r\n").into_bytes()
}

/// Cut after the first byte of every character that has several.
fn cut_in_characters(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte >= 0xc0).collect()
}

/// The first word of the mock's text with two bytes that no UTF-8 holds.
fn spoiled(text: &[u8]) -> Vec<u8> {
    const WORD: &[u8] = b"tok0";
    match memchr::memmem::find(text, WORD) {
        Some(at) => [&text[..at], b"tok\xff\xfe", &text[at + WORD.len()..]].concat(),
        None => text.to_vec(),
    }
}

fn reason(code: u16) -> &'static str {
    match code {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Payload Too Large",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        529 => "Overloaded",
        _ => "Status",
    }
}
