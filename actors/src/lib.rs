//! The actor system.
