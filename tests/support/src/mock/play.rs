//! Plays the steps of an answer on a socket.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::plan::Step;

/// How playing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Played {
    /// All steps done; the connection can serve again.
    Whole,
    /// All steps done, the last one ended the connection.
    Ended,
    /// The client hung up first.
    Cancelled,
}

/// Bytes that a client may send ahead while it is being answered.
const AHEAD: usize = 1024 * 1024;

/// Play the steps while watching for the client's hang-up.
pub(super) async fn play(
    stream: &mut TcpStream,
    ahead: &mut BytesMut,
    steps: &[Step],
    mut head_sent: impl FnMut(),
) -> Played {
    let ending = {
        let (mut reader, mut writer) = stream.split();
        let answer = async {
            for step in steps {
                if *step == Step::HeadSent {
                    head_sent();
                } else if let Some(ending) = perform(&mut writer, step).await? {
                    return Ok(Some(ending));
                }
            }
            io::Result::Ok(None)
        };
        tokio::select! {
            biased;
            result = answer => match result { Ok(ending) => ending, Err(_) => return Played::Cancelled },
            () = hang_up(&mut reader, ahead) => return Played::Cancelled,
        }
    };
    match ending {
        None => return Played::Whole,
        Some(Ending::Reset) => drop(stream.set_zero_linger()),
        Some(Ending::Close) => drop(stream.shutdown().await),
    }
    Played::Ended
}

enum Ending {
    Reset,
    Close,
}

async fn perform<W: AsyncWriteExt + Unpin>(writer: &mut W, step: &Step) -> io::Result<Option<Ending>> {
    match step {
        Step::Write(bytes) => writer.write_all(bytes).await?,
        Step::HeadSent => {}
        Step::Sleep(pause) => tokio::time::sleep(*pause).await,
        Step::Repeat(bytes, times) => {
            for _ in 0..*times {
                writer.write_all(bytes).await?;
            }
        }
        Step::Forever(bytes, pause) => loop {
            writer.write_all(bytes).await?;
            tokio::time::sleep((*pause).max(Duration::from_micros(100))).await;
        },
        Step::Dribble(bytes, pause) => {
            for byte in bytes {
                writer.write_all(&[*byte]).await?;
                tokio::time::sleep(*pause).await;
            }
        }
        Step::Hang => std::future::pending().await,
        Step::Reset => return Ok(Some(Ending::Reset)),
        Step::Close => return Ok(Some(Ending::Close)),
    }
    Ok(None)
}

/// Comes back when the client closed or reset. What it sends ahead is kept for the next request.
async fn hang_up<R: AsyncReadExt + Unpin>(reader: &mut R, ahead: &mut BytesMut) {
    while ahead.len() < AHEAD {
        match reader.read_buf(ahead).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    std::future::pending().await
}
