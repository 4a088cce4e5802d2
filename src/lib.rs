//! OmniRoute: one endpoint in front of many LLM provider accounts.

pub mod app;
pub mod auth;
pub mod boot;
pub mod cli;
pub mod commands;
pub mod config;
pub mod demo;
pub mod error;
pub mod evals;
pub mod gateway;
pub mod infra;
pub mod providers;
pub mod routes;
pub mod server;
pub mod settings;
pub mod store;
pub mod upstream;
pub use omniroute_wire as wire;
