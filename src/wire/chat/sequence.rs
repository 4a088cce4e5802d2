//! One piece after the other, for formats whose blocks must not overlap.
//!
//! Chat streams may write two calls by turns. Here the first one goes on, and what belongs to later ones waits until it is closed.

use std::collections::VecDeque;

use super::event::Event;

/// Puts the events of overlapping blocks in sequence.
#[derive(Debug, Default)]
pub struct Sequencer {
    current: Option<u32>,
    /// Blocks that wait for their turn, in the order of their openings, with their events.
    waiting: VecDeque<(u32, Vec<Event>, bool)>,
}

impl Sequencer {
    /// Take an event; whatever may be said now is added to `out`.
    pub fn push(&mut self, event: Event, out: &mut Vec<Event>) {
        match &event {
            Event::Open { block, .. } if self.current.is_none() => {
                self.current = Some(*block);
                out.push(event);
            }
            Event::Open { block, .. } => self.waiting.push_back((*block, vec![event], false)),
            Event::Delta { block, .. } if self.current == Some(*block) => out.push(event),
            Event::Close { block } if self.current == Some(*block) => {
                self.current = None;
                out.push(event);
                self.next(out);
            }
            Event::Delta { block, .. } => self.keep(*block, event, false),
            Event::Close { block } => self.keep(*block, event, true),
            _ => out.push(event),
        }
    }

    fn keep(&mut self, block: u32, event: Event, closed: bool) {
        if let Some((_, events, is_closed)) = self.waiting.iter_mut().find(|waiting| waiting.0 == block) {
            events.push(event);
            *is_closed |= closed;
        }
    }

    /// Blocks that were closed while they waited are said whole; the first open one becomes the current one.
    fn next(&mut self, out: &mut Vec<Event>) {
        while let Some((block, events, closed)) = self.waiting.pop_front() {
            out.extend(events);
            if !closed {
                self.current = Some(block);
                return;
            }
        }
    }
}
