//! Lists of models, as a local server would describe its files.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::write;
use crate::model_facts::ModelFacts;

/// The version whose abilities are offered here.
const VERSION: &str = "0.12.0";

/// The answer to `GET /api/version`.
pub fn version_body() -> Bytes {
    Bytes::from(json!({"version": VERSION}).to_string())
}

/// The answer to `GET /api/tags`.
pub fn tags_body(models: &[ModelFacts]) -> Bytes {
    let models: Vec<Value> = models.iter().map(listed).collect();
    Bytes::from(json!({"models": models}).to_string())
}

/// The answer to `GET /api/ps`: models that need not be loaded first, and stay.
pub fn ps_body(models: &[ModelFacts]) -> Bytes {
    let running = |model: &ModelFacts| {
        let mut all = listed(model);
        if let Some(all) = all.as_object_mut() {
            all.shift_remove("modified_at");
            all.insert("expires_at".to_owned(), json!("9999-12-31T23:59:59Z"));
            all.insert("size_vram".to_owned(), json!(0));
            all.insert("context_length".to_owned(), json!(model.input_limit.unwrap_or(0)));
        }
        all
    };
    Bytes::from(json!({"models": models.iter().map(running).collect::<Vec<Value>>()}).to_string())
}

/// The answer to `POST /api/show`.
pub fn show_body(model: &ModelFacts) -> Bytes {
    let abilities = [
        ("completion", !model.embeds),
        ("embedding", model.embeds),
        ("tools", model.tools),
        ("vision", model.vision),
        ("thinking", model.thinking),
    ];
    let abilities: Vec<&str> = abilities.iter().filter(|row| row.1).map(|row| row.0).collect();
    let family = family(&model.id);
    let mut info = json!({"general.architecture": family, "general.basename": model.id});
    if let (Some(limit), Some(info)) = (model.input_limit, info.as_object_mut()) {
        info.insert(format!("{family}.context_length"), json!(limit));
    }
    let body = json!({
        "modelfile": format!("FROM {}\n", model.id),
        "parameters": "",
        "template": "",
        "details": details(model),
        "model_info": info,
        "capabilities": abilities,
        "modified_at": write::time(model.created),
    });
    Bytes::from(body.to_string())
}

fn listed(model: &ModelFacts) -> Value {
    json!({
        "name": model.id,
        "model": model.id,
        "modified_at": write::time(model.created),
        "size": 0,
        "digest": digest(&model.id),
        "details": details(model),
    })
}

fn details(model: &ModelFacts) -> Value {
    let family = family(&model.id);
    json!({
        "parent_model": "",
        "format": "remote",
        "family": family,
        "families": [family],
        "parameter_size": "",
        "quantization_level": "",
    })
}

/// The first word of a model's name, its provider left out.
fn family(id: &str) -> &str {
    let name = id.rsplit('/').next().unwrap_or(id);
    name.split(['-', ':', '.']).next().unwrap_or(name)
}

/// Clients compare digests to see whether a model changed; a name never does.
fn digest(id: &str) -> String {
    Sha256::digest(id.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
