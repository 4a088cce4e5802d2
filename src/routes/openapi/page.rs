//! The reference as a page: plain HTML and one stylesheet from the program itself, nothing that runs in the browser.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

/// How the page looks.
pub const STYLE: &str = include_str!("page.css");

/// The page of a document.
pub fn page(document: &Value) -> String {
    let mut groups: BTreeMap<&str, Vec<(&str, &str, &Value)>> = BTreeMap::new();
    for (path, operations) in entries(document.get("paths")) {
        for (method, operation) in entries(Some(operations)) {
            let tag = operation.pointer("/tags/0").and_then(Value::as_str).unwrap_or("other");
            groups.entry(tag).or_default().push((path, method, operation));
        }
    }
    let mut body = String::new();
    for (tag, operations) in &groups {
        let _ = write!(body, "<section id=\"{0}\"><h2>{0}</h2>", escaped(tag));
        for (path, method, operation) in operations {
            body.push_str(&entry(path, method, operation));
        }
        body.push_str("</section>");
    }
    let links: String = groups.keys().map(|tag| format!("<a href=\"#{0}\">{0}</a> ", escaped(tag))).collect();
    let shapes: String = entries(document.pointer("/components/schemas")).map(shape).collect();
    let version = document.pointer("/info/version").and_then(Value::as_str).unwrap_or_default();
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>OmniRoute API</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"stylesheet\" href=\"/api/docs/style.css\"></head><body><header><h1>OmniRoute API</h1>\
         <p>Version {} · <a href=\"/api/openapi.json\">openapi.json</a></p><nav>{links}<a href=\"#shapes\">shapes</a>\
         </nav></header><main>{body}<section id=\"shapes\"><h2>shapes</h2>{shapes}</section></main></body></html>",
        escaped(version),
    )
}

fn entries(object: Option<&Value>) -> impl Iterator<Item = (&str, &Value)> {
    object.and_then(Value::as_object).into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn entry(path: &str, method: &str, operation: &Value) -> String {
    let text = |name: &str| operation.get(name).and_then(Value::as_str).map(escaped).unwrap_or_default();
    let mut parts = String::new();
    for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        let said = |name: &str| parameter.get(name).and_then(Value::as_str).map(escaped).unwrap_or_default();
        let must = if parameter.get("required") == Some(&Value::Bool(true)) { "required" } else { "optional" };
        let _ = write!(parts, "<li><code>{}</code> in the {}, {must}</li>", said("name"), said("in"));
    }
    let mut shown = if parts.is_empty() { parts } else { format!("<h4>Parameters</h4><ul>{parts}</ul>") };
    if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
        let _ = write!(shown, "<h4>Body</h4><pre>{}</pre>", escaped(&spelled(schema)));
    }
    shown.push_str("<h4>Answers</h4><ul>");
    for (status, answer) in entries(operation.get("responses")) {
        let name = answer.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
        let described = answer.get("description").and_then(Value::as_str);
        let _ = write!(shown, "<li><b>{}</b> {}", escaped(status), escaped(name.or(described).unwrap_or_default()));
        for (media, content) in entries(answer.get("content")) {
            let schema = content.get("schema").map(spelled).unwrap_or_default();
            let _ = write!(shown, " <code>{}</code><pre>{}</pre>", escaped(media), escaped(&schema));
        }
        shown.push_str("</li>");
    }
    format!(
        "<details id=\"{}\"><summary><b class=\"{method}\">{}</b> <code>{}</code> {}</summary>{shown}</ul></details>",
        text("operationId"),
        method.to_uppercase(),
        escaped(path),
        text("summary"),
    )
}

fn shape((name, schema): (&str, &Value)) -> String {
    let name = escaped(name);
    format!("<details><summary><code>{name}</code></summary><pre>{}</pre></details>", escaped(&spelled(schema)))
}

fn spelled(schema: &Value) -> String {
    serde_json::to_string_pretty(schema).unwrap_or_default()
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_of_the_document_becomes_markup() {
        let evil = "<script>alert(1)</script>\"'";
        let operation =
            json!({"tags": [evil], "summary": evil, "operationId": evil, "responses": {"200": {"description": evil}}});

        let page = page(&json!({"paths": {"/x": {"get": operation}}, "info": {"version": evil}}));

        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    }

    #[test]
    fn every_operation_is_on_the_page() {
        let document = super::super::document();

        let page = page(&document);

        for (path, operations) in entries(document.get("paths")) {
            assert!(page.contains(&format!("<code>{}</code>", escaped(path))), "{path}");
            for (_, operation) in entries(Some(operations)) {
                assert!(page.contains(&format!("id=\"{}\"", operation["operationId"].as_str().unwrap())));
            }
        }
    }
}
