//! Servers written for one test: a closure per connection, and what they saw.

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_http::header::HeaderMap;
use awc::http::Method;
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use url::Url;

use crate::upstream::{ClientFactory, CollectLimits, Lookup, Outside, UpstreamRequest, UpstreamSettings};

/// A server and the number of connections it accepted.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) accepted: Rc<Cell<usize>>,
    pub(super) open: Rc<Cell<usize>>,
}

/// Serve each connection with `talk`, which gets its number, from 0.
pub(super) async fn serve<F>(talk: impl Fn(TcpStream, usize) -> F + 'static) -> Server
where
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (accepted, open): (Rc<Cell<usize>>, Rc<Cell<usize>>) = Default::default();
    let server = Server { address, accepted: Rc::clone(&accepted), open: Rc::clone(&open) };
    actix_rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = accepted.replace(accepted.get() + 1);
            open.set(open.get() + 1);
            let (talking, open) = (talk(stream, number), Rc::clone(&open));
            actix_rt::spawn(async move {
                talking.await;
                open.set(open.get() - 1);
            });
        }
    });
    server
}

/// Serve the same bytes to each request, then close.
pub(super) async fn answer(bytes: &'static str) -> Server {
    serve(move |mut stream, _| async move {
        read_request(&mut stream).await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
    })
    .await
}

/// Read one request, head and body; `None` when the peer has closed.
pub(super) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut seen = Vec::new();
    loop {
        if stream.read_buf(&mut seen).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&seen).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().to_owned()))
            .map_or(0, |length| length.parse::<usize>().unwrap());
        if body.len() >= length {
            return Some(text);
        }
    }
}

/// Wait until the peer closes.
pub(super) async fn until_closed(stream: &mut TcpStream) {
    let mut rest = [0; 1024];
    while matches!(stream.read(&mut rest).await, Ok(count) if count > 0) {}
}

pub(super) fn settings(exceptions: &[&str]) -> UpstreamSettings {
    UpstreamSettings {
        allow_private_hosts: exceptions.iter().map(ToString::to_string).collect(),
        connect_timeout: Duration::from_millis(500),
        handshake_timeout: Duration::from_millis(500),
        ..UpstreamSettings::default()
    }
}

/// A factory that may reach the test servers.
pub(super) fn factory() -> ClientFactory {
    ClientFactory::new(settings(&["127.0.0.1:*"])).unwrap()
}

/// A factory for which each name is this machine.
pub(super) fn factory_here(settings: UpstreamSettings) -> ClientFactory {
    let lookup: Lookup = Arc::new(|_| Ok(vec![IpAddr::from([127, 0, 0, 1])]));
    ClientFactory::with_outside(settings, Outside { lookup, ..Outside::default() }).unwrap()
}

pub(super) fn post(server: &Server) -> UpstreamRequest {
    post_to(&format!("http://{}/v1/chat/completions", server.address))
}

pub(super) fn post_to(url: &str) -> UpstreamRequest {
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key".parse().unwrap(), "secret".parse().unwrap());
    UpstreamRequest {
        method: Method::POST,
        url: Url::parse(url).unwrap(),
        headers,
        body: Bytes::from_static(b"{\"model\":\"m\"}"),
    }
}

pub(super) fn in_ms(milliseconds: u64) -> Instant {
    Instant::now() + Duration::from_millis(milliseconds)
}

pub(super) fn limits(cap: usize) -> CollectLimits {
    CollectLimits { cap, idle: Duration::from_millis(500), deadline: in_ms(3000) }
}
