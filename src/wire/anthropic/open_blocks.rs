//! The blocks of a provider's stream that are not closed yet, under the provider's numbers.

use crate::chat::{BadAnswer, Event, Opening};

/// What is held back of one stream at most.
const MAX_HELD: usize = 8 * 1024 * 1024;
/// Blocks that may be open at once. The format has one or two; this only bounds nonsense.
const MAX_OPEN: usize = 256;

/// A block that is not closed yet.
#[derive(Debug)]
pub(crate) struct OpenBlock<K> {
    /// The provider's number for it.
    index: u64,
    pub(crate) block: u32,
    pub(crate) kind: K,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct OpenBlocks<K> {
    open: Vec<OpenBlock<K>>,
    numbered: u32,
    held: usize,
}

impl<K> Default for OpenBlocks<K> {
    fn default() -> Self {
        Self { open: Vec::new(), numbered: 0, held: 0 }
    }
}

impl<K> OpenBlocks<K> {
    /// The block of this number.
    pub(crate) fn find(&mut self, index: u64) -> Option<&mut OpenBlock<K>> {
        self.open.iter_mut().find(|open| open.index == index)
    }

    /// A number of our own.
    pub(crate) fn number(&mut self) -> u32 {
        let block = self.numbered;
        self.numbered = block.saturating_add(1);
        block
    }

    /// A block begins. Kinds without an opening get their number when they are told.
    pub(crate) fn open(
        &mut self,
        index: u64,
        kind: K,
        what: Option<Opening>,
        out: &mut Vec<Event>,
    ) -> Result<u32, BadAnswer> {
        if self.open.len() >= MAX_OPEN {
            return Err(BadAnswer::Broken("too many blocks are open at once".to_owned()));
        }
        let block = if what.is_some() { self.number() } else { u32::MAX };
        self.open.push(OpenBlock { index, block, kind });
        out.extend(what.map(|what| Event::Open { block, choice: 0, what }));
        Ok(block)
    }

    /// The block of this number ends.
    pub(crate) fn take(&mut self, index: u64) -> Option<OpenBlock<K>> {
        let at = self.open.iter().position(|open| open.index == index)?;
        Some(self.open.remove(at))
    }

    /// All end.
    pub(crate) fn take_all(&mut self) -> Vec<OpenBlock<K>> {
        std::mem::take(&mut self.open)
    }

    /// So many more bytes must be kept until a block is whole.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), BadAnswer> {
        self.held = self.held.saturating_add(bytes);
        if self.held > MAX_HELD {
            return Err(BadAnswer::Broken("a block is larger than 8 MiB".to_owned()));
        }
        Ok(())
    }
}
