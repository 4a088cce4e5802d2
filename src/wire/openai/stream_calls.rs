//! Calls out of fragments.
//!
//! Upstreams number their calls 0, 1, 2, or all of them 0, or not at all; they name a call late, give it no id or a new id with each
//! fragment, say `{}` before the real arguments, and say everything once more at the end.

use serde::de::IgnoredAny;

use super::body;
use super::decode_messages::call_seal;
use super::stream_choice::Sink;
use crate::chat::ids::call_id;
use crate::chat::{BadAnswer, Delta, Opening, Seal};

const MAX_CALLS: usize = 1_024;
const MAX_ARGUMENT_BYTES: usize = 8 << 20;
/// What some upstreams say before the arguments.
const PLACEHOLDER: &str = "{}";

/// The calls of one choice.
#[derive(Debug, Default)]
pub(super) struct Calls {
    list: Vec<Call>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u32>,
    id: String,
    name: String,
    arguments: String,
    /// How much of the arguments was passed on.
    told: usize,
    custom: bool,
    block: Option<u32>,
    closed: bool,
    seal: Option<Seal>,
}

impl Calls {
    /// Whether the answer calls any tool.
    pub(super) fn any(&self) -> bool {
        self.list.iter().any(|call| call.block.is_some())
    }

    /// Takes the next fragment.
    pub(super) fn take(&mut self, fragment: body::Call<'_>, sink: &mut Sink<'_>) -> Result<(), BadAnswer> {
        self.bytes = self.bytes.saturating_add(fragment.arguments.len());
        if self.bytes > MAX_ARGUMENT_BYTES || self.list.len() > MAX_CALLS {
            return Err(BadAnswer::Broken("the arguments of its calls are too long".into()));
        }
        let at = self.place(&fragment);
        let seal = body::parsed(fragment.extra).as_ref().and_then(call_seal);
        if self.list.get(at).is_none_or(|call| call.block.is_none()) && !fragment.name.is_empty() {
            self.close_whole(at, sink);
        }
        if at >= self.list.len() {
            self.list.push(Call::default());
        }
        let Some(call) = self.list.get_mut(at) else { return Ok(()) };
        call.learn(fragment.index, fragment.id, fragment.name, fragment.custom);
        call.open(at, sink);
        call.grow(&fragment.arguments)?;
        call.seal = seal.or(call.seal.take());
        call.tell(false, sink);
        Ok(())
    }

    /// A proof that came apart from its call; false if there is no such call yet.
    pub(super) fn seal(&mut self, id: &str, seal: &Seal, sink: &mut Sink<'_>) -> bool {
        let found = self.list.iter().find(|call| call.id == id && !call.closed);
        let Some(block) = found.and_then(|call| call.block) else { return false };
        sink.delta(block, Delta::Seal(seal.clone()));
        true
    }

    /// The answer is over.
    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), BadAnswer> {
        for call in &mut self.list {
            if call.block.is_none() && !call.arguments.trim().is_empty() {
                return Err(BadAnswer::Broken("a tool call has no name".into()));
            }
            call.close(sink);
        }
        Ok(())
    }

    /// Where the call of this fragment stands; one past the end for a new one.
    fn place(&self, fragment: &body::Call<'_>) -> usize {
        let at_index = |call: &Call| fragment.index.is_none() || call.index.is_none() || call.index == fragment.index;
        if !fragment.id.is_empty()
            && let Some(at) = self.list.iter().rposition(|call| call.id == fragment.id && at_index(call))
        {
            return at;
        }
        let same = match fragment.index {
            Some(_) => self.list.iter().rposition(|call| call.index == fragment.index),
            None if fragment.id.is_empty() => self.list.len().checked_sub(1),
            None => self.list.iter().rposition(|call| call.id.is_empty() && call.index.is_none()),
        };
        let known = same.and_then(|at| self.list.get(at)).is_some_and(|call| !call.is_other(fragment));
        same.filter(|_| known).unwrap_or(self.list.len())
    }

    /// Calls that are whole are closed when the next one begins, so that nobody waits for the end of the answer.
    fn close_whole(&mut self, before: usize, sink: &mut Sink<'_>) {
        for call in self.list.iter_mut().take(before).filter(|call| !call.closed && call.is_whole()) {
            call.close(sink);
        }
    }
}

impl Call {
    /// Whether a fragment at this call's place begins another call.
    fn is_other(&self, fragment: &body::Call<'_>) -> bool {
        let named = !fragment.name.is_empty();
        if !fragment.id.is_empty() {
            return !self.id.is_empty() && self.id != fragment.id && (named || self.is_whole());
        }
        let again =
            fragment.name == self.name && (fragment.arguments.is_empty() || fragment.arguments == self.arguments);
        named && !self.name.is_empty() && self.is_whole() && !again
    }

    fn learn(&mut self, index: Option<u32>, id: String, name: String, custom: bool) {
        self.index = self.index.or(index);
        if self.block.is_none() {
            if self.id.is_empty() {
                self.id = id;
            }
            if self.name.is_empty() {
                self.name = name;
            }
            self.custom |= custom;
        }
    }

    fn is_whole(&self) -> bool {
        let text = self.arguments.trim();
        !self.custom && !text.is_empty() && serde_json::from_str::<IgnoredAny>(text).is_ok()
    }

    fn open(&mut self, at: usize, sink: &mut Sink<'_>) {
        if self.block.is_some() || self.name.is_empty() {
            return;
        }
        if self.id.is_empty() {
            self.id = call_id(sink.salt, at, &self.name);
        }
        let opening =
            Opening::ToolCall { id: self.id.clone(), name: self.name.clone(), namespace: None, custom: self.custom };
        self.block = Some(sink.open(opening));
    }

    fn grow(&mut self, more: &str) -> Result<(), BadAnswer> {
        if more.is_empty() {
            return Ok(());
        }
        let begins = !self.custom && more.trim_start().starts_with('{');
        if begins && self.told == 0 && self.arguments == PLACEHOLDER {
            self.arguments.clear();
        } else if begins && self.is_whole() {
            // Everything once more.
            return Ok(());
        }
        if self.closed && !more.trim().is_empty() {
            return Err(BadAnswer::Broken("arguments of a call that was whole".into()));
        }
        self.arguments.push_str(more);
        Ok(())
    }

    /// Passes on what is new.
    fn tell(&mut self, last: bool, sink: &mut Sink<'_>) {
        let Some(block) = self.block.filter(|_| !self.closed) else { return };
        if last || self.told > 0 || self.arguments != PLACEHOLDER {
            let more = self.arguments.get(self.told..).unwrap_or_default();
            if !more.is_empty() {
                sink.delta(block, Delta::Arguments(more.to_owned()));
            }
            self.told = self.arguments.len();
        }
        if let Some(seal) = self.seal.take() {
            sink.delta(block, Delta::Seal(seal));
        }
    }

    fn close(&mut self, sink: &mut Sink<'_>) {
        self.tell(true, sink);
        if let Some(block) = self.block.filter(|_| !self.closed) {
            sink.close(block);
            self.closed = true;
        }
    }
}
