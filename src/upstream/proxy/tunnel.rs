//! A tunnel through a proxy. What the proxy says about the provider (it cannot be reached) counts as such; everything else
//! that goes wrong here is the proxy's.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_rt::net::{ActixStream, Ready, TcpStream};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_socks::tcp::Socks5Stream;

use super::{Proxy, ProxyKind};
use crate::upstream::connector::{ConnectFailure, first_to_answer};

/// The largest head of an answer to `CONNECT`.
const MOST_HEAD: usize = 16 * 1024;
/// The most header lines of one.
const MOST_LINES: usize = 64;

/// Where a tunnel leads: a name, or the address that was checked.
#[derive(Debug, Clone)]
pub(in crate::upstream) struct Goal {
    pub(in crate::upstream) host: String,
    pub(in crate::upstream) port: u16,
}

impl Goal {
    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Open a tunnel through a proxy at these addresses. The proxy itself has `limit` to be there, and again to open it.
pub(in crate::upstream) async fn open(
    proxy: &Proxy,
    addresses: &[SocketAddr],
    goal: &Goal,
    tls: Arc<ClientConfig>,
    limit: Duration,
) -> Result<Socket, ConnectFailure> {
    let dialled = timeout(limit, dial(proxy, addresses, tls)).await;
    let socket = dialled.unwrap_or_else(|_| Err(failed(proxy, "it did not answer in time")))?;
    let tunnel = async {
        match proxy.kind {
            ProxyKind::Http | ProxyKind::Https => connect(proxy, socket, goal).await,
            ProxyKind::Socks5 => socks(proxy, socket, goal).await,
        }
    };
    // It may be the provider that keeps the proxy waiting, or a proxy that speaks something else: what is not known is not
    // held against the provider.
    timeout(limit, tunnel).await.unwrap_or_else(|_| Err(failed(proxy, "it did not open the tunnel in time")))
}

fn failed(proxy: &Proxy, why: impl std::fmt::Display) -> ConnectFailure {
    ConnectFailure::Proxy { address: proxy.address(), detail: why.to_string() }
}

/// The proxy is well and cannot reach the provider.
fn unreachable(why: impl std::fmt::Display) -> ConnectFailure {
    ConnectFailure::Io { kind: io::ErrorKind::HostUnreachable, detail: format!("through the proxy: {why}") }
}

async fn dial(proxy: &Proxy, addresses: &[SocketAddr], tls: Arc<ClientConfig>) -> Result<Socket, ConnectFailure> {
    let tcp = first_to_answer(addresses).await.map_err(|error| failed(proxy, error))?;
    tcp.set_nodelay(true).map_err(|error| failed(proxy, error))?;
    if proxy.kind != ProxyKind::Https {
        return Ok(Socket::Tcp(tcp));
    }
    let name = ServerName::try_from(proxy.host.clone()).map_err(|error| failed(proxy, error))?;
    let stream = TlsConnector::from(tls).connect(name, tcp).await.map_err(|error| failed(proxy, error))?;
    Ok(Socket::Tls(Box::new(stream)))
}

async fn connect(proxy: &Proxy, mut socket: Socket, goal: &Goal) -> Result<Socket, ConnectFailure> {
    let broken = |error: io::Error| failed(proxy, error);
    socket.write_all(question(proxy, goal).as_bytes()).await.map_err(broken)?;
    socket.flush().await.map_err(broken)?;
    match status(&mut socket).await.map_err(broken)? {
        200..=299 => Ok(socket),
        407 => Err(failed(proxy, "it refuses the login (407)")),
        status @ (502..=504) => Err(unreachable(format!("status {status}"))),
        status => Err(failed(proxy, format!("it refuses the tunnel (status {status})"))),
    }
}

fn question(proxy: &Proxy, goal: &Goal) -> String {
    let authority = goal.authority();
    let login = proxy.login.as_ref().map(|(name, password)| {
        let pair = STANDARD.encode(format!("{name}:{}", password.expose_secret()));
        format!("Proxy-Authorization: Basic {pair}\r\n")
    });
    let login = login.unwrap_or_default();
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{login}\r\n")
}

/// The status of the answer. Not one byte behind its head may be read: it would belong to the tunnel.
async fn status(socket: &mut Socket) -> io::Result<u16> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MOST_HEAD {
            return Err(invalid("its answer is too long"));
        }
        head.push(socket.read_u8().await?);
    }
    let mut lines = [httparse::EMPTY_HEADER; MOST_LINES];
    let mut answer = httparse::Response::new(&mut lines);
    let parsed = answer.parse(&head).map_err(|_| invalid("its answer is not HTTP"))?;
    answer.code.filter(|_| parsed.is_complete()).ok_or_else(|| invalid("its answer is not HTTP"))
}

async fn socks(proxy: &Proxy, socket: Socket, goal: &Goal) -> Result<Socket, ConnectFailure> {
    let to = (goal.host.as_str(), goal.port);
    let opened = match &proxy.login {
        None => Socks5Stream::connect_with_socket(socket, to).await,
        Some((name, password)) => {
            Socks5Stream::connect_with_password_and_socket(socket, to, name, password.expose_secret()).await
        }
    };
    opened.map(Socks5Stream::into_inner).map_err(|error| match error {
        tokio_socks::Error::NetworkUnreachable
        | tokio_socks::Error::HostUnreachable
        | tokio_socks::Error::ConnectionRefused
        | tokio_socks::Error::TtlExpired => unreachable(error),
        other => failed(proxy, other),
    })
}

/// The byte stream under a call: to the provider, or to the proxy.
#[derive(Debug)]
pub(in crate::upstream) enum Socket {
    /// As it is.
    Tcp(TcpStream),
    /// To a proxy that is spoken to over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    const fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            Self::Tls(_) => None,
        }
    }
}

macro_rules! on {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Self::Tls($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp().is_some_and(AsyncWrite::is_write_vectored)
    }
}

impl ActixStream for Socket {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        match self {
            Self::Tcp(tcp) => ActixStream::poll_read_ready(tcp, cx),
            Self::Tls(stream) => ActixStream::poll_read_ready(stream.get_ref().0, cx),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        match self {
            Self::Tcp(tcp) => ActixStream::poll_write_ready(tcp, cx),
            Self::Tls(stream) => ActixStream::poll_write_ready(stream.get_ref().0, cx),
        }
    }
}
