//! The management API: one file per family of addresses, named as in the addresses.

mod assess;
mod audit;
mod auth;
mod availability;
mod cli_tools;
mod cloud;
mod cloud_tokens;
mod combo_builder;
mod combo_check;
mod combo_config;
mod combo_defaults;
mod combo_ensemble;
mod combo_form;
mod combo_metrics;
mod combo_steps;
mod combo_test;
mod combos;
mod config;
mod connection_checks;
mod connection_find;
mod connection_form;
mod connection_models;
mod connection_page;
mod connection_test;
mod connection_view;
mod db_backups;
mod eval_form;
mod eval_suites;
mod evals;
mod explain;
mod fallback_chains;
mod init;
mod ip_filter;
mod keys;
mod learn;
pub(super) mod live;
mod mappings;
mod model_aliases;
mod model_facts;
mod model_test;
mod models;
mod monitoring;
mod oauth;
mod oauth_begin;
mod oauth_callback;
mod oauth_end;
mod oidc;
mod oidc_provider;
mod oidc_recheck;
mod openapi;
mod policies;
mod policy_form;
mod probe;
mod provider_batch;
mod provider_import;
mod provider_models;
mod provider_nodes;
mod providers;
mod proxy;
mod proxy_test;
mod rate_limits;
pub mod resilience;
mod resilience_numbers;
mod resilience_patch;
mod sessions;
mod settings;
mod settings_aliases;
mod stored;
mod sync;
mod sync_exchange;
mod sync_schedule;
mod sync_tokens;
mod system;
mod system_prompt;
mod telemetry;
mod thinking_budget;
mod token_health;
mod tool_settings;

pub use learn::look as learn_models;
pub use oidc_recheck::look as recheck_accounts;
pub use resilience_numbers::{SETTING as RESILIENCE_SETTING, effective_resilience};
pub use sync_schedule::look as exchange_configurations;

use super::RouteSpec;

/// Every route of the management API.
pub fn routes() -> Vec<RouteSpec> {
    [
        auth::routes(),
        oidc::routes(),
        init::routes(),
        providers::routes(),
        connection_models::routes(),
        provider_batch::routes(),
        provider_import::routes(),
        provider_models::routes(),
        oauth::routes(),
        oauth_callback::routes(),
        token_health::routes(),
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
        model_test::routes(),
        mappings::routes(),
        fallback_chains::routes(),
        policies::routes(),
        keys::routes(),
        resilience::routes(),
        rate_limits::routes(),
        settings::routes(),
        settings_aliases::routes(),
        ip_filter::routes(),
        proxy::routes(),
        system_prompt::routes(),
        thinking_budget::routes(),
        telemetry::routes(),
        sessions::routes(),
        monitoring::routes(),
        config::routes(),
        system::routes(),
        db_backups::routes(),
        evals::routes(),
        eval_suites::routes(),
        assess::routes(),
        audit::routes(),
        cli_tools::routes(),
        cloud::routes(),
        sync::routes(),
        sync_tokens::routes(),
        openapi::routes(),
    ]
    .concat()
}
