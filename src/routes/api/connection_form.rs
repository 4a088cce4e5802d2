//! The fields of a connection as a caller sends them, checked and laid over a row.

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::connection_view::is_secret_name;
use crate::gateway::prefix;
use crate::providers::{Catalog, ProviderSpec, oauth};
use crate::routes::Form;
use crate::store::{ConnectionRow, NodeRow};

/// What a connection may belong to.
#[derive(Debug, Clone)]
pub(super) enum Home {
    /// A provider of the catalogue.
    BuiltIn(&'static ProviderSpec),
    /// An endpoint of the operator's own.
    Node(NodeRow),
}

impl Home {
    /// The one that answers to this id (or, in the catalogue, alias).
    pub(super) fn find(id: &str, nodes: &[NodeRow]) -> Option<Self> {
        let node = nodes.iter().find(|node| node.id == id).cloned().map(Self::Node);
        node.or_else(|| Catalog::builtin().by_alias(id).map(Self::BuiltIn))
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Self::BuiltIn(spec) => &spec.id,
            Self::Node(node) => &node.id,
        }
    }

    /// Whether it answers without a key. An own endpoint is the operator's business.
    pub(super) const fn key_optional(&self) -> bool {
        match self {
            Self::BuiltIn(spec) => spec.key_optional,
            Self::Node(_) => true,
        }
    }
}

/// A connection without properties.
pub(super) fn blank(id: String, provider: &str, now: i64) -> ConnectionRow {
    ConnectionRow {
        id,
        provider: provider.to_owned(),
        name: String::new(),
        auth_type: "apikey".into(),
        credential: None,
        credential_unreadable: false,
        priority: 1,
        global_priority: None,
        is_active: true,
        default_model: None,
        max_concurrent: None,
        rate_limit_protection: false,
        group_name: None,
        provider_specific_data: Value::Object(Map::new()),
        test_status: "unknown".into(),
        last_tested: None,
        last_error: None,
        last_error_type: None,
        last_error_source: None,
        last_error_at: None,
        error_code: None,
        created_at: now,
        updated_at: now,
    }
}

/// Lay the given name and data over the row; what is wrong is noted in the form.
pub(super) fn fill_named(form: &mut Form, row: &mut ConnectionRow) {
    if let Some(name) = form.text("name", 1..=200) {
        row.name = name;
    }
    if let Some(data) = form.object("providerSpecificData") {
        merge(form, row, data);
    }
}

/// Lay the given fields over the row; what is wrong is noted in the form.
pub(super) fn fill(form: &mut Form, row: &mut ConnectionRow) {
    fill_named(form, row);
    if let Some(key) = form.text("apiKey", 0..=10_000) {
        take_key(form, row, &key);
    }
    fill_numbers(form, row);
    fill_report(form, row);
    if let Some(active) = form.flag("isActive") {
        row.is_active = active;
    }
    if let Some(guarded) = form.flag("rateLimitProtection") {
        row.rate_limit_protection = guarded;
    }
    set(&mut row.default_model, form.nullable_text("defaultModel", 0..=200).map(not_empty));
    set(&mut row.group_name, form.nullable_text("group", 0..=100).map(not_empty));
}

/// An empty key means that the stored one stays.
fn take_key(form: &mut Form, row: &mut ConnectionRow, key: &str) {
    let key = key.trim();
    if key.is_empty() {
        return;
    }
    if row.auth_type == oauth::AUTH_TYPE {
        form.problem("apiKey", "This connection is signed in by OAuth and holds no key");
        return;
    }
    // A service account or a service key: one line of it is as good, and can be pasted back.
    if let Ok(object) = serde_json::from_str::<Map<String, Value>>(key) {
        row.credential = Some(SecretString::from(Value::Object(object).to_string()));
        row.credential_unreadable = false;
        return;
    }
    if key.chars().any(|c| c.is_control() || c.is_whitespace()) {
        form.problem("apiKey", "Must not contain spaces or control characters");
    }
    row.credential = Some(SecretString::from(key));
    row.credential_unreadable = false;
}

fn fill_numbers(form: &mut Form, row: &mut ConnectionRow) {
    if let Some(Some(priority)) = form.nullable_small("priority", 1..=100) {
        row.priority = priority;
    }
    set(&mut row.global_priority, form.nullable_small("globalPriority", 1..=100));
    set(&mut row.max_concurrent, form.nullable_small("maxConcurrent", 0..=10_000));
}

/// What an earlier test or a worker found: kept for those who write it, never used for routing.
fn fill_report(form: &mut Form, row: &mut ConnectionRow) {
    if let Some(status) = form.text("testStatus", 1..=50) {
        row.test_status = status;
    }
    set(&mut row.last_error, form.nullable_text("lastError", 0..=2_000));
    set(&mut row.last_error_type, form.nullable_text("lastErrorType", 0..=100));
    set(&mut row.last_error_source, form.nullable_text("lastErrorSource", 0..=100));
    set(&mut row.error_code, form.nullable_text("errorCode", 0..=100));
    set(&mut row.last_error_at, form.time("lastErrorAt"));
    set(&mut row.last_tested, form.time("lastTested"));
}

fn set<T>(place: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *place = given;
    }
}

fn not_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Key by key; null removes one.
fn merge(form: &mut Form, row: &mut ConnectionRow, data: Map<String, Value>) {
    let mut part = Form::open_part(data.clone(), "providerSpecificData");
    check_data(&mut part, &data);
    form.problems(part.into_problems());
    if !row.provider_specific_data.is_object() {
        row.provider_specific_data = Value::Object(Map::new());
    }
    let Some(stored) = row.provider_specific_data.as_object_mut() else { return };
    for (name, value) in data {
        match value {
            Value::Null => stored.remove(&name).map(drop).unwrap_or_default(),
            value => drop(stored.insert(name, value)),
        }
    }
}

fn check_data(part: &mut Form, data: &Map<String, Value>) {
    const MOST_BYTES: usize = 64 * 1024;
    for (name, value) in data {
        let mask = value.as_str() == Some("***");
        if is_secret_name(name) && !value.is_null() && !value.is_boolean() && !mask {
            part.problem(name, "Secrets are not stored here; the credential belongs into apiKey");
        } else if mask {
            part.problem(name, "Leave it out to keep it as it is");
        }
    }
    if data.values().map(|value| value.to_string().len()).sum::<usize>() > MOST_BYTES {
        part.problem("", "Is too large");
    }
    part.word("prefill", &prefix::WORDS);
    part.flag("omniroute");
    part.text("baseUrl", 1..=2_000);
    part.text("tokenUrl", 1..=2_000);
    part.text("scope", 1..=500);
    part.text("customUserAgent", 0..=500);
    part.text("cx", 0..=500);
    part.text("tag", 0..=100);
    part.texts("tags", 50, 64);
    for name in ["openaiStoreEnabled", "blockExtraUsage", "autoFetchModels", "disableStreamOptions"] {
        part.flag(name);
    }
    if data.get("excludedModels").is_some_and(|models| !models.is_string()) {
        part.texts("excludedModels", 100, 200);
    }
    part.object("requestDefaults");
}
