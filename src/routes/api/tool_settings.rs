//! The settings of command-line tools as data: which file, which text.

use serde_json::{Value, json};

/// What stands for the caller's own key: nobody is shown one.
const KEY: &str = "YOUR_OMNIROUTE_KEY";
/// What stands for a model: a combo's name or `provider/model`.
const MODEL: &str = "YOUR_MODEL_OR_COMBO";

/// One tool.
pub(super) struct Tool {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) command: &'static str,
    /// Where its settings lie in a user's home.
    pub(super) path: &'static str,
    format: &'static str,
    text: fn(&str) -> String,
}

impl Tool {
    /// What its user puts into place so that it calls the gateway at this address.
    pub(super) fn snippet(&self, base: &str) -> Value {
        json!({"path": self.path, "format": self.format, "content": (self.text)(base), "keyPlaceholder": KEY})
    }
}

/// Every tool that is known.
pub(super) const TOOLS: &[Tool] = &[
    Tool {
        id: "claude",
        name: "Claude Code",
        command: "claude",
        path: "~/.claude/settings.json",
        format: "json",
        text: claude,
    },
    Tool { id: "codex", name: "Codex", command: "codex", path: "~/.codex/config.toml", format: "toml", text: codex },
    Tool { id: "droid", name: "Droid", command: "droid", path: "~/.factory/config.json", format: "json", text: droid },
    Tool {
        id: "openclaw",
        name: "OpenClaw",
        command: "openclaw",
        path: "~/.openclaw/openclaw.json",
        format: "json",
        text: openclaw,
    },
    Tool {
        id: "opencode",
        name: "opencode",
        command: "opencode",
        path: "~/.config/opencode/opencode.json",
        format: "json",
        text: opencode,
    },
    Tool { id: "gemini", name: "Gemini CLI", command: "gemini", path: "~/.gemini/.env", format: "env", text: gemini },
];

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// It appends `/v1/messages` itself.
fn claude(base: &str) -> String {
    pretty(&json!({"env": {
        "ANTHROPIC_BASE_URL": base,
        "ANTHROPIC_AUTH_TOKEN": KEY,
        "ANTHROPIC_DEFAULT_OPUS_MODEL": MODEL,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": MODEL,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": MODEL,
    }}))
}

/// Only the Responses format is accepted by releases of today, and the key only from the environment.
fn codex(base: &str) -> String {
    let quoted = toml::Value::from(format!("{base}/v1"));
    format!(
        "# The key: export OMNIROUTE_API_KEY={KEY}\nmodel = \"{MODEL}\"\nmodel_provider = \"omniroute\"\n\n\
         [model_providers.omniroute]\nname = \"OmniRoute\"\nbase_url = {quoted}\n\
         env_key = \"OMNIROUTE_API_KEY\"\nwire_api = \"responses\"\n"
    )
}

fn droid(base: &str) -> String {
    pretty(&json!({"custom_models": [{
        "model_display_name": "OmniRoute",
        "model": MODEL,
        "base_url": format!("{base}/v1"),
        "api_key": KEY,
        "provider": "generic-chat-completion-api",
    }]}))
}

fn openclaw(base: &str) -> String {
    pretty(&json!({
        "models": {"mode": "merge", "providers": {"omniroute": {
            "baseUrl": format!("{base}/v1"),
            "apiKey": KEY,
            "api": "openai-completions",
            "models": [{"id": MODEL, "name": "OmniRoute"}],
        }}},
        "agents": {"defaults": {"model": {"primary": format!("omniroute/{MODEL}")}}},
    }))
}

fn opencode(base: &str) -> String {
    pretty(&json!({
        "$schema": "https://opencode.ai/config.json",
        "provider": {"omniroute": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "OmniRoute",
            "options": {"baseURL": format!("{base}/v1"), "apiKey": KEY},
            "models": {MODEL: {"name": "OmniRoute"}},
        }},
    }))
}

fn gemini(base: &str) -> String {
    format!("GOOGLE_GEMINI_BASE_URL={base}\nGEMINI_API_KEY={KEY}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_snippet_is_sound_in_its_format_and_names_the_gateway_and_no_real_key() {
        for tool in TOOLS {
            let snippet = tool.snippet("https://gw.example/sub");
            let text = snippet["content"].as_str().unwrap();

            match tool.format {
                "json" => drop(serde_json::from_str::<Value>(text).unwrap()),
                "toml" => drop(text.parse::<toml::Table>().unwrap()),
                _ => assert!(text.lines().all(|line| line.contains('='))),
            }
            assert!(text.contains("https://gw.example/sub") && text.contains(KEY), "{text}");
        }
    }

    #[test]
    fn claude_code_is_given_the_address_without_v1_and_codex_with_it() {
        assert!(claude("http://g").contains("\"ANTHROPIC_BASE_URL\": \"http://g\""));
        let codex: toml::Table = codex("http://g").parse().unwrap();
        let provider = &codex["model_providers"]["omniroute"];
        assert_eq!(provider["base_url"].as_str(), Some("http://g/v1"));
        assert_eq!(provider["wire_api"].as_str(), Some("responses"));
    }
}
