//! The management API.

mod auth;
mod combos;
mod config;
mod db_backups;
mod evals;
mod keys;
mod monitoring;
mod oauth;
mod oauth_secrecy;
mod provider_import;
mod provider_models;
mod provider_nodes;
mod providers;
mod resilience;
mod scopes;
mod secrecy;
mod settings;
mod sync;
mod system;
