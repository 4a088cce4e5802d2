//! From rows to what the actor system works with. Pure.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use omniroute_actors::connection::config::{ConnectionConfig, Limits, Source, UpstreamTarget};
use omniroute_actors::connection::token::Exchange;
use omniroute_actors::ids::{ConnectionId, ProviderId};
use omniroute_actors::resilience::settings::{BreakerSettings, CooldownSettings, HealthSettings};
use omniroute_actors::router::plan::{Combo, Step, StepTarget, Strategy};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::prefix;
use crate::config::{Breaker, Cooldown, RequestQueue, Resilience};
use crate::demo::{self, DemoConnection};
use crate::providers::exchange::{self, Plan};
use crate::providers::oauth;
use crate::providers::{AuthHeader, Catalog, Class, EnvironmentConnection, NodeKind, ProviderSpec, Quirk, Wire};
use crate::store::{ConnectionRow, NodeRow};

#[cfg(test)]
mod tests;

/// Turns connection rows into configurations.
pub struct Assembler<'a> {
    nodes: &'a [NodeRow],
    resilience: &'a Resilience,
    demo_url: Option<&'a str>,
}

impl<'a> Assembler<'a> {
    /// With the nodes and numbers in force.
    pub const fn new(nodes: &'a [NodeRow], resilience: &'a Resilience, demo_url: Option<&'a str>) -> Self {
        Self { nodes, resilience, demo_url }
    }

    /// What a row becomes.
    ///
    /// # Errors
    /// Why it cannot become a connection; safe to show.
    pub fn connection(&self, row: &ConnectionRow, source: Source) -> Result<ConnectionConfig, String> {
        if row.credential_unreadable {
            return Err("its credential was sealed with another master key".into());
        }
        let spec = self.spec(row, source)?;
        let plan = plan(&spec, row)?;
        let queue = &self.resilience.request_queue;
        let class = if row.auth_type == oauth::AUTH_TYPE { Class::Oauth } else { spec.class };
        let paced = row.rate_limit_protection
            || (queue.auto_enable_api_key_providers && class == Class::Apikey && source != Source::Demo);
        let own_limit = row.max_concurrent.and_then(|most| u32::try_from(most).ok()).filter(|most| *most > 0);
        let (requests_per_minute, limits) = pace(queue, paced, &row.provider_specific_data);
        Ok(ConnectionConfig {
            id: ConnectionId::from(row.id.as_str()),
            provider: ProviderId::from(row.provider.as_str()),
            name: row.name.clone(),
            source,
            priority: row.priority,
            is_active: row.is_active,
            max_concurrent: own_limit.unwrap_or(if paced { queue.concurrent_requests } else { 0 }),
            requests_per_minute,
            limits,
            health: self.health(class),
            target: Arc::new(target(&spec, row, &plan)?),
            tags: tags(row),
            region: region(row),
            credential_version: credential_version(row, plan.exchange.as_ref()),
            exchange: plan.exchange.map(Arc::new),
        })
    }

    fn spec(&self, row: &ConnectionRow, source: Source) -> Result<ProviderSpec, String> {
        if source == Source::Demo {
            let base_url = self.demo_url.ok_or("the demo provider does not run")?;
            return Ok(own_endpoint(demo::PROVIDER_ID, demo::PROVIDER_NAME, base_url, Wire::OpenaiChat));
        }
        if let Some(node) = self.nodes.iter().find(|node| node.id == row.provider) {
            return Ok(node_spec(node));
        }
        let known = Catalog::builtin().get(&row.provider).cloned();
        known.ok_or_else(|| format!("provider '{}' is neither in the catalogue nor a node", row.provider))
    }

    fn health(&self, class: Class) -> HealthSettings {
        let (breakers, cooldowns) = (&self.resilience.provider_breaker, &self.resilience.connection_cooldown);
        let (breaker, cooldown) = match class {
            Class::Oauth => (&breakers.oauth, &cooldowns.oauth),
            Class::Apikey => (&breakers.apikey, &cooldowns.apikey),
            Class::Local => (&breakers.local, &cooldowns.local),
        };
        HealthSettings {
            breaker: breaker_settings(breaker),
            cooldown: cooldown_settings(cooldown),
            terminal_probe: Duration::from_secs(cooldown.terminal_probe_interval_s),
        }
    }
}

/// What becomes of the credential: an account's, or the one that its provider's entry describes.
fn plan(spec: &ProviderSpec, row: &ConnectionRow) -> Result<Plan, String> {
    if row.auth_type == oauth::AUTH_TYPE {
        return Ok(Plan { exchange: oauth::exchange(row.credential.as_ref())?, ..Plan::default() });
    }
    exchange::plan(spec, row.credential.as_ref(), &row.provider_specific_data)
}

/// The pace of a connection: its own numbers, or those for all where it is to be paced.
fn pace(queue: &RequestQueue, paced: bool, data: &Value) -> (u32, Limits) {
    let own = |name: &str| data.get(name).and_then(Value::as_u64);
    let number = |name: &str, common: u64| own(name).unwrap_or(if paced { common } else { 0 });
    let requests = number("requestsPerMinute", u64::from(queue.requests_per_minute));
    let limits = Limits {
        tokens_per_minute: number("tokensPerMinute", queue.tokens_per_minute),
        min_gap: Duration::from_millis(number("minTimeBetweenRequestsMs", queue.min_time_between_requests_ms)),
        queue_depth: queue.max_queue_depth,
        max_wait: Duration::from_millis(queue.max_wait_ms),
    };
    (u32::try_from(requests).unwrap_or(u32::MAX), limits)
}

fn breaker_settings(breaker: &Breaker) -> BreakerSettings {
    BreakerSettings {
        failure_threshold: breaker.failure_threshold,
        degradation_threshold: breaker.degradation_threshold,
        reset_timeout: Duration::from_millis(breaker.reset_timeout_ms),
        max_open: Duration::from_millis(breaker.max_open_ms),
        window: Duration::from_millis(breaker.window_ms),
        minimum_calls: breaker.minimum_calls,
        failure_rate_percent: breaker.failure_rate_percent,
        half_open_successes: breaker.half_open_successes,
        probe_lease: Duration::from_millis(breaker.probe_lease_ms),
        slow_call: Duration::from_millis(breaker.slow_call_ms),
        slow_call_rate_percent: breaker.slow_call_rate_percent,
        ramp: Duration::from_millis(breaker.ramp_ms),
    }
}

const fn cooldown_settings(cooldown: &Cooldown) -> CooldownSettings {
    CooldownSettings {
        base: Duration::from_millis(cooldown.base_cooldown_ms),
        max_steps: cooldown.max_backoff_steps,
        max: Duration::from_millis(cooldown.max_cooldown_ms),
        use_hints: cooldown.use_upstream_retry_hints,
    }
}

/// An entry for an endpoint that is not in the catalogue.
fn own_endpoint(id: &str, name: &str, base_url: &str, wire: Wire) -> ProviderSpec {
    let mut spec = ProviderSpec {
        id: id.into(),
        alias: id.into(),
        name: name.into(),
        wire,
        base_url: base_url.into(),
        chat_path: String::new(),
        stream_path: None,
        models_path: String::new(),
        auth: AuthHeader::default(),
        class: Class::Apikey,
        key_optional: true,
        env: Vec::new(),
        variables: BTreeMap::new(),
        defaults: BTreeMap::new(),
        exchange: None,
        shapes: Vec::new(),
        headers: BTreeMap::new(),
        models: Vec::new(),
        passthrough_models: true,
        context: None,
        quirks: Vec::new(),
        notes: None,
    };
    spec.complete();
    spec
}

fn node_spec(node: &NodeRow) -> ProviderSpec {
    // A row of a kind that is not known any more is taken for what most endpoints are.
    let [chat, ..] = NodeKind::ALL;
    let kind = NodeKind::find(&node.kind, node.api_type.as_deref()).unwrap_or(chat);
    let mut spec = own_endpoint(&node.id, &node.name, node.base_url.trim_end_matches('/'), kind.wire);
    spec.auth = kind.auth();
    spec.headers.extend(kind.headers().iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    if let Some(path) = &node.chat_path {
        spec.chat_path.clone_from(path);
        spec.stream_path = None;
    }
    if let Some(path) = node.models_path.as_deref().or(kind.models_path()) {
        path.clone_into(&mut spec.models_path);
    }
    spec
}

fn target(spec: &ProviderSpec, row: &ConnectionRow, plan: &Plan) -> Result<UpstreamTarget, String> {
    let mut whole = plain_target(spec, row, plan)?;
    for shape in &spec.shapes {
        let other = Arc::new(plain_target(&spec.shaped(shape), row, plan)?);
        whole.by_model.extend(shape.models.iter().map(|begins| (begins.clone(), Arc::clone(&other))));
    }
    Ok(whole)
}

fn plain_target(spec: &ProviderSpec, row: &ConnectionRow, plan: &Plan) -> Result<UpstreamTarget, String> {
    let data = &row.provider_specific_data;
    let base = data.get("baseUrl").and_then(Value::as_str);
    // What an operator says counts more than what the credential knows.
    let variables = plan.variables.clone().into_iter().chain(variables(data)).collect();
    let chat = spec.endpoint(base, &variables).map_err(|problem| problem.to_string())?;
    let stream = spec.stream_endpoint(base, &variables).map_err(|problem| problem.to_string())?;
    let models = spec.models_endpoint(base, &variables).map_err(|problem| problem.to_string())?;
    let headers = spec.filled_headers(&variables).map_err(|problem| problem.to_string())?;
    let sent = row.credential.as_ref().filter(|secret| plan.exchange.is_none() && !secret.expose_secret().is_empty());
    Ok(UpstreamTarget {
        chat_url: chat.into(),
        stream_url: stream.map(Into::into),
        models_url: models.map(Into::into),
        auth_header: sent.map(|secret| {
            let (name, value) = spec.auth_header(secret);
            (name.to_owned(), value)
        }),
        headers,
        quirks: prefix::overruled(quirk_bits(&spec.quirks), data) | own_kind(data),
        wire: spec.wire.number(),
        by_model: Vec::new(),
    })
}

fn variables(data: &Value) -> BTreeMap<String, String> {
    let members = data.as_object().into_iter().flatten();
    members.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// An operator says that another gateway of this kind is behind a connection.
fn own_kind(data: &Value) -> u32 {
    let is_one = data.get("omniroute").and_then(Value::as_bool).unwrap_or(false);
    if is_one { quirk_bit(Quirk::TakesDeadline) } else { 0 }
}

/// The catalogue's oddities as the bits that a lease carries.
pub fn quirk_bits(quirks: &[Quirk]) -> u32 {
    quirks.iter().fold(0, |bits, quirk| bits | quirk_bit(*quirk))
}

/// The bit of one oddity.
pub const fn quirk_bit(quirk: Quirk) -> u32 {
    1 << quirk as u32
}

/// Tags that requests and policies may ask for: `tags` of what is stored beside the connection, and its group.
fn tags(row: &ConnectionRow) -> Arc<[Arc<str>]> {
    let stored = row.provider_specific_data.get("tags").and_then(Value::as_array).into_iter().flatten();
    let named = stored.filter_map(Value::as_str).chain(row.group_name.as_deref());
    named.filter(|tag| !tag.is_empty()).map(Arc::from).collect()
}

fn region(row: &ConnectionRow) -> Option<Arc<str>> {
    row.provider_specific_data.get("region").and_then(Value::as_str).map(Arc::from)
}

/// Changes when the credential does, or the place and the purpose that it is exchanged at and for; says nothing about it.
fn credential_version(row: &ConnectionRow, exchange: Option<&Exchange>) -> u64 {
    let mut hasher = DefaultHasher::new();
    row.credential.as_ref().map(ExposeSecret::expose_secret).hash(&mut hasher);
    exchange.map(|exchange| (&exchange.token_url, &exchange.scope)).hash(&mut hasher);
    hasher.finish()
}

/// The row of a connection found in the environment.
pub fn environment_row(found: &EnvironmentConnection) -> ConnectionRow {
    let mut data = json!(found.variables);
    if let (Some(base_url), Some(members)) = (&found.base_url, data.as_object_mut()) {
        members.insert("baseUrl".into(), json!(base_url));
    }
    built_in_row(&found.id, &found.provider, &found.name, Some(found.credential.clone()), 1, data)
}

/// The row of a demo connection.
pub fn demo_row(connection: DemoConnection) -> ConnectionRow {
    let priority = i32::try_from(connection.priority).unwrap_or(1);
    let key = Some(connection.api_key.into());
    built_in_row(connection.name, demo::PROVIDER_ID, connection.name, key, priority, json!({}))
}

fn built_in_row(
    id: &str,
    provider: &str,
    name: &str,
    credential: Option<secrecy::SecretString>,
    priority: i32,
    data: Value,
) -> ConnectionRow {
    ConnectionRow {
        id: id.into(),
        provider: provider.into(),
        name: name.into(),
        auth_type: "apikey".into(),
        credential,
        credential_unreadable: false,
        priority,
        global_priority: None,
        is_active: true,
        default_model: None,
        max_concurrent: None,
        rate_limit_protection: false,
        group_name: None,
        provider_specific_data: data,
        test_status: "unknown".into(),
        last_tested: None,
        last_error: None,
        last_error_type: None,
        last_error_source: None,
        last_error_at: None,
        error_code: None,
        created_at: 0,
        updated_at: 0,
    }
}

/// The combo over both demo connections, the flaky one first.
pub fn demo_combo() -> Combo {
    let step = |connection: DemoConnection| {
        Step::to(StepTarget::Model {
            provider: ProviderId::from(demo::PROVIDER_ID),
            model: demo::MODELS[0].into(),
            connection: Some(ConnectionId::from(connection.name)),
        })
    };
    let strategy = Strategy::parse(demo::COMBO_STRATEGY).unwrap_or_default();
    Combo::new(demo::COMBO_NAME, strategy, demo::connections().map(step).to_vec())
}
