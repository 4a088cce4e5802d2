//! Any other pair of formats: a decoder listens, and either the bytes pass (same format on both sides) or an encoder
//! writes what the decoder heard.

use bytes::{Bytes, BytesMut};
use omniroute_actors::resilience::outcome::Outcome;

use super::{MOST_HELD, Progress, Relay};
use crate::gateway::fault::Fault;
use crate::gateway::frames::{Frame, Frames};
use crate::gateway::seals::SealWatch;
use crate::wire::chat::{Delta, Event, Restorer, StreamDecoder, StreamEncoder, Took};
use crate::wire::openai_error::ErrorBody;
use crate::wire::usage::Usage;

/// How the client gets what was heard.
#[derive(Debug)]
pub enum Way {
    /// As it came; the encoder writes only the error that may end it.
    Pass {
        /// For the error.
        encoder: Box<dyn StreamEncoder>,
        /// What is written where the provider left the closing event out.
        closing: &'static [u8],
    },
    /// Written anew.
    Translate(Restorer, Box<dyn StreamEncoder>),
    /// Not at all: what was heard waits for [`Relay::take_events`].
    Listen(Restorer, Vec<Event>),
}

/// One stream.
#[derive(Debug)]
pub struct NeutralRelay {
    frames: Frames,
    decoder: Box<dyn StreamDecoder>,
    way: Way,
    heard: Vec<Event>,
    told: Vec<Event>,
    out: BytesMut,
    usage: Option<Usage>,
    /// The provider said how long it took.
    took: bool,
    chars_out: u64,
    contents: u64,
    /// The decoder heard the end.
    done: bool,
    secret: String,
    seals: Option<SealWatch>,
}

impl NeutralRelay {
    /// A stream of these frames. `secret` is taken out of its error messages.
    pub fn new(frames: Frames, decoder: Box<dyn StreamDecoder>, way: Way, secret: String) -> Self {
        Self {
            frames,
            decoder,
            way,
            heard: Vec::new(),
            told: Vec::new(),
            out: BytesMut::new(),
            usage: None,
            took: false,
            chars_out: 0,
            contents: 0,
            done: false,
            secret,
            seals: None,
        }
    }

    /// Keep what is sealed for the caller's next request.
    #[must_use]
    pub fn remembering(mut self, seals: Option<SealWatch>) -> Self {
        self.seals = seals;
        self
    }

    fn step(&mut self, frame: &Frame) -> Result<Progress, Fault> {
        if frame.is_empty() {
            return Ok(Progress::More);
        }
        let name = frame.name();
        let done = self.decoder.frame(name.as_deref(), frame.data(), &mut self.heard);
        let done = done.map_err(|bad| Fault::in_format(bad, &[&self.secret]))?;
        if matches!(self.way, Way::Pass { .. }) {
            frame.pass(&mut self.out);
        }
        self.tell();
        self.done |= done;
        Ok(if done { Progress::Done } else { Progress::More })
    }

    /// Note what was heard, and write it where it is not passed.
    fn tell(&mut self) {
        for event in self.heard.drain(..) {
            match &event {
                Event::Usage(usage) => self.usage = Some(*usage),
                Event::Took(_) => self.took = true,
                Event::Delta { delta: Delta::Text(text) | Delta::Arguments(text), .. } => {
                    self.chars_out += text.chars().count() as u64;
                }
                _ => {}
            }
            self.contents += u64::from(event.is_content());
            if let (Some(seals), false) = (&mut self.seals, matches!(self.way, Way::Pass { .. })) {
                seals.take(&event);
            }
            match &mut self.way {
                Way::Pass { .. } => {}
                Way::Translate(restorer, encoder) => {
                    restorer.restore(event, &mut self.told);
                    for event in self.told.drain(..) {
                        encoder.event(&event, &mut self.out);
                    }
                }
                Way::Listen(restorer, kept) => restorer.restore(event, kept),
            }
        }
    }
}

impl Relay for NeutralRelay {
    fn absorb(&mut self, chunk: Bytes) -> Result<Progress, Fault> {
        self.frames.push(chunk);
        while let Some(frame) = self.frames.next()? {
            if self.step(&frame)? == Progress::Done {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }

    fn close(&mut self, took: Took) -> Result<(), Fault> {
        if let Some(frame) = self.frames.finish()? {
            self.step(&frame)?;
        }
        self.decoder.end(&mut self.heard).map_err(|cut| Fault::own(Outcome::BrokenAnswer, cut.to_string()))?;
        self.tell();
        match &mut self.way {
            Way::Translate(_, encoder) => {
                if !self.took {
                    encoder.event(&Event::Took(took), &mut self.out);
                }
                encoder.finish(&mut self.out);
            }
            Way::Listen(_, kept) if !self.took => kept.push(Event::Took(took)),
            Way::Listen(..) => {}
            Way::Pass { closing, .. } if !self.done => self.out.extend_from_slice(closing),
            Way::Pass { .. } => {}
        }
        if let Some(seals) = self.seals.take() {
            seals.finish();
        }
        Ok(())
    }

    fn must_commit(&self) -> bool {
        self.contents > 0 || self.out.len() > MOST_HELD
    }

    fn take_out(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    fn waiting(&self) -> usize {
        self.out.len()
    }

    fn usage(&self, prompt_chars: u64) -> Usage {
        self.usage.unwrap_or_else(|| Usage::estimate(prompt_chars, self.chars_out))
    }

    fn contents(&self) -> u64 {
        self.contents
    }

    fn fail(&mut self, error: &ErrorBody) -> Bytes {
        if let Way::Pass { encoder, .. } | Way::Translate(_, encoder) = &mut self.way {
            encoder.fail(error, &mut self.out);
        }
        self.take_out()
    }

    fn heartbeat(&self) -> Bytes {
        match &self.way {
            Way::Pass { encoder, .. } | Way::Translate(_, encoder) => encoder.heartbeat(),
            Way::Listen(..) => Bytes::new(),
        }
    }

    fn take_events(&mut self) -> Vec<Event> {
        match &mut self.way {
            Way::Listen(_, kept) => std::mem::take(kept),
            Way::Pass { .. } | Way::Translate(..) => Vec::new(),
        }
    }
}
