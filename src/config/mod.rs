//! Filled in by the next slice.
