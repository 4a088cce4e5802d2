//! What the gateway needs from the machine beneath it.

pub mod crypto;
pub mod lifecycle;
pub mod recorder;
