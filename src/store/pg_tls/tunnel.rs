//! The relay between libpq's unix socket and the server's TLS.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use super::{TlsSettings, handshake, verify};
use crate::store::StoreError;

const DIAL: Duration = Duration::from_secs(5);
/// Generous: a server that recovers from a crash may take its time to speak.
const OPENING: Duration = Duration::from_secs(30);
/// How long sent bytes may stay unacknowledged before the kernel gives the server up.
const SILENCE_MS: u32 = 10_000;
/// "Will you speak TLS?": a length of 8 and the number PostgreSQL reserved for the question.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A running relay; dropping it ends the thread and removes the socket.
pub(crate) struct Tunnel {
    directory: PathBuf,
    port: u16,
    stop: Option<oneshot::Sender<()>>,
}

#[derive(Clone)]
struct Upstream {
    host: Arc<str>,
    port: u16,
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl Tunnel {
    /// Open the socket and start relaying on a thread of its own.
    pub(crate) fn start(settings: &TlsSettings) -> Result<Self, StoreError> {
        let upstream = Upstream::new(settings, verify::client_config(settings)?)?;
        let directory = std::env::temp_dir().join(format!("omniroute-pg-{}", uuid::Uuid::new_v4().simple()));
        DirBuilder::new().mode(0o700).create(&directory).map_err(StoreError::unavailable)?;
        let (stop, stopped) = oneshot::channel();
        let tunnel = Self { directory, port: settings.port, stop: Some(stop) };

        let socket = std::os::unix::net::UnixListener::bind(tunnel.socket()).map_err(StoreError::unavailable)?;
        socket.set_nonblocking(true).map_err(StoreError::unavailable)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StoreError::unavailable)?;
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(socket, upstream) => (),
                    _ = stopped => (),
                }
            });
        };
        let thread = std::thread::Builder::new().name("store-pg-tls".into()).spawn(work);
        thread.map(|_| tunnel).map_err(StoreError::unavailable)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// libpq composes this name from the directory and the port.
    fn socket(&self) -> PathBuf {
        self.directory.join(format!(".s.PGSQL.{}", self.port))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::debug!(%error, "the tunnel's socket directory could not be removed");
        }
    }
}

impl Upstream {
    fn new(settings: &TlsSettings, config: Arc<ClientConfig>) -> Result<Self, StoreError> {
        let name = ServerName::try_from(settings.host.clone());
        let name = name.map_err(|_| StoreError::Invalid("the postgres host is not a valid TLS server name".into()))?;
        let connector = TlsConnector::from(config);
        Ok(Self { host: settings.host.as_str().into(), port: settings.port, name, connector })
    }

    async fn dial(&self) -> std::io::Result<impl AsyncRead + AsyncWrite + Unpin> {
        let mut tcp = TcpStream::connect((&*self.host, self.port)).await?;
        tcp.set_nodelay(true)?;
        rustix::net::sockopt::set_tcp_user_timeout(&tcp, SILENCE_MS)?;
        rustix::net::sockopt::set_socket_keepalive(&tcp, true)?;
        rustix::net::sockopt::set_tcp_keepidle(&tcp, DIAL)?;

        tcp.write_all(&SSL_REQUEST).await?;
        // Exactly one byte: anything a man in the middle slipped in behind it becomes part of the handshake and fails it.
        match tcp.read_u8().await? {
            b'S' => self.connector.connect(self.name.clone(), tcp).await,
            _ => Err(std::io::Error::other("the server does not offer TLS")),
        }
    }
}

async fn serve(socket: std::os::unix::net::UnixListener, upstream: Upstream) {
    let listener = match UnixListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the TLS tunnel to postgres cannot listen"),
    };
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(tokio::spawn(relay(client, upstream.clone()))),
            // Out of file descriptors: accepting again at once would only spin.
            Err(error) => {
                tracing::warn!(%error, "the TLS tunnel to postgres could not accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn relay(mut client: UnixStream, upstream: Upstream) {
    let dialled = tokio::time::timeout(DIAL, upstream.dial()).await;
    let mut server = match dialled.unwrap_or_else(|_| Err(std::io::Error::other("no answer in time"))) {
        Ok(server) => server,
        Err(error) => {
            return refuse(&mut client, &format!("TLS to {}:{}: {error}", upstream.host, upstream.port)).await;
        }
    };
    let relayed = async {
        let opening = tokio::time::timeout(OPENING, handshake::relay_opening(&mut client, &mut server)).await;
        opening.unwrap_or_else(|_| Err(std::io::Error::other("the server did not answer the start-up packet")))?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await
    };
    if let Err(error) = relayed.await {
        tracing::debug!(%error, "a tunnelled postgres connection ended");
    }
}

/// Tell libpq why in its own protocol, so that the reason reaches the operator instead of "connection closed".
async fn refuse(client: &mut UnixStream, reason: &str) {
    tracing::warn!(reason, "the TLS tunnel to postgres could not connect");
    let fields = format!("SFATAL\0VFATAL\0C08001\0M{reason}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap_or(u32::MAX).to_be_bytes();
    let message = [b"E".as_slice(), &length, fields.as_bytes()].concat();
    let told = async {
        handshake::read_counted(client).await?;
        client.write_all(&message).await?;
        client.shutdown().await
    };
    if let Ok(Err(error)) = tokio::time::timeout(DIAL, told).await {
        tracing::debug!(%error, "libpq left before it could be told why");
    }
}
