//! A small HTTP/1.1 client on bare TCP: it shows when every byte came, and it can hang up at any moment.
//!
//! A cut body is an error here, never a short success, for that is what many of our tests ask about.

pub(crate) mod body;
mod hang_up;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use body::Body;
pub use hang_up::{HangUp, Moment, open_and_hang_up};

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    declared: Option<u64>,
}

impl Request {
    /// Without headers and body.
    pub fn new(method: &str, path: &str) -> Self {
        Request { method: method.into(), path: path.into(), headers: Vec::new(), body: Vec::new(), declared: None }
    }

    /// A GET.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A POST of a JSON value.
    pub fn post(path: &str, body: &Value) -> Self {
        Self::new("POST", path).json(body)
    }

    /// A chat request of one user message to `/v1/chat/completions`.
    pub fn chat(model: &str, prompt: &str, stream: bool) -> Self {
        let message = serde_json::json!({"role": "user", "content": prompt});
        Self::post(
            "/v1/chat/completions",
            &serde_json::json!({"model": model, "messages": [message], "stream": stream}),
        )
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With a bearer key.
    pub fn key(self, key: &str) -> Self {
        self.header("Authorization", &format!("Bearer {key}"))
    }

    /// With a JSON body.
    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.header("Content-Type", "application/json")
    }

    /// With any body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With another length in its head than it has.
    pub fn declared(mut self, length: u64) -> Self {
        self.declared = Some(length);
        self
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self, host: SocketAddr) -> Vec<u8> {
        let lines: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = self.declared.unwrap_or(self.body.len() as u64);
        let (method, path) = (&self.method, &self.path);
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}Content-Length: {length}\r\n\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// The final status.
    pub status: u16,
    /// Names as sent, in order.
    pub headers: Vec<(String, String)>,
    /// How many interim (1xx) answers came before it.
    pub interim: usize,
}

impl Head {
    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status and headers.
    pub head: Head,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// The final status.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in the body {:?}", self.text()))
    }

    /// The payloads of the `data:` lines of an event stream.
    pub fn events(&self) -> Vec<String> {
        events(&self.text())
    }
}

/// The payloads of the `data:` lines.
pub fn events(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("data:"));
    lines.map(|payload| payload.trim_start().to_owned()).collect()
}

/// The text that the content deltas of an event stream make together.
pub fn content(events: &[String]) -> String {
    let chunks = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    chunks.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}

/// Ask once on a connection of its own.
pub async fn request(addr: SocketAddr, request: &Request) -> io::Result<Response> {
    Connection::open(addr).await?.ask(request).await
}

/// Ask on a connection of its own and read the answer piece by piece.
pub async fn stream(addr: SocketAddr, request: &Request) -> io::Result<Stream> {
    let mut connection = Connection::open(addr).await?;
    connection.send(request).await?;
    let sent = Instant::now();
    let head = connection.head().await?;
    Ok(Stream { head, sent, connection })
}

/// A connection that serves one request after another.
#[derive(Debug)]
pub struct Connection {
    addr: SocketAddr,
    stream: TcpStream,
    buffer: BytesMut,
    body: Body,
}

impl Connection {
    /// Connect, with Nagle's delay off.
    pub async fn open(addr: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(addr).await?, addr)
    }

    /// Connect from an address of this machine, such as 127.0.0.2, so that the server sees another client.
    pub async fn open_from(own: Ipv4Addr, addr: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((own, 0)))?;
        Self::over(socket.connect(addr).await?, addr)
    }

    fn over(stream: TcpStream, addr: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Connection { addr, stream, buffer: BytesMut::new(), body: Body::Empty })
    }

    /// Send a request and read its whole answer.
    pub async fn ask(&mut self, request: &Request) -> io::Result<Response> {
        self.send(request).await?;
        let head = self.head().await?;
        let mut body = Vec::new();
        while let Some(part) = self.next().await? {
            body.extend_from_slice(&part);
        }
        Ok(Response { head, body })
    }

    /// Send a request.
    pub async fn send(&mut self, request: &Request) -> io::Result<()> {
        self.send_bytes(&request.to_bytes(self.addr)).await
    }

    /// Send any bytes: half a request, or none at all.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Read the head of the final answer.
    pub async fn head(&mut self) -> io::Result<Head> {
        let mut interim = 0;
        loop {
            let end = loop {
                match memmem::find(&self.buffer, b"\r\n\r\n") {
                    Some(at) => break at + 4,
                    None => self.more().await?,
                }
            };
            let (status, headers) = parse(&self.buffer.split_to(end))?;
            if (100..200).contains(&status) {
                interim += 1;
                continue;
            }
            let head = Head { status, headers, interim };
            self.body = Body::of(&head)?;
            return Ok(head);
        }
    }

    /// The next piece of the body as it came, or nothing at its proper end.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.body.is_done() {
                return Ok(None);
            }
            if let Some(part) = self.body.take(&mut self.buffer)? {
                return Ok(Some(part));
            }
            if self.body.is_done() {
                return Ok(None);
            }
            match self.more().await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && self.body.ends_by_close() => {
                    self.body = Body::Empty;
                }
                other => other?,
            }
        }
    }

    /// Close in the given way.
    pub fn hang_up(self, how: HangUp) {
        if how == HangUp::Rst {
            drop(self.stream.set_zero_linger());
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        self.buffer.reserve(64 * 1024);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed before the end of its answer")),
            _ => Ok(()),
        }
    }
}

/// An answer that is still coming.
#[derive(Debug)]
pub struct Stream {
    /// Status and headers.
    pub head: Head,
    /// When the request had been sent.
    pub sent: Instant,
    connection: Connection,
}

/// A piece of a body and the moment it was read.
#[derive(Debug, Clone)]
pub struct Piece {
    /// When it was read.
    pub at: Instant,
    /// The bytes, without chunk framing.
    pub bytes: Bytes,
}

/// What was read of a stream, and how it ended.
#[derive(Debug)]
pub struct Tail {
    /// All that came.
    pub text: String,
    /// The error that cut it, or nothing at a proper end.
    pub cut: Option<io::Error>,
}

impl Tail {
    /// The payloads of the `data:` lines.
    pub fn events(&self) -> Vec<String> {
        events(&self.text)
    }
}

impl Stream {
    /// The next piece, or nothing at the proper end.
    pub async fn next(&mut self) -> io::Result<Option<Piece>> {
        let part = self.connection.next().await?;
        Ok(part.map(|bytes| Piece { at: Instant::now(), bytes }))
    }

    /// Read on until the text holds `needle`; what was read so far is the answer.
    pub async fn read_until(&mut self, needle: &str) -> io::Result<String> {
        let mut text = Vec::new();
        while memmem::find(&text, needle.as_bytes()).is_none() {
            match self.next().await? {
                Some(piece) => text.extend_from_slice(&piece.bytes),
                None => return Err(io::Error::other(format!("the stream ended without {needle:?}"))),
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Read to the end, whichever it is.
    pub async fn rest(mut self) -> Tail {
        let mut text = Vec::new();
        let cut = loop {
            match self.next().await {
                Ok(Some(piece)) => text.extend_from_slice(&piece.bytes),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        Tail { text: String::from_utf8_lossy(&text).into_owned(), cut }
    }

    /// Close in the given way.
    pub fn hang_up(self, how: HangUp) {
        self.connection.hang_up(how);
    }
}

fn parse(head: &[u8]) -> io::Result<(u16, Vec<(String, String)>)> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.trim_end().split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status =
        status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP answer: {text:?}")))?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    Ok((status, headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()))
}
