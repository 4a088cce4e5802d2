//! A stream on its way from an upstream: bytes in, what the client gets out, and the verdict at the end.
//!
//! No I/O and no time here; [`attempt`](super::attempt) drives it before the first content,
//! [`RelayBody`](super::relay_body) afterwards.

mod chat;
mod neutral;
mod seam;
mod trunk;

pub use chat::ChatRelay;
pub use neutral::{NeutralRelay, Way};
pub use trunk::Trunk;

use bytes::Bytes;

use super::fault::Fault;
use crate::wire::chat::{Event, Took};
use crate::wire::openai_error::ErrorBody;
use crate::wire::usage::Usage;

/// More than this is not held back, content or not.
const MOST_HELD: usize = 256 * 1024;

/// What is known after some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The stream goes on.
    More,
    /// The upstream said that it is done.
    Done,
}

/// One stream.
pub trait Relay: std::fmt::Debug {
    /// Take bytes. What the client gets waits in [`Self::take_out`].
    ///
    /// # Errors
    /// The upstream's error, or a breach of the protocol.
    fn absorb(&mut self, chunk: Bytes) -> Result<Progress, Fault>;

    /// The upstream closed. The end marker is in [`Self::take_out`] when the answer is whole; some clients read in it how long
    /// the answer took.
    ///
    /// # Errors
    /// Why it is not whole.
    fn close(&mut self, took: Took) -> Result<(), Fault>;

    /// Whether the client must see something now: content came, or more is held than is wise.
    fn must_commit(&self) -> bool;

    /// What the client gets next.
    fn take_out(&mut self) -> Bytes;

    /// How much waits for the client.
    fn waiting(&self) -> usize;

    /// What was used; estimated from the characters when the upstream did not say.
    fn usage(&self, prompt_chars: u64) -> Usage;

    /// How many events brought content or an end; pings and comments are neither.
    fn contents(&self) -> u64;

    /// What is left for the client, and the error that ends its stream.
    fn fail(&mut self, error: &ErrorBody) -> Bytes;

    /// What keeps the client's connection alive without saying anything.
    fn heartbeat(&self) -> Bytes;

    /// What was heard since the last look, of a stream that is read here and not by a client.
    fn take_events(&mut self) -> Vec<Event> {
        Vec::new()
    }

    /// The part that outlives its upstream, where another one may go on with the answer.
    fn trunk(&mut self) -> Option<&mut Trunk> {
        None
    }
}
