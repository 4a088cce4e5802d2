//! `/api/settings/system-prompt` and `/api/settings/thinking-budget`: what providers receive.

use omniroute_testkit::http::Request;
use serde_json::{Value, json};

use super::formats::{CLIENTS, PROVIDERS, World, instructions, model, thinking};
use crate::common::{KEY, Site, calm, chat};

const PROMPT: &str = "/api/settings/system-prompt";
const THINKING: &str = "/api/settings/thinking-budget";

#[tokio::test]
async fn the_operators_instructions_reach_every_format_from_every_format() {
    let world = World::open().await;
    let modes: [(&str, &[&str]); 3] = [
        ("prefix", &["before", "ours", "theirs", "behind"]),
        ("suffix", &["before", "theirs", "ours", "behind"]),
        ("replace", &["before", "ours", "behind"]),
    ];

    for (mode, expected) in modes {
        let setting = json!({"enabled": true, "prompt": "ours", "mode": mode, "prefixPrompt": "before", "suffixPrompt": "behind"});
        world.admin.put(PROMPT, &setting).await;
        for (client, provider) in CLIENTS.iter().flat_map(|client| PROVIDERS.map(|provider| (*client, provider))) {
            let body = world.asked(client, &model(provider)).await;
            assert_eq!(instructions(provider, &body), expected, "{client} -> {provider}, {mode}: {body}");
            assert_eq!(body.to_string().matches("hello").count(), 1, "{client} -> {provider}: {body}");
        }
    }
    world.admin.patch(PROMPT, &json!({"enabled": false})).await;
    let body = world.asked("chat", "to-anthropic/m").await;
    assert_eq!(instructions("anthropic", &body), ["theirs"]);
}

#[tokio::test]
async fn each_attempt_has_the_instructions_once_and_a_combos_own_win_over_replacing_ones() {
    let site = Site::open(calm()).await;
    site.admin.create_combo_with(&json!({"name": "own", "models": ["b/m"], "system_message": "combo"})).await;
    site.admin.put(PROMPT, &json!({"enabled": true, "prompt": "ours", "suffixPrompt": "behind"})).await;
    site.a.control.script(["status code=500"]);

    assert_eq!(site.ask_team(false).await.status(), 200);
    site.gateway.ask(&chat("own", false)).await;
    site.admin.put(PROMPT, &json!({"mode": "replace"})).await;
    site.gateway.ask(&chat("own", false)).await;

    let of = |mock: &omniroute_testkit::mock::MockUpstream| -> Vec<Vec<String>> {
        let bodies = mock.control.requests().into_iter().map(|asked| asked.json());
        bodies.map(|body| instructions("chat", &body)).collect()
    };
    assert_eq!(of(&site.a), [["ours", "behind"]]);
    assert_eq!(of(&site.b), [vec!["ours", "behind"], vec!["ours", "combo", "behind"], vec!["combo", "behind"]]);
}

#[tokio::test]
async fn each_mode_of_thinking_reaches_every_format_from_every_format() {
    let world = World::open().await;
    let pairs = || CLIENTS.iter().flat_map(|client| PROVIDERS.map(|provider| (*client, provider)));

    for tokens in [10_240, 900] {
        world.admin.put(THINKING, &json!({"mode": "custom", "customBudget": tokens})).await;
        for (client, provider) in pairs() {
            let body = world.asked(client, &model(provider)).await;
            let told = thinking(provider, &body);
            let word = if tokens == 900 { "low" } else { "medium" };
            let fits = match provider {
                "chat" | "responses" => told == word,
                // Anthropic's least is 1024.
                "anthropic" | "bedrock" => told == json!({"type": "enabled", "budget_tokens": tokens.max(1_024)}),
                "cohere" => told == json!({"type": "enabled", "token_budget": tokens}),
                "gemini" => told == tokens,
                _ => told == true || told == word,
            };
            assert!(fits, "{client} -> {provider}, {tokens}: {body}");
        }
    }
    world.admin.put(THINKING, &json!({"mode": "custom", "customBudget": 0})).await;
    for (client, provider) in pairs() {
        let body = world.asked(client, &model(provider)).await;
        let told = thinking(provider, &body);
        let off = [json!("none"), json!({"type": "disabled"}), json!(0), json!(false)];
        assert!(off.contains(&told), "{client} -> {provider}: {body}");
    }
    world.admin.put(THINKING, &json!({"mode": "auto"})).await;
    for (client, provider) in pairs() {
        let body = world.asked(client, &model(provider)).await;
        assert_eq!(thinking(provider, &body), Value::Null, "{client} -> {provider}: {body}");
    }
    world.admin.put(THINKING, &json!({"mode": "passthrough"})).await;
    assert_eq!(thinking("chat", &world.asked("chat", "to-chat/m").await), "high");
    assert_eq!(thinking("gemini", &world.asked("gemini", "to-gemini/m").await), 4_000);
}

#[tokio::test]
async fn the_adaptive_budget_grows_with_the_request() {
    let site = Site::open(calm()).await;
    site.admin.put(THINKING, &json!({"mode": "adaptive", "effortLevel": "low"})).await;
    let messages: Vec<_> = (0..11).map(|_| json!({"role": "user", "content": "hello"})).collect();
    let long = json!({"model": "a/m", "messages": messages, "reasoning_effort": "high"});
    let short = json!({"model": "a/m", "messages": [{"role": "user", "content": "hi"}], "reasoning_effort": "high"});
    let plain = json!({"model": "a/m", "messages": [{"role": "user", "content": "hi"}]});

    for body in [&short, &long, &plain] {
        site.gateway.ask(&Request::post("/v1/chat/completions", body).key(KEY)).await;
    }

    let told: Vec<_> = site.a.control.requests().iter().map(|asked| asked.json()["reasoning_effort"].clone()).collect();
    assert_eq!(told, [json!("low"), json!("medium"), Value::Null], "a model nobody knows is not made to think");
}

#[tokio::test]
async fn wishes_are_checked_outlive_a_restart_and_know_their_version() {
    let mut site = Site::open(calm()).await;
    let refused = async |path: &str, body: Value| {
        let answer = site.admin.send(Request::new("PUT", path).json(&body)).await;
        (answer.status(), answer.text())
    };

    let (unknown, text) = refused(PROMPT, json!({"promt": "x"})).await;
    assert!(unknown == 400 && text.contains("did you mean `prompt`"), "{text}");
    for body in [json!({}), json!({"mode": "loud"}), json!({"customBudget": 131_073}), json!({"effortLevel": "huge"})] {
        assert_eq!(refused(THINKING, body.clone()).await.0, 400, "{body}");
    }
    let first = site.admin.put(THINKING, &json!({"mode": "auto"})).await;
    assert_eq!(
        (&first["version"], &first["customBudget"], &first["effortLevel"]),
        (&json!(1), &json!(10_240), &json!("medium"))
    );
    assert_eq!(refused(THINKING, json!({"mode": "custom", "version": 0})).await.0, 409);
    let stale = Request::new("PUT", THINKING).json(&json!({"mode": "custom"})).header("If-Match", "\"0\"");
    assert_eq!(site.admin.send(stale).await.status(), 412);

    site.gateway.restart().await;
    let admin = site.gateway.admin().await;
    let after = admin.get(THINKING).await;
    assert_eq!((&after["mode"], &after["version"]), (&json!("auto"), &json!(1)));
}
