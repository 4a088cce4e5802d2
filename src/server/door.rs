//! The listening sockets, and how they are closed without losing a connection.
//!
//! A listener that is simply dropped resets every connection that the kernel has completed and nobody has accepted yet. A
//! load balancer has sent its request on such a connection and must not send a paid-for call twice, so its client sees an
//! error. Therefore the door closes in two steps: no handshake begins any more (the kernel drops the first packet, so that
//! callers try again), those that have begun are completed and accepted, and only then later callers are refused.

use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};
use socket2::{Domain, Protocol, Socket, Type};

use crate::gateway::stall;

/// Connections that wait to be accepted: a burst of clients must not be refused while the workers are busy.
const BACKLOG: i32 = 4096;
/// How often it is asked whether all are accepted.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// The time in which a handshake that has begun completes. Callers whose handshake was dropped meanwhile wait for a second.
const ONE_ROUND_TRIP: Duration = Duration::from_millis(10);
/// When the accepting thread does not get that far, waiting longer helps nobody.
const PATIENCE: u32 = 1_000;

/// What listens.
#[derive(Debug)]
pub struct Door(Vec<TcpListener>);

impl Door {
    /// Listen on every address of the place that can be had.
    ///
    /// # Errors
    /// When none of them can.
    pub fn open(place: impl ToSocketAddrs) -> io::Result<Self> {
        let (mut open, mut refused) = (Vec::new(), None);
        for address in place.to_socket_addrs()? {
            match listen(address) {
                Ok(listener) => open.push(listener),
                Err(error) => refused = Some(error),
            }
        }
        match (open.is_empty(), refused) {
            (false, _) => Ok(Self(open)),
            (true, Some(error)) => Err(error),
            (true, None) => Err(io::Error::other("it has no address")),
        }
    }

    /// The same door for another server: whoever waits before it is let in by either.
    ///
    /// # Errors
    /// Without a file descriptor to spare.
    pub fn shared(&self) -> io::Result<Self> {
        self.listeners().map(Self)
    }

    /// The same sockets, for the server that accepts from them.
    ///
    /// # Errors
    /// Without a file descriptor to spare.
    pub fn listeners(&self) -> io::Result<Vec<TcpListener>> {
        self.0.iter().map(TcpListener::try_clone).collect()
    }

    /// Refuse newcomers and keep everybody who is inside or on the doorstep.
    pub async fn close(self, server: ServerHandle) {
        self.0.iter().for_each(ignore_newcomers);
        actix_rt::time::sleep(ONE_ROUND_TRIP).await;
        for _ in 0..PATIENCE {
            if !self.0.iter().any(somebody_waits) {
                break;
            }
            actix_rt::time::sleep(LOOK_EVERY).await;
        }
        // The accepting thread would take a closed listener for a fault and say so.
        server.pause().await;
        actix_rt::time::sleep(LOOK_EVERY).await;
        for listener in &self.0 {
            if let Err(error) = shutdown(listener, Shutdown::Read) {
                tracing::warn!(%error, "a listener cannot be closed");
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the kernel to forget the connections of the process before.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Let the kernel give a connection up whose client takes nothing for that long. What has left the process is out of its
/// sight: an answer that nobody reads would lie in the buffers of its socket for ever.
#[cfg(target_os = "linux")]
pub(super) fn bound(connection: &dyn Any, write_stall_ms: u64) {
    let limit = stall::socket_limit(Duration::from_millis(write_stall_ms));
    if let Some(stream) = connection.downcast_ref::<actix_rt::net::TcpStream>()
        && let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(limit))
    {
        tracing::debug!(%error, "a client that does not read keeps its connection");
    }
}

/// Other systems have no such limit: there the connection stays until its client reads or leaves.
#[cfg(not(target_os = "linux"))]
pub(super) const fn bound(_: &dyn Any, _: u64) {}

/// Without it a connection that comes while the listener closes is reset.
#[cfg(target_os = "linux")]
fn ignore_newcomers(listener: &TcpListener) {
    use socket2::SockFilter as Do;
    // A program for the kernel's classic packet filter, which is given the packet from its TCP header on.
    let [load_byte, and, jump_if_equal, keep] = [0x30, 0x54, 0x15, 0x06];
    let [flags_at, syn, syn_or_ack] = [13, 0x02, 0x12];
    let all_but_the_first_packet = [
        Do::new(load_byte, 0, 0, flags_at),
        Do::new(and, 0, 0, syn_or_ack),
        Do::new(jump_if_equal, 0, 1, syn),
        Do::new(keep, 0, 0, 0),
        Do::new(keep, 0, 0, u32::MAX),
    ];
    if let Err(error) = socket2::SockRef::from(listener).attach_filter(&all_but_the_first_packet) {
        tracing::debug!(%error, "connections that come in this moment are reset");
    }
}

/// Other systems have no such filter: there a connection that comes in this very moment is reset.
#[cfg(not(target_os = "linux"))]
const fn ignore_newcomers(_: &TcpListener) {}

fn somebody_waits(listener: &TcpListener) -> bool {
    let mut sockets = [PollFd::new(listener, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut sockets, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use actix_web::{App, HttpResponse, HttpServer, web};

    use super::*;

    fn serve(door: &Door) -> ServerHandle {
        let app = || App::new().default_service(web::to(HttpResponse::Ok));
        let mut server = HttpServer::new(app).workers(1).disable_signals();
        for listener in door.listeners().unwrap() {
            server = server.listen(listener).unwrap();
        }
        let server = server.run();
        let handle = server.handle();
        actix_rt::spawn(server);
        handle
    }

    async fn ask(mut stream: TcpStream) -> io::Result<String> {
        use std::io::{Read as _, Write as _};
        let asked = web::block(move || {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")?;
            let mut start = [0; 15];
            stream.read_exact(&mut start)?;
            Ok(String::from_utf8_lossy(&start).into_owned())
        });
        asked.await.unwrap()
    }

    #[actix_web::test]
    async fn who_has_connected_is_served_after_the_door_is_closed_and_newcomers_are_refused() {
        let door = Door::open((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = door.0[0].local_addr().unwrap();
        let server = serve(&door);
        let before: Vec<_> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();

        door.close(server.clone()).await;

        let newcomer = TcpStream::connect(address).map_err(|error| error.kind());
        assert_eq!(newcomer.err(), Some(io::ErrorKind::ConnectionRefused));
        for stream in before {
            assert_eq!(ask(stream).await.unwrap(), "HTTP/1.1 200 OK");
        }
        server.stop(false).await;
    }

    #[test]
    fn a_place_that_is_taken_is_an_error() {
        let first = Door::open((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = first.0[0].local_addr().unwrap();

        assert_eq!(Door::open(taken).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
