//! The whole gateway as its users meet it: a process, a scripted upstream, clients on real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: a broken expectation should stop the test"
)]

mod common;
mod faults;
mod routes;
mod walk;
