//! `/api/providers/test-batch`: many connections tried, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::connection_checks::home_of;
use super::connection_form::Home;
use super::connection_test::{self, Tested};
use super::probe::Diagnosis;
use crate::gateway::directory::Listed;
use crate::providers::{Class, oauth};
use crate::routes::body::{iso, put};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};

const AT_A_TIME: usize = 5;
const EACH_WITHIN: Duration = Duration::from_secs(30);
const MODES: [&str; 11] = [
    "provider",
    "oauth",
    "free",
    "apikey",
    "compatible",
    "all",
    "web-cookie",
    "search",
    "audio",
    "local",
    "upstream-proxy",
];

pub(super) fn routes() -> Vec<RouteSpec> {
    let path = "/api/providers/test-batch";
    vec![RouteSpec::post(path, Scope::Management, "Try many connections, a few at a time", batch)]
}

async fn batch(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("mode");
    let mode = form.word("mode", &MODES).unwrap_or_default();
    let provider = form.text("providerId", 1..=100);
    if mode == "provider" && provider.is_none() {
        form.problem("providerId", "Required for this mode");
    }
    form.finish()?;
    let provider = provider.map(|named| home_of(&call, &named).map(|home| home.id().to_owned())).transpose()?;
    let (listed, nodes) = (call.app.directory.listed(), call.app.directory.nodes());
    let wanted = |entry: &&Arc<Listed>| {
        let home = Home::find(&entry.row.provider, &nodes);
        entry.row.is_active && belongs(&mode, provider.as_deref(), entry, home.as_ref())
    };
    let chosen: Vec<Arc<Listed>> = listed.iter().filter(wanted).cloned().collect();
    let results: Vec<Value> = stream::iter(chosen).map(|entry| one(&call, entry)).buffered(AT_A_TIME).collect().await;
    call.refresh().await?;
    let passed = results.iter().filter(|result| result["valid"] == true).count();
    Ok(HttpResponse::Ok().json(json!({
        "mode": mode,
        "providerId": provider,
        "testedAt": iso(call.now()),
        "summary": {"total": results.len(), "passed": passed, "failed": results.len() - passed},
        "results": results,
    })))
}

/// Whether a connection is of the kind that is to be tried. Of some kinds there are none here.
fn belongs(mode: &str, provider: Option<&str>, entry: &Listed, home: Option<&Home>) -> bool {
    let signed_in = entry.row.auth_type == oauth::AUTH_TYPE;
    let class = |wanted: Class| matches!(home, Some(Home::BuiltIn(spec)) if spec.class == wanted);
    match mode {
        "all" => true,
        "provider" => provider == Some(entry.row.provider.as_str()),
        "oauth" => signed_in,
        "free" => entry.row.credential.is_none(),
        "apikey" => !signed_in && class(Class::Apikey),
        "compatible" => matches!(home, Some(Home::Node(_))),
        "local" => class(Class::Local),
        _ => false,
    }
}

async fn one(call: &Call, entry: Arc<Listed>) -> Value {
    let tested = match tokio::time::timeout(EACH_WITHIN, connection_test::run(call, &entry, None)).await {
        Ok(Ok(tested)) => tested,
        Ok(Err(_)) => failed(call, "runtime_error", "the result could not be stored"),
        Err(_) => failed(call, "network_error", "no answer in time"),
    };
    let mut shown = tested.to_json();
    put(&mut shown, "provider", json!(entry.row.provider));
    put(&mut shown, "connectionId", json!(entry.row.id));
    put(&mut shown, "connectionName", json!(entry.row.name));
    put(&mut shown, "authType", json!(entry.row.auth_type));
    shown
}

fn failed(call: &Call, kind: &'static str, message: &'static str) -> Tested {
    let diagnosis = Diagnosis { kind, source: "local", message: Some(message), status: None };
    Tested { diagnosis, latency: 0, at: call.now() }
}
