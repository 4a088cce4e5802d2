//! The response body of a large whole answer. In one piece it would lie in the connection's write buffer until the
//! client has read it, without anybody noticing that the client does not; in pieces, backpressure is seen, and the watch
//! for clients that stop reading counts this one, too.
//!
//! The upstream is done by then: its slot is free, and only the record waits for the end.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::usage::record::Tokens;
use tokio::time::Instant;

use super::stall::{ClientStalled, Watched, watch};
use super::tally::{CLIENT_GONE, Tally};
use crate::infra::lifecycle::InFlight;

/// One piece. Answers up to this size are written at once, as any other body.
const PIECE: usize = 64 * 1024;

/// Whether an answer of this size is handed out piece by piece.
pub const fn is_large(bytes: usize) -> bool {
    bytes > PIECE
}

/// What has yet to be written, and what becomes of it.
struct RunningAnswer {
    rest: Bytes,
    tally: Tally,
    used: Tokens,
    began: Instant,
    last_write: Instant,
    ended: bool,
    stalled: bool,
    in_flight: Option<InFlight>,
}

impl RunningAnswer {
    /// The next piece. The record is on disk before the last one leaves.
    fn next(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            return None;
        }
        let piece = self.rest.split_to(PIECE.min(self.rest.len()));
        self.last_write = Instant::now();
        if self.rest.is_empty() {
            self.end(Outcome::Success, 200);
        }
        Some(piece)
    }

    fn end(&mut self, outcome: Outcome, status: u16) {
        if !self.ended {
            self.ended = true;
            // The time in which a client reads is not time that the gateway needs.
            self.tally.upstream_took(self.began.elapsed());
            self.tally.finish(outcome, status, self.used);
        }
    }
}

impl Watched for RunningAnswer {
    fn stalled_since(&self, limit: Duration) -> bool {
        !self.ended && self.last_write.elapsed() > limit
    }

    fn stall(&mut self) {
        self.stalled = true;
        self.rest = Bytes::new();
        self.in_flight = None;
        self.end(Outcome::ClientGone, CLIENT_GONE);
    }
}

impl Drop for RunningAnswer {
    /// The client left in the middle: the provider has answered all the same, so its tokens are billed.
    fn drop(&mut self) {
        self.end(Outcome::ClientGone, CLIENT_GONE);
    }
}

/// The body.
pub struct WholeBody {
    size: u64,
    answer: Rc<RefCell<RunningAnswer>>,
}

impl WholeBody {
    /// A body under the watch. The tally is closed with `used` when its last piece leaves, or when the client does.
    pub fn new(body: Bytes, tally: Tally, used: Tokens, in_flight: InFlight) -> Self {
        let (size, now) = (body.len() as u64, Instant::now());
        let in_flight = Some(in_flight);
        let answer = RunningAnswer {
            rest: body,
            tally,
            used,
            began: now,
            last_write: now,
            ended: false,
            stalled: false,
            in_flight,
        };
        let answer = Rc::new(RefCell::new(answer));
        watch(&answer);
        Self { size, answer }
    }
}

impl MessageBody for WholeBody {
    type Error = ClientStalled;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.size)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let mut answer = self.answer.borrow_mut();
        Poll::Ready(if answer.stalled { Some(Err(ClientStalled)) } else { answer.next().map(Ok) })
    }
}
