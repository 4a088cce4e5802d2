//! What the gateway needs from the machine beneath it.

pub mod alarms;
pub mod backups;
pub mod crypto;
pub mod drain;
pub mod lateness;
pub mod lifecycle;
pub mod memory;
pub mod metrics;
pub mod notify;
pub mod orders;
pub mod overload;
pub mod recorder;
pub mod refused_addresses;
pub mod signals;
pub mod state_saver;
pub mod stats;
pub mod sync;
pub mod telemetry;
