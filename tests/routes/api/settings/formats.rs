//! One client of each format, one provider of each format, and where each format keeps what these tests look for.

use omniroute_testkit::admin::Admin;
use omniroute_testkit::gateway::Gateway;
use omniroute_testkit::http::Request;
use serde_json::{Value, json};

use crate::common::scripted::Scripted;
use crate::common::{KEY, calm};

/// The formats of clients.
pub const CLIENTS: [&str; 5] = ["chat", "responses", "anthropic", "gemini", "ollama"];
/// The formats of providers; the models of each begin with `to-` and its name.
pub const PROVIDERS: [&str; 7] = ["chat", "responses", "anthropic", "gemini", "ollama", "cohere", "bedrock"];

/// A model of this provider; on Bedrock only Claude's thinking can be asked for.
pub fn model(provider: &str) -> String {
    let model = if provider == "bedrock" { "anthropic.claude-3-7-sonnet-20250219" } else { "m" };
    format!("to-{provider}/{model}")
}

/// A gateway in front of one provider of each format, which all refuse: these tests look at what they are asked.
pub struct World {
    pub gateway: Gateway,
    pub admin: Admin,
    provider: Scripted,
}

impl World {
    pub async fn open() -> Self {
        let refused = json!({"error": {"message": "no", "type": "invalid_request_error"}}).to_string();
        let provider = Scripted::start(move |_, _| (400, refused.clone())).await;
        let gateway = calm().start().await;
        let admin = gateway.admin().await;
        for format in PROVIDERS {
            let (kind, api_type) = match format {
                "chat" | "responses" => ("openai-compatible".to_owned(), json!(format)),
                other => (format!("{other}-compatible"), Value::Null),
            };
            let base = provider.url(&format!("/{format}"));
            let node = json!({"name": format, "prefix": format!("to-{format}"), "type": kind, "apiType": api_type, "baseUrl": base});
            let made = admin.post("/api/provider-nodes", &node).await;
            admin.create_connection(made["node"]["id"].as_str().unwrap(), format, "sk-x").await;
        }
        Self { gateway, admin, provider }
    }

    /// What a provider is asked when this client asks.
    pub async fn asked(&self, client: &str, model: &str) -> Value {
        let before = self.provider.asked().await.len();
        let answer = self.gateway.ask(&request(client, model)).await;
        let asked = self.provider.asked().await;
        let new = asked.get(before).unwrap_or_else(|| panic!("{client} -> {model}: {}", answer.text()));
        serde_json::from_str(&new.body).unwrap()
    }
}

/// A request with instructions ("theirs"), one turn ("hello"), and a wish to think.
pub fn request(client: &str, model: &str) -> Request {
    let turns = json!([{"role": "user", "content": "hello"}]);
    let with_system = json!([{"role": "system", "content": "theirs"}, {"role": "user", "content": "hello"}]);
    let thinking = json!({"type": "enabled", "budget_tokens": 4_000});
    match client {
        "chat" => {
            let body = json!({"model": model, "messages": with_system, "reasoning_effort": "high"});
            Request::post("/v1/chat/completions", &body)
        }
        "responses" => {
            let reasoning = json!({"effort": "high"});
            let body = json!({"model": model, "instructions": "theirs", "input": "hello", "reasoning": reasoning});
            Request::post("/v1/responses", &body)
        }
        "anthropic" => {
            let body = json!({"model": model, "max_tokens": 50_000, "system": "theirs", "messages": turns, "thinking": thinking});
            Request::post("/v1/messages", &body)
        }
        "gemini" => {
            let config = json!({"maxOutputTokens": 50_000, "thinkingConfig": {"thinkingBudget": 4_000}});
            let body = json!({
                "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
                "systemInstruction": {"parts": [{"text": "theirs"}]}, "generationConfig": config,
            });
            Request::post(&format!("/v1beta/models/{model}:generateContent"), &body)
        }
        _ => {
            let body = json!({"model": model, "stream": false, "messages": with_system, "think": true});
            Request::post("/api/chat", &body)
        }
    }
    .key(KEY)
}

/// The texts of the instructions, in their order, as a provider of this format reads them.
pub fn instructions(format: &str, body: &Value) -> Vec<String> {
    let instructs = |message: &&Value| matches!(message["role"].as_str(), Some("system" | "developer"));
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter(instructs).flat_map(|message| words(&message["content"])).collect()
    };
    match format {
        "responses" => [words(&body["instructions"]), texts(&body["input"])].concat(),
        "anthropic" => words(&body["system"]),
        "gemini" => words(&body["systemInstruction"]["parts"]),
        "bedrock" => words(&body["system"]),
        _ => texts(&body["messages"]),
    }
}

/// A text, or the texts of a list of parts; joined ones are taken apart.
fn words(content: &Value) -> Vec<String> {
    let apart = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    match content {
        Value::String(text) => apart(text),
        Value::Array(parts) => parts.iter().flat_map(|part| apart(part["text"].as_str().unwrap_or_default())).collect(),
        _ => Vec::new(),
    }
}

/// What a provider of this format is told about thinking; null for nothing.
pub fn thinking(format: &str, body: &Value) -> Value {
    match format {
        "chat" => body["reasoning_effort"].clone(),
        "responses" => body["reasoning"]["effort"].clone(),
        "anthropic" | "cohere" => body["thinking"].clone(),
        "bedrock" => body["additionalModelRequestFields"]["thinking"].clone(),
        "gemini" => body["generationConfig"]["thinkingConfig"]["thinkingBudget"].clone(),
        _ => body["think"].clone(),
    }
}
