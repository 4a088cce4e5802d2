//! The section about evals.

use super::section::section;

section! {
    /// Trying models with the cases of a suite (`/api/evals`). It waits while clients need the gateway.
    pub struct Evals {
        /// Runs that are worked on at a time; further ones are queued.
        max_running: usize = 2, within 1..=64;
        /// Runs that may wait or be worked on at a time; beyond it a new one is refused.
        max_queued: usize = 20, within 1..=10_000;
        /// Cases of one run that are asked at a time.
        parallel_cases: usize = 4, within 1..=64;
        /// Longest time one question may take, all attempts together.
        case_timeout_s: u64 = 120, within 1..=86_400;
        /// How long a call that begins a run waits for its end before it answers with the progress.
        wait_s: u64 = 120, within 0..=3_600;
        /// Days for which runs are kept; 0 keeps them.
        retention_days: u32 = 90, within 0..=3_650;
        /// Runs that are kept at most.
        keep_runs: u32 = 1_000, within 1..=1_000_000;
    }
}
