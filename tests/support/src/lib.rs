//! The test kit: a scripted upstream, a harness around the gateway's program, a small HTTP client and a load generator.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test tool: a broken expectation should stop the run"
)]

pub mod admin;
pub mod gateway;
pub mod http;
pub mod load;
pub mod mock;
pub mod proc;
pub mod proxy;
pub mod services;
