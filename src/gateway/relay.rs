//! A stream on its way from an upstream: bytes in, what the client gets out, and the verdict at the end.
//!
//! No I/O and no time here; [`attempt`](super::attempt) drives it before the first content,
//! [`RelayBody`](super::relay_body) afterwards.

use bytes::{Bytes, BytesMut};
use omniroute_actors::resilience::outcome::Outcome;

use super::fault::Fault;
use crate::wire::openai_chat_stream::{DONE_FRAME, EndRules, Kind, StreamWatch};
use crate::wire::sse::{Remainder, SseEvent, SseScanner};
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
#[derive(Debug)]
pub struct Relay {
    scanner: SseScanner,
    watch: StreamWatch,
    rules: EndRules,
    out: BytesMut,
    contents: u64,
    secret: String,
}

impl Relay {
    /// A stream of a provider with these oddities. `secret` is taken out of its error messages.
    pub fn new(client_wants_usage: bool, rules: EndRules, max_event_bytes: usize, secret: String) -> Self {
        Self {
            scanner: SseScanner::new(max_event_bytes),
            watch: StreamWatch::new(client_wants_usage),
            rules,
            out: BytesMut::new(),
            contents: 0,
            secret,
        }
    }

    /// Take bytes. What the client gets waits in [`Self::take_out`].
    ///
    /// # Errors
    /// The upstream's error, or a breach of the protocol.
    pub fn absorb(&mut self, chunk: Bytes) -> Result<Progress, Fault> {
        self.scanner.push(chunk);
        while let Some(event) = self.scanner.next_event()? {
            if self.step(&event)? == Progress::Done {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }

    /// The upstream closed. The end marker is in [`Self::take_out`] when the answer is whole.
    ///
    /// # Errors
    /// Why it is not whole.
    pub fn close(&mut self) -> Result<(), Fault> {
        if let Remainder::Event(event) | Remainder::Cut(event) = self.scanner.finish()? {
            self.step(&event)?;
        }
        match Fault::of_ending(self.watch.end(self.rules)) {
            Some(fault) => Err(fault),
            None => {
                self.out.extend_from_slice(DONE_FRAME.as_bytes());
                Ok(())
            }
        }
    }

    /// Whether the client must see something now: content came, or more is held than is wise.
    pub fn must_commit(&self) -> bool {
        self.watch.content_seen() || self.out.len() > MOST_HELD
    }

    /// What the client gets next.
    pub fn take_out(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// How much waits for the client.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// What was used; estimated from the characters when the upstream did not say.
    pub fn usage(&self, prompt_chars: u64) -> Usage {
        self.watch.usage().unwrap_or_else(|| Usage::estimate(prompt_chars, self.watch.chars_out()))
    }

    /// How many events brought content or an end; pings and comments are neither.
    pub const fn contents(&self) -> u64 {
        self.contents
    }

    fn step(&mut self, event: &SseEvent) -> Result<Progress, Fault> {
        let step = self.watch.step(event);
        match step.kind {
            Kind::Error(error) => return Err(Fault::inside_ok(error, &[&self.secret])),
            Kind::InvalidJson => {
                return Err(Fault::own(Outcome::BrokenAnswer, "the provider's stream held something that is not JSON"));
            }
            Kind::Done => return Ok(Progress::Done),
            Kind::Content { .. } | Kind::Finish { .. } => self.contents += 1,
            Kind::Lifecycle | Kind::Usage => {}
        }
        if let Some(bytes) = step.forward {
            self.out.extend_from_slice(&bytes);
        }
        Ok(Progress::More)
    }
}
