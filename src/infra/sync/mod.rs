//! Configurations between instances: signed and dated, fetched from the one peer that the operator names or brought there.
//!
//! ```text
//! pull: nonce ──► peer;   peer ──► configuration, signed over the nonce ──► checked, applied in one transaction
//! push: configuration, signed ──► peer: checked against clock and the last one applied, applied in one transaction
//! ```

mod envelope;
mod peer;
mod tally;

pub use envelope::{Envelope, Opened, Rejected, Wish, seal};
pub use peer::{Peer, PeerError};
pub use tally::{ExchangeCounts, Exchanges};
