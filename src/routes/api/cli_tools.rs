//! `/api/cli-tools/*`: how command-line tools are pointed at this gateway.
//!
//! A server has no user's home: it can neither see which tools somebody has nor write their settings. So every tool is
//! told as not installed here, with the text that its user puts into place. Nothing is spawned, nothing is written.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::tool_settings::{TOOLS, Tool};
use crate::routes::body::put;
use crate::routes::{Call, Refusal, RouteSpec, Scope};

const MESSAGE: &str = "The gateway is a server: it does not see the tools on your machine. Put the settings into place \
                       there, and a client key of this gateway in the place of YOUR_OMNIROUTE_KEY.";

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/cli-tools/status", M, "Every known tool, none of them on this machine", status),
        RouteSpec::get("/api/cli-tools/runtime/{toolId}", M, "What is known of a tool on this machine", runtime),
        RouteSpec::get("/api/cli-tools/guide-settings/{toolId}", M, "The settings that point a tool here", guide),
        RouteSpec::get("/api/cli-tools/claude-settings", M, "The settings that point Claude Code here", claude),
        RouteSpec::get("/api/cli-tools/codex-settings", M, "The settings that point Codex here", codex),
        RouteSpec::get("/api/cli-tools/droid-settings", M, "The settings that point Droid here", droid),
        RouteSpec::get("/api/cli-tools/openclaw-settings", M, "The settings that point OpenClaw here", openclaw),
    ]
}

async fn status(call: Call) -> HttpResponse {
    let base = call.public_url();
    let tools: serde_json::Map<_, _> = TOOLS.iter().map(|tool| (tool.id.to_owned(), told(tool, &base))).collect();
    HttpResponse::Ok().json(json!({"tools": tools, "reason": "remote_server", "message": MESSAGE}))
}

async fn runtime(id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let tool = find(&id)?;
    let mut answer = absent(tool);
    put(&mut answer, "toolId", tool.id);
    put(&mut answer, "configPath", tool.path);
    put(&mut answer, "message", MESSAGE);
    Ok(HttpResponse::Ok().json(answer))
}

async fn guide(call: Call, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(told(find(&id)?, &call.public_url())))
}

async fn claude(call: Call) -> Result<HttpResponse, Refusal> {
    settings(&call, "claude")
}

async fn codex(call: Call) -> Result<HttpResponse, Refusal> {
    settings(&call, "codex")
}

async fn droid(call: Call) -> Result<HttpResponse, Refusal> {
    settings(&call, "droid")
}

async fn openclaw(call: Call) -> Result<HttpResponse, Refusal> {
    settings(&call, "openclaw")
}

fn settings(call: &Call, id: &str) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(told(find(id)?, &call.public_url())))
}

fn find(id: &str) -> Result<&'static Tool, Refusal> {
    TOOLS.iter().find(|tool| tool.id == id).ok_or_else(|| Refusal::not_found("Unsupported CLI tool"))
}

/// Of the tool on this machine there is nothing to tell.
fn absent(tool: &Tool) -> Value {
    json!({
        "installed": false, "runnable": false, "command": tool.command, "commandPath": null,
        "runtimeMode": "remote", "reason": "remote_server",
    })
}

fn told(tool: &Tool, base: &str) -> Value {
    let mut answer = absent(tool);
    for (name, value) in [
        ("toolId", json!(tool.id)),
        ("name", json!(tool.name)),
        ("settings", Value::Null),
        ("config", Value::Null),
        ("hasOmniRoute", json!(false)),
        ("settingsPath", json!(tool.path)),
        ("configPath", json!(tool.path)),
        ("message", json!(MESSAGE)),
        ("snippet", tool.snippet(base)),
    ] {
        put(&mut answer, name, value);
    }
    answer
}
