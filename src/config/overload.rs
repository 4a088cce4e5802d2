//! The section about what the process as a whole takes on.

use super::section::section;

section! {
    /// What the process takes on before it refuses new calls, quickly and fairly between keys.
    pub struct Overload {
        /// Calls in flight at a time over all workers; from four fifths of it on, a key that has more than its even share
        /// of them gets no further one. 0 is no limit.
        max_in_flight: u64 = 10_000, within 0..=10_000_000;
        /// Delay of a worker's event loop, without a moment of rest, from which on it takes fewer calls a second; 0 never
        /// takes fewer.
        max_lag_ms: u64 = 3, within 0..=60_000;
        /// Share of the memory that the process may have (the limit of its control group) from which on new calls are
        /// refused; 0 does not look.
        max_memory_percent: u64 = 85, within 0..=100;
    }
}
