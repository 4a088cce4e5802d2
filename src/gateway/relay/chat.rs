//! Chat to chat: the events pass as they came, watched by the leanest reader there is.

use bytes::{Bytes, BytesMut};

use super::{MOST_HELD, Progress, Relay};
use crate::gateway::fault::Fault;
use crate::wire::chat::Took;
use crate::wire::openai_chat_stream::{DONE_FRAME, EndRules, Kind, StreamWatch};
use crate::wire::openai_error::{ErrorBody, HEARTBEAT};
use crate::wire::sse::{Remainder, SseEvent, SseScanner};
use crate::wire::usage::Usage;

/// One stream.
#[derive(Debug)]
pub struct ChatRelay {
    scanner: SseScanner,
    watch: StreamWatch,
    rules: EndRules,
    out: BytesMut,
    contents: u64,
    secret: String,
}

impl ChatRelay {
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
}

impl Relay for ChatRelay {
    fn absorb(&mut self, chunk: Bytes) -> Result<Progress, Fault> {
        self.scanner.push(chunk);
        while let Some(event) = self.scanner.next_event()? {
            if self.step(&event)? == Progress::Done {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }

    fn close(&mut self, _: Took) -> Result<(), Fault> {
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

    fn must_commit(&self) -> bool {
        self.watch.content_seen() || self.out.len() > MOST_HELD
    }

    fn take_out(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    fn waiting(&self) -> usize {
        self.out.len()
    }

    fn usage(&self, prompt_chars: u64) -> Usage {
        self.watch.usage().unwrap_or_else(|| Usage::estimate(prompt_chars, self.watch.chars_out()))
    }

    fn contents(&self) -> u64 {
        self.contents
    }

    fn fail(&mut self, error: &ErrorBody) -> Bytes {
        self.out.extend_from_slice(&error.to_sse());
        self.take_out()
    }

    fn heartbeat(&self) -> Bytes {
        Bytes::from_static(HEARTBEAT.as_bytes())
    }
}

impl ChatRelay {
    fn step(&mut self, event: &SseEvent) -> Result<Progress, Fault> {
        let step = self.watch.step(event);
        match step.kind {
            Kind::Error(error) => return Err(Fault::inside_ok(error, &[&self.secret])),
            Kind::InvalidJson => {
                return Err(Fault::invalid_event());
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
