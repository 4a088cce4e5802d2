//! A stream that outlives its upstream: what one source began, another may go on with, and the client sees one answer.
//!
//! The source only listens; this part hears what it heard, gives the blocks numbers of its own and writes them for the
//! client. When the source breaks off in the middle of plain text, [`splice`](Trunk::splice) puts another one in its
//! place: its text goes on in the block that is open, after the [`Seam`]; what it thinks is not shown.

use bytes::{Bytes, BytesMut};

use super::seam::Seam;
use super::{MOST_HELD, Progress, Relay};
use crate::gateway::fault::Fault;
use crate::wire::chat::{Delta, Event, Opening, StreamEncoder, Took};
use crate::wire::openai_error::ErrorBody;
use crate::wire::usage::Usage;

/// A longer answer is not gone on with: it would have to be sent whole.
const LONGEST: usize = 512 * 1024;

/// One answer of perhaps several sources.
#[derive(Debug)]
pub struct Trunk {
    source: Box<dyn Relay>,
    encoder: Box<dyn StreamEncoder>,
    out: BytesMut,
    /// Numbers of blocks: the source's, and ours where the client sees it.
    blocks: Vec<(u32, Option<u32>)>,
    next_block: u32,
    /// Our number of the text that grows.
    open_text: Option<u32>,
    said: Said,
    spliced: bool,
    seam: Option<Seam>,
    /// Used by other calls for the same answer.
    spent: Usage,
    /// The source has said what it used.
    counted: bool,
    prompt_chars: u64,
}

/// What the client has read.
#[derive(Debug, Default)]
struct Said {
    text: String,
    /// Thoughts that are not whole.
    thinking: usize,
    /// There was something that is no text and no thought, or it is over.
    other: bool,
}

impl Trunk {
    /// An answer that begins with this source.
    pub fn new(source: Box<dyn Relay>, encoder: Box<dyn StreamEncoder>, spent: Usage, prompt_chars: u64) -> Self {
        Self {
            source,
            encoder,
            out: BytesMut::new(),
            blocks: Vec::new(),
            next_block: 0,
            open_text: None,
            said: Said::default(),
            spliced: false,
            seam: None,
            spent,
            counted: false,
            prompt_chars,
        }
    }

    /// The text so far, where somebody else can go on with it: nothing but text is open, none has gone on before.
    pub fn so_far(&self) -> Option<&str> {
        let plain = !self.said.other && self.said.thinking == 0 && !self.spliced;
        let text = Some(self.said.text.as_str()).filter(|text| !text.trim().is_empty() && text.len() <= LONGEST);
        text.filter(|_| plain)
    }

    /// Go on with this source, which may be whole already; `note` tells it to clients that look.
    pub fn splice(&mut self, source: Box<dyn Relay>, whole: bool, note: &str) {
        let used = self.source.usage(self.prompt_chars);
        self.spent = self.spent.and(&used);
        self.source = source;
        self.counted = false;
        self.spliced = true;
        self.blocks.clear();
        self.seam = Some(Seam::after(&self.said.text));
        self.encoder.note(note, &mut self.out);
        self.drain();
        if whole {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if !self.counted && self.spent != Usage::default() {
            let all = self.spent.and(&self.source.usage(self.prompt_chars));
            self.write(&Event::Usage(all));
        }
        self.encoder.finish(&mut self.out);
    }

    fn drain(&mut self) {
        for event in self.source.take_events() {
            self.tell(event);
        }
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Begin(_) if self.spliced => {}
            Event::Open { block, choice, what } => self.open(block, choice, what),
            Event::Delta { block, delta } => self.grow(block, delta),
            Event::Close { block } => self.close_block(block),
            Event::Logprobs { .. } if self.spliced => {}
            Event::Stop { choice, stop } => {
                self.close_text();
                self.said.other = true;
                self.write(&Event::Stop { choice, stop });
            }
            Event::Usage(usage) => {
                self.counted = true;
                self.write(&Event::Usage(self.spent.and(&usage)));
            }
            other => self.write(&other),
        }
    }

    fn write(&mut self, event: &Event) {
        self.encoder.event(event, &mut self.out);
    }

    fn open(&mut self, block: u32, choice: u32, what: Opening) {
        let hidden = self.spliced && matches!(what, Opening::Thinking { .. });
        let goes_on = self.open_text.filter(|_| self.spliced && matches!(what, Opening::Text));
        if hidden || goes_on.is_some() {
            self.blocks.push((block, goes_on));
            return;
        }
        if self.spliced {
            self.close_text();
        }
        let own = self.next_block;
        self.next_block += 1;
        self.blocks.push((block, Some(own)));
        match &what {
            Opening::Text => self.open_text = Some(own),
            Opening::Thinking { .. } => self.said.thinking += 1,
            _ => self.said.other = true,
        }
        // Another choice than the first is another answer.
        self.said.other |= choice != 0;
        self.write(&Event::Open { block: own, choice, what });
    }

    fn own(&self, block: u32) -> Option<u32> {
        self.blocks.iter().rev().find(|(known, _)| *known == block).and_then(|(_, own)| *own)
    }

    fn grow(&mut self, block: u32, delta: Delta) {
        let Some(own) = self.own(block) else { return };
        let delta = match delta {
            Delta::Text(text) if self.open_text == Some(own) => match self.seam.as_mut() {
                None => Delta::Text(text),
                Some(seam) => {
                    let Some(clear) = seam.take(&text) else { return };
                    self.seam = None;
                    Delta::Text(clear)
                }
            },
            other => other,
        };
        self.add(own, delta);
    }

    fn add(&mut self, own: u32, delta: Delta) {
        if let (Delta::Text(text), true) = (&delta, self.open_text == Some(own)) {
            if text.is_empty() {
                return;
            }
            if self.said.text.len() <= LONGEST {
                self.said.text.push_str(text);
            }
        }
        self.write(&Event::Delta { block: own, delta });
    }

    fn close_block(&mut self, block: u32) {
        let Some(own) = self.own(block) else { return };
        if self.open_text == Some(own) {
            return self.close_text();
        }
        self.said.thinking = self.said.thinking.saturating_sub(1);
        self.write(&Event::Close { block: own });
    }

    /// What the seam still holds belongs to the text that ends here.
    fn close_text(&mut self) {
        let Some(own) = self.open_text else { return };
        if let Some(mut seam) = self.seam.take() {
            let held = seam.finish();
            self.add(own, Delta::Text(held));
        }
        self.open_text = None;
        self.write(&Event::Close { block: own });
    }
}

impl Relay for Trunk {
    fn absorb(&mut self, chunk: Bytes) -> Result<Progress, Fault> {
        let progress = self.source.absorb(chunk);
        // What came before an error is the client's.
        self.drain();
        progress
    }

    fn close(&mut self, took: Took) -> Result<(), Fault> {
        self.source.close(took)?;
        self.drain();
        self.finish();
        Ok(())
    }

    fn must_commit(&self) -> bool {
        self.source.must_commit() || self.out.len() > MOST_HELD
    }

    fn take_out(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    fn waiting(&self) -> usize {
        self.out.len()
    }

    fn usage(&self, prompt_chars: u64) -> Usage {
        self.source.usage(prompt_chars)
    }

    fn contents(&self) -> u64 {
        self.source.contents()
    }

    fn fail(&mut self, error: &ErrorBody) -> Bytes {
        self.encoder.fail(error, &mut self.out);
        self.take_out()
    }

    fn heartbeat(&self) -> Bytes {
        self.encoder.heartbeat()
    }

    fn trunk(&mut self) -> Option<&mut Trunk> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::gateway::relay::{NeutralRelay, Way};
    use crate::wire::chat::{Format, Reply, Request, WayBack};
    use crate::wire::{anthropic, openai};

    /// A stream of chat chunks, heard.
    fn source(deltas: &[&str], end: bool) -> Box<dyn Relay> {
        let way = Way::Listen(WayBack::default().for_stream(), Vec::new());
        let frames = crate::gateway::provider_format::frames(Format::OpenAiChat, 10_000);
        let mut relay = NeutralRelay::new(frames, Box::<openai::Decoder>::default(), way, String::new());
        for delta in deltas {
            let chunk = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n");
            relay.absorb(Bytes::from(chunk)).unwrap();
        }
        if end {
            let usage = r#""usage":{"prompt_tokens":7,"completion_tokens":2}"#;
            let stop = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
            let last = format!("{stop}\n\ndata: {{\"choices\":[],{usage}}}\n\ndata: [DONE]\n\n");
            relay.absorb(Bytes::from(last)).unwrap();
            relay.close(Took::default()).unwrap();
        }
        Box::new(relay)
    }

    fn trunk(deltas: &[&str]) -> Trunk {
        let request = Arc::new(Request::new(Format::Anthropic, "m"));
        let reply =
            Reply { id: "x".into(), created: 1, model: "m".into(), include_usage: true, as_array: false, request };
        let encoder = Box::new(anthropic::Encoder::new(&reply));
        let mut trunk = Trunk::new(source(deltas, false), encoder, Usage::default(), 400);
        trunk.drain();
        trunk
    }

    #[test]
    fn only_text_is_gone_on_with_and_only_once() {
        let text = [r#"{"role":"assistant"}"#, r#"{"content":"Once upon"}"#];
        assert_eq!(trunk(&text).so_far(), Some("Once upon"));
        assert_eq!(trunk(&[r#"{"reasoning_content":"hm"}"#]).so_far(), None);
        assert_eq!(trunk(&[r#"{"reasoning_content":"hm"}"#, r#"{"content":"Once"}"#]).so_far(), Some("Once"));
        let call =
            r#"{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}"#;
        assert_eq!(trunk(&[r#"{"content":"Once"}"#, call]).so_far(), None);

        let mut spliced = trunk(&text);
        spliced.splice(source(&[r#"{"content":" a"}"#], false), false, "note");
        assert_eq!(spliced.so_far(), None);
    }

    #[test]
    fn the_rest_goes_on_in_the_open_block_and_thoughts_about_it_are_not_shown() {
        let mut trunk = trunk(&[r#"{"content":"Once upon"}"#]);
        let rest = source(&[r#"{"reasoning_content":"go on"}"#, r#"{"content":"upon a time"}"#], true);

        trunk.splice(rest, true, "x-omniroute-continued=b/m");

        let text = String::from_utf8(trunk.take_out().to_vec()).unwrap();
        assert_eq!(text.matches("content_block_start").count() / 2, 1, "{text}");
        assert!(text.contains(": x-omniroute-continued=b/m\n\n") && !text.contains("go on"), "{text}");
        assert!(text.contains(r#""text":"Once upon""#) && text.contains(r#""text":" a time""#), "{text}");
        // What the first one used is a guess: 400 characters in, 9 out.
        assert!(text.contains(r#""input_tokens":107"#) && text.contains(r#""output_tokens":5"#), "{text}");
        assert!(text.trim_end().ends_with("}") && text.contains("message_stop"), "{text}");
    }
}
