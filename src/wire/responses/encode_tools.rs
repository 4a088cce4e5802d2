//! Writing tools and the choice among them, for providers and as answers repeat them.

use serde_json::{Map, Value, json};

use super::decode_tools::NAMESPACES;
use crate::chat::ids::{Names, Spelling};
use crate::chat::{Dropped, Format, Request, Tool, ToolChoice, ToolKind};

/// The provider's names of tools. Those of a namespace keep theirs: this format knows namespaces.
#[derive(Debug)]
pub(super) struct UpstreamNames<'a>(pub(super) Option<&'a Names>);

impl UpstreamNames<'_> {
    pub(super) fn of(&self, name: &str, namespace: Option<&str>) -> String {
        match (self.0, namespace) {
            (Some(names), None) => names.upstream(name, None, Spelling::OPENAI),
            _ => name.to_owned(),
        }
    }

    fn chosen(&self, name: &str, request: &Request) -> String {
        let grouped = request.tools.iter().any(|tool| tool.kind.name() == Some(name) && namespace_of(tool).is_some());
        match self.0 {
            Some(names) if !grouped => names.chosen(name, Spelling::OPENAI),
            _ => name.to_owned(),
        }
    }
}

/// The tools of a request. Neighbours of one namespace become one tool again.
pub(super) fn tools(request: &Request, names: &UpstreamNames<'_>, dropped: &mut Vec<Dropped>) -> Vec<Value> {
    let own = request.from == Format::OpenAiResponses;
    let mut list = Vec::with_capacity(request.tools.len());
    let mut group: Option<&str> = None;
    for (index, tool) in request.tools.iter().enumerate() {
        let namespace = namespace_of(tool);
        let Some(written) = written(tool, own, names) else {
            dropped.push(Dropped::new(format!("tools[{index}]"), "another provider runs it"));
            continue;
        };
        match (namespace, list.last_mut().filter(|_| namespace == group)) {
            (Some(_), Some(last)) => add_to_group(last, written),
            (Some(name), None) if !matches!(tool.kind, ToolKind::Native(_)) => {
                list.push(new_group(request, name, written));
            }
            (Some(_) | None, _) => list.push(written),
        }
        group = namespace;
    }
    list
}

fn namespace_of(tool: &Tool) -> Option<&str> {
    match &tool.kind {
        ToolKind::Function { namespace, .. } | ToolKind::Custom { namespace, .. } => namespace.as_deref(),
        ToolKind::Native(value) if is_namespace(value) => value.get("name").and_then(Value::as_str),
        ToolKind::Native(_) => None,
    }
}

fn is_namespace(value: &Value) -> bool {
    value.get("type").and_then(Value::as_str) == Some("namespace")
}

fn new_group(request: &Request, name: &str, first: Value) -> Value {
    let description = request.rest.get(NAMESPACES).and_then(|all| all.get(name)).and_then(Value::as_str);
    json!({"type": "namespace", "name": name, "description": description.unwrap_or_default(), "tools": [first]})
}

fn add_to_group(group: &mut Value, mut tool: Value) {
    let Some(Value::Array(tools)) = group.get_mut("tools") else { return };
    match (is_namespace(&tool), tool.get_mut("tools").map(Value::take)) {
        (true, Some(Value::Array(inner))) => tools.extend(inner),
        _ => tools.push(tool),
    }
}

fn written(tool: &Tool, own: bool, names: &UpstreamNames<'_>) -> Option<Value> {
    let (kind, name, description) = match &tool.kind {
        ToolKind::Function { name, namespace, description, .. } => {
            ("function", names.of(name, namespace.as_deref()), description)
        }
        ToolKind::Custom { name, namespace, description, .. } => {
            ("custom", names.of(name, namespace.as_deref()), description)
        }
        ToolKind::Native(value) if own => return Some(value.clone()),
        ToolKind::Native(value) => return web_search(value),
    };
    let mut written = Map::from_iter([("type".to_owned(), Value::from(kind)), ("name".to_owned(), name.into())]);
    if let Some(description) = description {
        written.insert("description".to_owned(), description.clone().into());
    }
    match &tool.kind {
        ToolKind::Function { schema, strict, .. } => function_members(&mut written, schema.as_ref(), *strict, own),
        ToolKind::Custom { format: Some(format), .. } => drop(written.insert("format".to_owned(), flat_format(format))),
        _ => {}
    }
    Some(Value::Object(written))
}

/// Absent `strict` means true here and false everywhere else.
fn function_members(written: &mut Map<String, Value>, schema: Option<&Value>, strict: Option<bool>, own: bool) {
    let none = || json!({"type": "object", "properties": {}});
    match schema {
        Some(schema) => drop(written.insert("parameters".to_owned(), schema.clone())),
        None if !own => drop(written.insert("parameters".to_owned(), none())),
        None => {}
    }
    let strict = if own { strict } else { Some(strict.unwrap_or(false)) };
    if let Some(strict) = strict {
        written.insert("strict".to_owned(), strict.into());
    }
}

/// Chat wraps a grammar once more.
fn flat_format(format: &Value) -> Value {
    let Some(Value::Object(inner)) = format.get("grammar") else { return format.clone() };
    let mut flat = Map::from_iter([("type".to_owned(), Value::from("grammar"))]);
    flat.extend(inner.clone());
    Value::Object(flat)
}

/// The search of other providers, with the domains it is limited to.
fn web_search(value: &Value) -> Option<Value> {
    let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
    let gemini = ["googleSearch", "google_search"].iter().any(|name| value.get(name).is_some());
    if !gemini && !kind.starts_with("web_search") {
        return None;
    }
    let mut search = Map::from_iter([("type".to_owned(), Value::from("web_search"))]);
    if let Some(domains) = value.get("allowed_domains").filter(|domains| domains.is_array()) {
        search.insert("filters".to_owned(), json!({"allowed_domains": domains}));
    }
    if let Some(place) = value.get("user_location").filter(|place| place.is_object()) {
        search.insert("user_location".to_owned(), place.clone());
    }
    Some(Value::Object(search))
}

/// The choice, as the provider reads it.
pub(super) fn choice(choice: &ToolChoice, request: &Request, names: &UpstreamNames<'_>) -> Value {
    let named = |name: &String| {
        let custom = |tool: &Tool| matches!(&tool.kind, ToolKind::Custom { name: n, .. } if n == name);
        let kind = if request.tools.iter().any(custom) { "custom" } else { "function" };
        json!({"type": kind, "name": names.chosen(name, request)})
    };
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => named(name),
        ToolChoice::Allowed { required, names } => {
            let tools: Vec<Value> = names.iter().map(named).collect();
            json!({"type": "allowed_tools", "mode": if *required { "required" } else { "auto" }, "tools": tools})
        }
    }
}
