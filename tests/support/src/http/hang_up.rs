//! Clients that leave: at a chosen moment, in a chosen way.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Connection, Request};

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangUp {
    /// An orderly close.
    Fin,
    /// A reset.
    Rst,
}

/// When a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After so many bytes of its request.
    InRequest(usize),
    /// So long after the request, whatever came.
    AfterRequest(Duration),
    /// Once the head of the answer is there.
    AfterHead,
    /// Once so many bytes of the body are there.
    AfterBytes(usize),
}

/// Send a request and leave; the answer is the moment of leaving.
pub async fn open_and_hang_up(addr: SocketAddr, request: &Request, moment: Moment, how: HangUp) -> io::Result<Instant> {
    let mut connection = Connection::open(addr).await?;
    let bytes = request.to_bytes(addr);
    let sent = if let Moment::InRequest(n) = moment { bytes.get(..n).unwrap_or(&bytes) } else { &bytes };
    connection.send_bytes(sent).await?;
    match moment {
        Moment::InRequest(_) => {}
        Moment::AfterRequest(pause) => tokio::time::sleep(pause).await,
        Moment::AfterHead => drop(connection.head().await?),
        Moment::AfterBytes(wanted) => read_some(&mut connection, wanted).await?,
    }
    connection.hang_up(how);
    Ok(Instant::now())
}

async fn read_some(connection: &mut Connection, wanted: usize) -> io::Result<()> {
    connection.head().await?;
    let mut seen = 0;
    while seen < wanted {
        seen += connection.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?.len();
    }
    Ok(())
}
