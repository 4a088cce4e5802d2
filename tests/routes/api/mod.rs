//! The management API.

mod auth;
mod combos;
mod config;
mod db_backups;
mod evals;
mod keys;
mod monitoring;
mod provider_nodes;
mod providers;
mod resilience;
mod scopes;
mod secrecy;
