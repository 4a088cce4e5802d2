//! `/api/settings`: what concerns the gateway as a whole.
//!
//! Three kinds of fields: those that take effect, those whose value is fixed here (another value is refused, with the
//! reason), and those of the original that mean nothing here (let pass, and said so under `warnings`).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::auth::{password_of_session, renewed};
use super::combo_config::ACCOUNT_STRATEGIES;
use super::stored::{Known, edit_as, with_version};
use crate::auth::{PASSWORD_CHARS, SetUp};
use crate::routes::body::{iso_or_null, put};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::settings::{General, Stored};
use crate::store::SettingRow;

const MEGABYTE: usize = 1024 * 1024;
/// Most providers that can be blocked, and most origins.
const MOST_NAMES: usize = 200;

/// Fields that take effect.
const SETTABLE: [&str; 8] = [
    "instanceName",
    "corsOrigins",
    "blockedProviders",
    "fallbackStrategy",
    "stickyRoundRobinLimit",
    "requestRetry",
    "maxRetryIntervalSec",
    "maxBodySizeMb",
];

/// Fields with one possible value here, and why.
const FIXED: [(&str, Value, &str); 8] = [
    ("requireLogin", Value::Bool(true), "Signing in cannot be switched off"),
    ("bruteForceProtection", Value::Bool(true), "The throttle of failed logins cannot be switched off"),
    ("cloudEnabled", Value::Bool(false), "This gateway has no cloud"),
    ("mcpEnabled", Value::Bool(false), "This gateway serves no MCP"),
    ("a2aEnabled", Value::Bool(false), "This gateway serves no A2A"),
    ("wsAuth", Value::Bool(false), "This gateway has no such socket"),
    ("stripModelPrefix", Value::Bool(false), "Prefixes name providers and stay; an alias gives a model another name"),
    ("debugMode", Value::Bool(false), "Set logging.level in the configuration"),
];

/// Fields of the original that mean nothing here.
const FOREIGN: [&str; 41] = [
    "adaptiveVolumeRouting",
    "alwaysPreserveClientCache",
    "antigravitySignatureCacheMode",
    "baseUrl",
    "cloudUrl",
    "comboConfigMode",
    "customAgents",
    "customFaviconBase64",
    "customFaviconUrl",
    "customLogoBase64",
    "customLogoUrl",
    "hiddenSidebarItems",
    "hideHealthCheckLogs",
    "idempotencyWindowMs",
    "intentDetectionEnabled",
    "intentExtraCodeKeywords",
    "intentExtraReasoningKeywords",
    "intentExtraSimpleKeywords",
    "intentSimpleMaxWords",
    "language",
    "lkgpEnabled",
    "mcpTransport",
    "modelsDevSyncEnabled",
    "modelsDevSyncInterval",
    "modelAliases",
    "sidebarOrder",
    "sidebarPreset",
    "skillsProvider",
    "skillsmpApiKey",
    "showModelsInSidebar",
    "theme",
    "themeColor",
    "usageTokenBuffer",
    "visionBridgeEnabled",
    "visionBridgeMaxImages",
    "visionBridgeModel",
    "visionBridgePrompt",
    "visionBridgeTimeout",
    "autoRefreshProviderQuota",
    "debugLogs",
    "semanticCacheEnabled",
];

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let path = "/api/settings";
    vec![
        RouteSpec::get(path, M, "Settings of the gateway as a whole", show),
        RouteSpec::put(path, M, "Change settings; null takes one back", change),
        RouteSpec::patch(path, M, "Change settings; null takes one back", change),
    ]
}

async fn show(call: Call) -> Result<HttpResponse, Refusal> {
    let stored = call.app.store.settings().get(General::KEY).await?;
    let view = view(&call, stored.as_ref()).await?;
    Ok(with_version(stored.as_ref()).json(view))
}

/// What is in force, be it set here, configured or built in.
async fn view(call: &Call, stored: Option<&SettingRow>) -> Result<Value, Refusal> {
    let (config, settings) = (call.app.config.load_full(), call.app.directory.settings());
    let (general, accounts) = (&settings.general, settings.combos.for_all());
    let wait = call.app.directory.resilience().wait_for_cooldown;
    let done = call.management.admin.set_up().await? == SetUp::Done;
    let port = config.server.port;
    let mut view = json!({
        "instanceName": general.instance_name,
        "corsOrigins": config.server.cors_allowed_origins.join(","),
        "blockedProviders": general.blocked_providers,
        "fallbackStrategy": accounts.get("fallbackStrategy").cloned().unwrap_or_else(|| json!("p2c")),
        "stickyRoundRobinLimit": accounts.get("stickyRoundRobinLimit"),
        "requestRetry": if wait.enabled { wait.max_retries } else { 0 },
        "maxRetryIntervalSec": wait.max_retry_wait_sec,
        "maxBodySizeMb": megabytes(config.server.max_body_bytes),
        "setupComplete": done,
        "hasPassword": done,
        "runtimePorts": {"apiPort": port, "dashboardPort": port},
        "apiPort": port,
        "dashboardPort": port,
        "cloudConfigured": false,
        "cloudUrl": null,
        "machineId": null,
        "version": stored.map_or(0, |row| row.version),
        "updatedAt": iso_or_null(stored.map(|row| row.updated_at)),
    });
    for (field, value, _) in FIXED {
        put(&mut view, field, value);
    }
    Ok(view)
}

/// Exact, so that no other number looks like what is in force.
fn megabytes(bytes: usize) -> Value {
    match bytes % MEGABYTE {
        0 => json!(bytes / MEGABYTE),
        _ => json!(bytes as f64 / MEGABYTE as f64),
    }
}

/// What a caller wants changed; null is taken back.
#[derive(Debug, Default)]
struct Change {
    instance_name: Option<Option<String>>,
    cors_origins: Option<Option<Vec<String>>>,
    blocked_providers: Option<Vec<String>>,
    fallback_strategy: Option<Option<String>>,
    sticky: Option<Option<i64>>,
    retries: Option<Option<i64>>,
    longest: Option<Option<i64>>,
    body_size: Option<Option<i64>>,
}

impl Change {
    fn read(call: &Call, form: &mut Form) -> Self {
        let taken_back = |form: &Form, field: &str| form.raw(field).is_some_and(Value::is_null);
        let strategy = match taken_back(form, "fallbackStrategy") {
            true => form.any("fallbackStrategy").map(|_| None),
            false => form.word("fallbackStrategy", ACCOUNT_STRATEGIES).map(Some),
        };
        Self {
            instance_name: form.nullable_text("instanceName", 0..=100),
            cors_origins: origins(form),
            blocked_providers: blocked(call, form),
            fallback_strategy: strategy,
            sticky: form.nullable_integer("stickyRoundRobinLimit", 0..=1_000),
            retries: form.nullable_integer("requestRetry", 0..=10),
            longest: form.nullable_integer("maxRetryIntervalSec", 0..=300),
            body_size: form.nullable_integer("maxBodySizeMb", 1..=500),
        }
    }

    fn apply(&self, general: &mut General) {
        fn set<T: Clone, U>(field: &mut Option<U>, given: &Option<Option<T>>, into: impl Fn(T) -> Option<U>) {
            if let Some(given) = given {
                *field = given.clone().and_then(into);
            }
        }
        set(&mut general.instance_name, &self.instance_name, |name| Some(name).filter(|name| !name.is_empty()));
        set(&mut general.cors_origins, &self.cors_origins, Some);
        set(&mut general.fallback_strategy, &self.fallback_strategy, Some);
        // Zero and one both mean: no run of the same account.
        set(&mut general.sticky_round_robin_limit, &self.sticky, |limit| Some(limit.max(1)));
        set(&mut general.request_retry, &self.retries, |times| times.try_into().ok());
        set(&mut general.max_retry_interval_sec, &self.longest, |seconds| seconds.try_into().ok());
        set(&mut general.max_body_size_mb, &self.body_size, |size| size.try_into().ok());
        if let Some(blocked) = &self.blocked_providers {
            general.blocked_providers.clone_from(blocked);
        }
    }
}

/// A list with commas, as the original has it, or a JSON list.
fn origins(form: &mut Form) -> Option<Option<Vec<String>>> {
    let list = match form.raw("corsOrigins") {
        Some(Value::String(_)) => {
            let text = form.text("corsOrigins", 0..=500)?;
            text.split(',').map(|origin| origin.trim().to_owned()).filter(|origin| !origin.is_empty()).collect()
        }
        Some(Value::Null) => return form.any("corsOrigins").map(|_| None),
        _ => form.texts("corsOrigins", MOST_NAMES, 200)?,
    };
    for origin in &list {
        if !is_origin(origin) {
            form.problem("corsOrigins", format!("`{origin}` is no origin; write it like https://app.example, or *"));
        }
    }
    Some(Some(list))
}

fn is_origin(text: &str) -> bool {
    text == "*" || url::Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text)
}

/// By their ids, whatever name they are called by.
fn blocked(call: &Call, form: &mut Form) -> Option<Vec<String>> {
    let names = form.texts("blockedProviders", MOST_NAMES, 100)?;
    let plan = call.app.plan.load();
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        match plan.prefixes.get(name.as_str()) {
            Some(id) => ids.push(id.to_string()),
            None if plan.providers.keys().any(|id| id.as_str() == name) => ids.push(name),
            None => form.problem("blockedProviders", format!("There is no provider `{name}`")),
        }
    }
    ids.dedup();
    Some(ids)
}

/// What was read and sent back unchanged is no wish: it would hold on to what is configured today.
async fn without_echo(call: &Call, body: JsonBody) -> Result<JsonBody, Refusal> {
    let JsonBody(Some(Value::Object(mut fields))) = body else { return Ok(body) };
    let current = view(call, None).await?;
    fields.retain(|name, value| !SETTABLE.contains(&name.as_str()) || current.get(name) != Some(value));
    Ok(JsonBody(Some(Value::Object(fields))))
}

async fn change(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body.clone())?;
    let given = form.names();
    if given.is_empty() {
        form.problem("", "No fields to update");
        form.finish()?;
    }
    let mut form = Form::of(without_echo(&call, body).await?)?;
    let known = Known::read(&call, &mut form)?;
    check_fixed(&mut form);
    let inert: Vec<&str> = FOREIGN.into_iter().filter(|name| form.has(name)).collect();
    form.let_pass(FOREIGN);
    form.let_pass(["setupComplete", "hasPassword", "runtimePorts", "apiPort", "dashboardPort", "cloudConfigured"]);
    form.let_pass(["machineId", "updatedAt", "warnings", "ok"]);
    if form.has("wildcardAliases") {
        form.any("wildcardAliases");
        form.problem("wildcardAliases", "Store each at /api/models/alias: an alias may hold * and ?");
    }
    let (current, fresh) =
        (form.text("currentPassword", 0..=*PASSWORD_CHARS.end()), form.text("newPassword", PASSWORD_CHARS));
    let change = Change::read(&call, &mut form);
    form.finish()?;
    if fresh.is_some() {
        confirm(&call, current).await?;
    }
    let row = edit_as(&call, known, given, |general: &mut General| {
        change.apply(general);
        Ok(())
    });
    let row = row.await?;
    let mut answer = view(&call, Some(&row)).await?;
    put(&mut answer, "warnings", warnings(&inert));
    let mut response = with_version(Some(&row));
    if let Some(fresh) = fresh {
        response.cookie(renewed(&call, SecretString::from(fresh)).await?);
    }
    Ok(response.json(answer))
}

fn check_fixed(form: &mut Form) {
    for (field, only, why) in FIXED {
        if form.any(field).is_some_and(|given| given != only && !given.is_null()) {
            form.problem(field, why);
        }
    }
}

fn warnings(inert: &[&str]) -> Value {
    let warning = |field: &&str| {
        Map::from_iter([
            ("code".to_owned(), json!("SETTING_WITHOUT_EFFECT")),
            ("field".to_owned(), json!(field)),
            ("message".to_owned(), json!("Means nothing here and was not kept")),
        ])
    };
    inert.iter().map(warning).collect()
}

async fn confirm(call: &Call, current: Option<String>) -> Result<(), Refusal> {
    let current = current.filter(|current| !current.is_empty());
    let current = current.ok_or_else(|| Refusal::bad_request("Current password required"))?;
    let wrong = || Refusal::new(StatusCode::UNAUTHORIZED, "AUTH_001", "Invalid current password");
    if password_of_session(call, SecretString::from(current)).await? { Ok(()) } else { Err(wrong()) }
}
