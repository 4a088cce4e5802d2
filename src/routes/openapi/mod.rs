//! The OpenAPI document, made from the same table that the routes are mounted from.

mod described;
pub mod page;
mod shape;

use serde_json::{Map, Value, json};

use self::described::{Line, schema_of};
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
pub(super) fn documented(path: &str) -> String {
    let segment = |segment: &str| match segment.split_once(':') {
        Some((name, _)) if name.starts_with('{') => format!("{name}}}"),
        _ => segment.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn operation(row: &Row) -> Value {
    let line =
        described::all().routes.get(&format!("{} {}", row.method, documented(row.path))).cloned().unwrap_or_default();
    let mut operation = json!({
        "operationId": operation_id(row),
        "summary": row.summary,
        "tags": [tag(row)],
        "security": security(row.scope),
        "responses": answers(row, &line),
    });
    let parameters: Vec<_> = in_path(row.path).into_iter().chain(in_query(&line)).collect();
    if !parameters.is_empty() {
        put(&mut operation, "parameters", Value::Array(parameters));
    }
    if let Some(takes) = &line.takes {
        let content = json!({"application/json": {"schema": schema_of(takes)}});
        put(&mut operation, "requestBody", json!({"required": !line.may_be_empty, "content": content}));
    }
    operation
}

fn answers(row: &Row, line: &Line) -> Value {
    let mut answers = json!({});
    let success = success(line);
    for status in if line.status.is_empty() { &[200][..] } else { &line.status } {
        put(&mut answers, &status.to_string(), success.clone());
    }
    let of_kind = usual(row, line);
    for status in of_kind.iter().chain(&line.says) {
        let name = if row.scope == Scope::Inference { "Client" } else { "" };
        let reference = json!({"$ref": format!("#/components/responses/{name}{}", reason(*status))});
        put(&mut answers, &status.to_string(), reference);
    }
    answers
}

fn success(line: &Line) -> Value {
    let schema = line.gives.as_deref().map(schema_of);
    match (&line.media, schema) {
        (Some(media), schema) => {
            let schema = schema.unwrap_or_else(|| json!({"type": "string"}));
            json!({"description": "Done", "content": {media: {"schema": schema}}})
        }
        (None, Some(schema)) => json!({"description": "Done", "content": {"application/json": {"schema": schema}}}),
        (None, None) => json!({"description": "Done"}),
    }
}

/// What a route can say because of its door, its body and its path.
fn usual(row: &Row, line: &Line) -> Vec<u16> {
    let mut said = vec![503];
    if row.scope != Scope::Public {
        said.extend([400, 401, 403]);
    }
    if row.scope == Scope::Inference && (line.takes.is_some() || row.path.contains('{')) {
        said.extend([404, 429, 500, 502, 504, 529]);
    }
    if line.takes.is_some() {
        said.extend([400, 408, 413, 415]);
    }
    if line.query.is_some() {
        said.push(400);
    }
    if row.path.contains('{') {
        said.extend([400, 404]);
    }
    said.retain(|status| !line.never.contains(status));
    said
}

/// The statuses that can be said, with their names and meanings.
const REASONS: [(u16, &str, &str); 18] = [
    (400, "Invalid", "Something in the request is wrong; `details` names the fields."),
    (401, "Unauthorized", "No key and no session, or none that is valid."),
    (402, "PaymentRequired", "A budget is used up."),
    (403, "Forbidden", "The caller may not do this."),
    (404, "NotFound", "There is no such thing."),
    (408, "Slow", "The body did not come in time."),
    (409, "Conflict", "It contradicts what is there."),
    (410, "Gone", "It is not there any more."),
    (412, "Changed", "It was changed meanwhile."),
    (413, "TooLarge", "The body is larger than the limit."),
    (415, "UnsupportedMedia", "The body is of another type, or compressed."),
    (422, "Unprocessable", "The request can be read and not be done."),
    (429, "TooMany", "Too many requests; see `Retry-After`."),
    (500, "Defect", "A defect of the gateway."),
    (501, "NotHere", "This gateway does not do that."),
    (502, "Upstream", "The provider failed."),
    (504, "Late", "The provider did not answer in time."),
    (529, "Overloaded", "The provider is overloaded."),
];

fn reason(status: u16) -> &'static str {
    REASONS.iter().find(|(known, ..)| *known == status).map_or("Unavailable", |(_, name, _)| name)
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

fn in_path(path: &str) -> Vec<Value> {
    let named = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let name = named.map(|name| name.split(':').next().unwrap_or(name));
    let text = json!({"type": "string", "minLength": 1});
    name.map(|name| json!({"name": name, "in": "path", "required": true, "schema": text})).collect()
}

fn in_query(line: &Line) -> Vec<Value> {
    let fields = line.query.as_deref().map(schema_of).unwrap_or_default();
    let required = fields.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let parameter = |(name, schema): (&String, &Value)| {
        let must = required.iter().any(|field| field == name);
        json!({"name": name, "in": "query", "required": must, "schema": schema})
    };
    let properties = fields.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(parameter).collect()
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
    let named = |(name, text): (&String, &String)| (name.clone(), schema_of(text));
    Value::Object(described::all().shapes.iter().map(named).collect())
}

/// Every refusal, once in the shape of the management API and once in that of clients, which have their own.
fn responses() -> Value {
    let answer = |description: &str, shape: &str| {
        let schema = json!({"$ref": format!("#/components/schemas/{shape}")});
        json!({"description": description, "content": {"application/json": {"schema": schema}}})
    };
    let unavailable = (503, "Unavailable", "Not now; see `Retry-After`.");
    let both = REASONS.into_iter().chain([unavailable]).flat_map(|(_, name, meaning)| {
        [(name.to_owned(), answer(meaning, "Error")), (format!("Client{name}"), answer(meaning, "ClientError"))]
    });
    Value::Object(both.collect())
}
