//! A server that answers as a test says, for places that are no chat completions: tokens, rawPredict, plain texts.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    head: String,
    pub body: String,
}

impl Asked {
    /// The value of a header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next().unwrap_or("")
    }
}

/// Status and body for the nth request (from 1).
type Script = dyn Fn(usize, &Asked) -> (u16, String) + Send + Sync;

/// The server; it ends with the test's runtime.
#[derive(Clone)]
pub struct Scripted {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    pub async fn start(script: impl Fn(usize, &Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { addr: listener.local_addr().unwrap(), asked: Arc::default() };
        let (script, asked): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&server.asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&asked)));
            }
        });
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub async fn asked(&self) -> Vec<Asked> {
        self.asked.lock().await.clone()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Script>, asked: Arc<Mutex<Vec<Asked>>>) {
    while let Some(request) = read(&mut stream).await {
        let nth = {
            let mut all = asked.lock().await;
            all.push(request.clone());
            all.len()
        };
        let (status, body) = script(nth, &request);
        let kind = if body.starts_with("event:") { "text/event-stream" } else { "application/json" };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
        if stream.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let asked = Asked { path, head: head.to_owned(), body: body.to_owned() };
            if body.len() >= asked.header("content-length").parse().unwrap_or(0) {
                return Some(asked);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
