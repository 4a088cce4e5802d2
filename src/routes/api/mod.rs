//! The management API: one file per family of addresses, named as in the addresses.

mod audit;
mod auth;
mod availability;
mod combo_builder;
mod combo_check;
mod combo_config;
mod combo_defaults;
mod combo_form;
mod combo_metrics;
mod combo_steps;
mod combo_test;
mod combos;
mod config;
mod connection_form;
mod connection_view;
mod db_backups;
mod explain;
mod fallback_chains;
mod init;
mod keys;
mod learn;
mod live;
mod mappings;
mod model_aliases;
mod model_facts;
mod models;
mod monitoring;
mod openapi;
mod policies;
mod policy_form;
mod probe;
mod provider_nodes;
mod providers;
mod rate_limits;
pub mod resilience;
mod resilience_numbers;
mod resilience_patch;
mod sessions;
mod telemetry;

pub use learn::look as learn_models;
pub use resilience_numbers::{SETTING as RESILIENCE_SETTING, effective_resilience};

use super::RouteSpec;

/// Every route of the management API.
pub fn routes() -> Vec<RouteSpec> {
    [
        auth::routes(),
        init::routes(),
        providers::routes(),
        provider_nodes::routes(),
        combo_builder::routes(),
        combo_metrics::routes(),
        combo_test::routes(),
        explain::routes(),
        combo_defaults::routes(),
        combos::routes(),
        models::routes(),
        model_aliases::routes(),
        availability::routes(),
        model_facts::routes(),
        mappings::routes(),
        fallback_chains::routes(),
        policies::routes(),
        keys::routes(),
        resilience::routes(),
        rate_limits::routes(),
        telemetry::routes(),
        sessions::routes(),
        monitoring::routes(),
        config::routes(),
        db_backups::routes(),
        audit::routes(),
        openapi::routes(),
    ]
    .concat()
}
