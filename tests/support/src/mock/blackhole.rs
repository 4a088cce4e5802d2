//! An address of this machine that answers no SYN: where packets vanish, as behind a firewall that drops them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How long a connection of the kernel's own may take; the ones that fill the queue stand at once.
const AT_ONCE: Duration = Duration::from_millis(50);

/// A listener that accepts nothing and whose queue is full: the kernel drops further SYNs. Dropping it ends that.
#[derive(Debug)]
pub struct Blackhole {
    /// Where nobody answers.
    pub addr: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Blackhole {
    /// Dig one on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When the machine gives no port, or when its queue cannot be filled.
    pub async fn dig() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let listener = socket.listen(1).expect("a listener");
        let addr = listener.local_addr().expect("a bound socket");
        let mut waiting = Vec::new();
        for _ in 0..64 {
            match tokio::time::timeout(AT_ONCE, TcpStream::connect(addr)).await {
                Ok(connected) => waiting.extend(connected),
                Err(_) => return Self { addr, _listener: listener, _waiting: waiting },
            }
        }
        panic!("the queue of {addr} takes everybody");
    }

    /// The base URL that a client is given.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_gets_a_connection_to_a_black_hole() {
        let hole = Blackhole::dig().await;

        for _ in 0..2 {
            let tried = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(hole.addr)).await;

            assert!(tried.is_err(), "{tried:?}");
        }
    }
}
