//! Opening TCP connections for awc: policy, DNS, happy eyeballs, `TCP_NODELAY`, one deadline for all of it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use actix_rt::net::TcpStream;
use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use futures_util::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use rustls::ClientConfig;
use tokio::time::{Instant, sleep, timeout};

use super::{
    policy::{AddressPolicy, Refusal},
    proxy::{self, Goal, Proxy, Socket},
    resolver::Resolver,
    wire::{WireStream, note_connected, note_dialing},
};
use crate::infra::lateness::{Deadline, Late};

/// How long our own look-up of a name may take that a proxy resolves.
const OWN_LOOKUP: Duration = Duration::from_millis(500);
/// How long one address may be silent before the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// Why no TCP connection came about. It travels inside awc's error and is taken out again by `send`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectFailure {
    /// The address policy forbids it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The name could not be resolved.
    #[error("cannot resolve `{host}`: {detail}")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        detail: String,
    },
    /// The proxy cannot be used.
    #[error("the proxy {address} cannot be used: {detail}")]
    Proxy {
        /// Where it is, without its login.
        address: String,
        /// What it said, or why it cannot be reached.
        detail: String,
    },
    /// Name and connection together took longer than the connect timeout.
    #[error("no connection within the connect timeout")]
    Timeout,
    /// The gateway stood still for so long that nobody can tell whether it took too long.
    #[error("the gateway itself was held up for too long")]
    Standstill,
    /// No address accepted a connection.
    #[error("cannot connect: {detail}")]
    Io {
        /// The kind of the last error.
        kind: io::ErrorKind,
        /// Its text.
        detail: String,
    },
}

/// Hears of an address that the policy refused when it was about to be used. It must not block.
pub type OnRefusal = Arc<dyn Fn(&Refusal) + Send + Sync>;

/// The TCP half of awc's connector; TLS is put on top by awc.
#[derive(Clone)]
pub(super) struct PolicyConnector {
    policy: Arc<AddressPolicy>,
    resolver: Resolver,
    limit: Duration,
    through: Option<Through>,
    refused: OnRefusal,
}

/// The proxy that connections go through.
#[derive(Clone)]
pub(super) struct Through {
    pub(super) proxy: Arc<Proxy>,
    /// For the proxy itself, if it is spoken to over TLS.
    pub(super) tls: Arc<ClientConfig>,
    /// The proxy is told the address that was checked, never a name.
    pub(super) checked_addresses: bool,
}

impl PolicyConnector {
    pub(super) fn new(policy: Arc<AddressPolicy>, resolver: Resolver, limit: Duration) -> Self {
        Self { policy, resolver, limit, through: None, refused: Arc::new(|_| {}) }
    }

    pub(super) fn through(mut self, through: Option<Through>) -> Self {
        self.through = through;
        self
    }

    /// Tell this one of each refusal.
    pub(super) fn telling(mut self, refused: OnRefusal) -> Self {
        self.refused = refused;
        self
    }

    async fn open(&self, uri: &Uri) -> Result<WireStream, ConnectFailure> {
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().ok_or(Refusal::NoHost)?;
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        self.policy.check_endpoint(secure, host, port)?;
        let socket = match &self.through {
            None => self.bounded(self.direct(host, port)).await?,
            Some(through) => match self.tunnel(through, host, port).await {
                Err(ConnectFailure::Proxy { address, detail }) if through.proxy.fallback_to_direct => {
                    tracing::warn!(proxy = address, detail, "a proxy cannot be used, the call goes without it");
                    self.bounded(self.direct(host, port)).await?
                }
                opened => opened?,
            },
        };
        Ok(WireStream::new(socket, !secure))
    }

    async fn bounded<T>(&self, opening: impl Future<Output = Result<T, ConnectFailure>>) -> Result<T, ConnectFailure> {
        let at = Instant::now() + self.limit;
        match Deadline::new(at, at + self.limit).wait_for(opening).await {
            Ok(opened) => opened,
            Err(Late::Theirs) => Err(ConnectFailure::Timeout),
            Err(Late::Ours) => Err(ConnectFailure::Standstill),
        }
    }

    async fn direct(&self, host: &str, port: u16) -> Result<Socket, ConnectFailure> {
        let addresses = self.resolver.resolve(host, port).await?;
        let tcp = first_to_answer(&addresses).await.map_err(io_failure)?;
        tcp.set_nodelay(true).map_err(io_failure)?;
        Ok(Socket::Tcp(tcp))
    }

    /// The proxy resolves the provider's name; where we can resolve it too, it must not stand for forbidden addresses only.
    async fn tunnel(&self, through: &Through, host: &str, port: u16) -> Result<Socket, ConnectFailure> {
        let goal = self.goal(through, host, port).await?;
        let proxy = &through.proxy;
        let broken = |why: String| ConnectFailure::Proxy { address: proxy.address(), detail: why };
        let addresses = self.bounded(self.resolver.resolve_any_port(&proxy.host, proxy.port)).await;
        let addresses = addresses.map_err(|failure| broken(failure.to_string()))?;
        proxy::open(proxy, &addresses, &goal, Arc::clone(&through.tls), self.limit).await
    }

    async fn goal(&self, through: &Through, host: &str, port: u16) -> Result<Goal, ConnectFailure> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let within = if through.checked_addresses { self.limit } else { self.limit.min(OWN_LOOKUP) };
        let resolved = timeout(within, self.resolver.resolve(host, port)).await;
        match resolved.unwrap_or(Err(ConnectFailure::Timeout)) {
            Ok(addresses) if through.checked_addresses => {
                let address = addresses.first().ok_or(Refusal::NoHost)?;
                Ok(Goal { host: address.ip().to_string(), port })
            }
            Err(refused @ ConnectFailure::Refused(_)) => Err(refused),
            Err(unknown) if through.checked_addresses => Err(unknown),
            Ok(_) | Err(_) => Ok(Goal { host: bare.to_owned(), port }),
        }
    }
}

impl Service<ConnectInfo<Uri>> for PolicyConnector {
    type Response = Connection<Uri, WireStream>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            note_dialing();
            let uri = info.request().clone();
            let opened = connector.open(&uri).await;
            if let Err(ConnectFailure::Refused(refusal)) = &opened {
                (connector.refused)(refusal);
            }
            let stream = opened.map_err(|failure| ConnectError::Resolver(Box::new(failure)))?;
            note_connected();
            Ok(Connection::new(uri, stream))
        })
    }
}

/// Connect to each address in turn, the next one starting when the last one failed or was silent for [`STAGGER`].
pub(super) async fn first_to_answer(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter().copied();
    let mut attempts = FuturesUnordered::new();
    let mut last_error = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no usable address");
    loop {
        match waiting.next() {
            Some(address) => attempts.push(TcpStream::connect(address)),
            None if attempts.is_empty() => return Err(last_error),
            None => {}
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => last_error = error,
            },
            () = sleep(STAGGER), if more => {}
            else => return Err(last_error),
        }
    }
}

fn io_failure(error: io::Error) -> ConnectFailure {
    ConnectFailure::Io { kind: error.kind(), detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::timeout;

    use super::*;

    #[actix_rt::test]
    async fn a_refused_address_gives_way_to_the_next_one_at_once() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let started = Instant::now();

        let stream = first_to_answer(&[closed, open]).await.unwrap();

        assert_eq!(stream.peer_addr().unwrap(), open);
        assert!(started.elapsed() < STAGGER);
    }

    #[actix_rt::test]
    async fn a_silent_address_costs_one_stagger() {
        let silent = full_backlog().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let started = Instant::now();

        let stream = first_to_answer(&[silent.0, open]).await.unwrap();

        assert_eq!(stream.peer_addr().unwrap(), open);
        assert!(started.elapsed() >= STAGGER && started.elapsed() < STAGGER * 3, "{:?}", started.elapsed());
    }

    #[actix_rt::test]
    async fn the_last_error_is_told_when_nothing_answers() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();

        let error = first_to_answer(&[closed]).await.unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    /// A listener whose queue is full: the kernel drops further SYNs, as a black hole does.
    async fn full_backlog() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            queued.push(stream);
            assert!(queued.len() < 64, "the backlog never filled");
        }
        (address, queued, listener)
    }
}
