//! The OpenAPI document, made from the same table that the routes are mounted from.

use serde_json::{Map, Value, json};

use super::body::put;
use super::{Row, Scope, table};

/// The document.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for row in table() {
        let path = paths.entry(documented(row.path)).or_insert_with(|| json!({}));
        put(path, &row.method.to_lowercase(), operation(&row));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "OmniRoute",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "One endpoint in front of many LLM provider accounts. Everything under /v1 also answers \
                            under /api/v1.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"securitySchemes": schemes(), "schemas": schemas(), "responses": responses()},
    })
}

/// `{name:pattern}` is the router's business; the document says `{name}`.
fn documented(path: &str) -> String {
    let segment = |segment: &str| match segment.split_once(':') {
        Some((name, _)) if name.starts_with('{') => format!("{name}}}"),
        _ => segment.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn operation(row: &Row) -> Value {
    let reference = |name: &str| json!({"$ref": format!("#/components/responses/{name}")});
    let mut answers = json!({"200": {"description": "Done"}, "503": reference("Unavailable")});
    if row.scope != Scope::Public {
        put(&mut answers, "401", reference("Unauthorized"));
        put(&mut answers, "403", reference("Forbidden"));
    }
    if matches!(row.method.as_str(), "POST" | "PUT" | "PATCH") {
        put(&mut answers, "400", reference("Invalid"));
        put(&mut answers, "413", reference("TooLarge"));
    }
    if row.path.contains('{') {
        put(&mut answers, "404", reference("NotFound"));
    }
    let mut operation = json!({
        "operationId": operation_id(row),
        "summary": row.summary,
        "tags": [tag(row)],
        "security": security(row.scope),
        "responses": answers,
    });
    let parameters = parameters(row.path);
    if !parameters.is_empty() {
        put(&mut operation, "parameters", Value::Array(parameters));
    }
    if matches!(row.method.as_str(), "POST" | "PUT" | "PATCH") {
        put(&mut operation, "requestBody", json!({"content": {"application/json": {"schema": {"type": "object"}}}}));
    }
    operation
}

fn operation_id(row: &Row) -> String {
    let words = documented(row.path);
    let words = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(row.method.to_lowercase(), |id, word| format!("{id}_{word}"))
}

fn tag(row: &Row) -> &str {
    let mut segments = row.path.split('/').filter(|segment| !segment.is_empty());
    match segments.next() {
        Some("api") => segments.next().unwrap_or("api"),
        Some("v1") => "models",
        _ => "operations",
    }
}

fn security(scope: Scope) -> Value {
    match scope {
        Scope::Public => json!([]),
        Scope::Inference => json!([{"bearer": []}, {"apiKey": []}, {"googleApiKey": []}]),
        Scope::Management => json!([{"session": []}, {"bearer": []}]),
    }
}

fn parameters(path: &str) -> Vec<Value> {
    let named = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let name = named.map(|name| name.split(':').next().unwrap_or(name));
    name.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})).collect()
}

fn schemes() -> Value {
    json!({
        "bearer": {"type": "http", "scheme": "bearer", "description": "A client key; management needs the scope manage."},
        "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "googleApiKey": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
        "session": {"type": "apiKey", "in": "cookie", "name": "auth_token", "description": "Set by POST /api/auth/login."},
    })
}

fn schemas() -> Value {
    let text = json!({"type": "string"});
    let detail = json!({"type": "object", "properties": {"field": text, "message": text}});
    json!({
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "requestId": text,
                "error": {
                    "type": "object",
                    "required": ["message", "type", "code"],
                    "properties": {
                        "message": text, "type": text, "code": text, "correlation_id": text,
                        "details": {"type": "array", "items": detail},
                    },
                },
            },
        },
    })
}

fn responses() -> Value {
    let answer = |description: &str| {
        let schema = json!({"$ref": "#/components/schemas/Error"});
        json!({"description": description, "content": {"application/json": {"schema": schema}}})
    };
    json!({
        "Invalid": answer("Something in the request is wrong; `details` names the fields."),
        "Unauthorized": answer("No key and no session, or none that is valid."),
        "Forbidden": answer("The key may not do this."),
        "NotFound": answer("There is no such thing."),
        "TooLarge": answer("The body is larger than the limit."),
        "Unavailable": answer("Not now; see `Retry-After`."),
    })
}
