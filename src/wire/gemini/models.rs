//! Lists of models.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::bad_request::BadRequest;
use crate::model_facts::ModelFacts;

/// As many as Google lists without being told.
const PAGE: usize = 50;

/// As many as Google lists at once.
const LARGEST_PAGE: usize = 1_000;

/// One model: the answer to `GET models/{model}`.
pub fn model_body(model: &ModelFacts) -> Bytes {
    Bytes::from(Value::Object(described(model)).to_string())
}

/// One page of all models. A token names the place where the next page begins.
///
/// # Errors
/// A token that no page ever named.
pub fn models_page(
    models: &[ModelFacts],
    page_size: Option<usize>,
    page_token: Option<&str>,
) -> Result<Bytes, BadRequest> {
    let size = page_size.filter(|size| *size > 0).unwrap_or(PAGE).min(LARGEST_PAGE);
    let start = match page_token.filter(|token| !token.is_empty()) {
        None => 0,
        Some(token) => token
            .parse::<usize>()
            .ok()
            .filter(|start| *start <= models.len())
            .ok_or_else(|| BadRequest::new("Invalid page token", "pageToken", "invalid_value"))?,
    };
    let end = start.saturating_add(size).min(models.len());
    let page: Vec<Value> =
        models.get(start..end).unwrap_or_default().iter().map(described).map(Value::Object).collect();
    let mut body = json!({"models": page});
    if let (true, Some(body)) = (end < models.len(), body.as_object_mut()) {
        body.insert("nextPageToken".to_owned(), json!(end.to_string()));
    }
    Ok(Bytes::from(body.to_string()))
}

fn described(model: &ModelFacts) -> Map<String, Value> {
    let methods = if model.embeds {
        vec!["embedContent", "batchEmbedContents"]
    } else {
        vec!["generateContent", "streamGenerateContent", "countTokens"]
    };
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
    put("name", json!(format!("models/{}", model.id)));
    put("version", json!("001"));
    put("displayName", json!(model.display_name.as_ref().unwrap_or(&model.id)));
    if let Some(text) = &model.description {
        put("description", json!(text));
    }
    for (name, limit) in [("inputTokenLimit", model.input_limit), ("outputTokenLimit", model.output_limit)] {
        if let Some(limit) = limit {
            put(name, json!(limit));
        }
    }
    put("supportedGenerationMethods", json!(methods));
    if model.thinking {
        put("thinking", json!(true));
    }
    all
}
