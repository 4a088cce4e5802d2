//! Bytes of a stream that were not cut into frames yet.
//!
//! A frame that lies whole inside one input chunk is a slice of that chunk; only what spans chunks is copied.

use bytes::{Bytes, BytesMut};

/// A frame grew past the cap. What is held is gone then, and nothing more is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The bytes at hand and the beginning of a frame from chunks before.
#[derive(Debug)]
pub(crate) struct Uncut {
    cap: usize,
    failed: bool,
    /// What was not looked at yet.
    pub(crate) chunk: Bytes,
    /// The beginning of a frame that did not end in its chunk.
    pub(crate) tail: BytesMut,
}

impl Uncut {
    /// Nothing yet; a frame may have `cap` bytes.
    pub(crate) fn new(cap: usize) -> Self {
        Self { cap, failed: false, chunk: Bytes::new(), tail: BytesMut::new() }
    }

    /// The most that a frame may have.
    #[inline]
    pub(crate) fn cap(&self) -> usize {
        self.cap
    }

    /// A frame was too long.
    #[inline]
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// The next bytes of the stream.
    #[inline]
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if self.failed {
            return;
        }
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(self.chunk.len().saturating_add(chunk.len()));
            joined.extend_from_slice(&self.chunk);
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
        }
    }

    /// The frame that ends in front of this byte of the chunk.
    #[inline]
    pub(crate) fn take(&mut self, end: usize) -> Result<Bytes, TooLong> {
        self.check(end)?;
        let part = self.chunk.split_to(end);
        if self.tail.is_empty() {
            return Ok(part);
        }
        self.tail.extend_from_slice(&part);
        Ok(self.tail.split().freeze())
    }

    /// No frame ends in this chunk: what is left of it waits for the next one.
    #[inline]
    pub(crate) fn keep(&mut self) -> Result<(), TooLong> {
        self.check(self.chunk.len())?;
        self.tail.extend_from_slice(&self.chunk);
        self.chunk = Bytes::new();
        Ok(())
    }

    #[inline]
    fn check(&mut self, more: usize) -> Result<(), TooLong> {
        if self.tail.len().saturating_add(more) <= self.cap {
            return Ok(());
        }
        self.failed = true;
        self.chunk = Bytes::new();
        self.tail = BytesMut::new();
        Err(TooLong)
    }
}
