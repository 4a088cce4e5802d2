//! Providers whose credential is exchanged for a token, and those with a format of their own.

use omniroute_testkit::admin::Admin;
use omniroute_testkit::gateway::Gateway;
use omniroute_testkit::http::Request;
use omniroute_testkit::mock::MockUpstream;
use serde_json::{Value, json};

use crate::common::scripted::Scripted;
use crate::common::{KEY, calm, chat, state_of};

/// Tokens `t1`, `t2`, ...
async fn tokens() -> Scripted {
    Scripted::start(|nth, _| (200, json!({"access_token": format!("t{nth}"), "expires_in": 3600}).to_string())).await
}

struct Place {
    gateway: Gateway,
    admin: Admin,
    upstream: MockUpstream,
}

impl Place {
    async fn open() -> Self {
        let gateway = calm().start().await;
        let admin = gateway.admin().await;
        Self { gateway, admin, upstream: MockUpstream::start().await }
    }

    fn fields(&self, provider: &str, key: &str, tokens: &Scripted) -> Value {
        let data = json!({"baseUrl": self.upstream.base_url(), "tokenUrl": tokens.url("/token")});
        json!({"provider": provider, "name": "x", "apiKey": key, "providerSpecificData": data})
    }

    /// A connection of watsonx at the mock.
    async fn watsonx(&self, tokens: &Scripted) -> String {
        self.admin.create_connection_with(&self.fields("watsonx", "ibm-secret-key", tokens)).await
    }

    fn keys(&self) -> Vec<String> {
        self.upstream.control.requests().into_iter().map(|request| request.key).collect()
    }
}

#[tokio::test]
async fn many_requests_at_once_are_sent_with_one_token_and_never_with_the_key() {
    let (place, tokens) = (Place::open().await, tokens().await);
    place.watsonx(&tokens).await;

    let all = (0..20).map(|nth| {
        let gateway = &place.gateway;
        async move { gateway.ask(&chat("watsonx/granite", nth % 2 == 0)).await.status() }
    });
    let statuses = futures_util::future::join_all(all).await;

    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert!(place.keys().iter().all(|key| key == "t1"), "{:?}", place.keys());
    let asked = tokens.asked().await;
    assert_eq!((asked.len(), asked[0].path.as_str()), (1, "/token"));
    assert_eq!(asked[0].body, "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey=ibm-secret-key");
    assert!(!place.gateway.log().contains("ibm-secret-key"));
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_call_made_once_more() {
    let (place, tokens) = (Place::open().await, tokens().await);
    let id = place.watsonx(&tokens).await;
    place.upstream.control.script(["status code=401"]);

    let replayed = place.gateway.ask(&chat("watsonx/granite", false)).await;
    place.upstream.control.always("status code=401");
    let refused = place.gateway.ask(&chat("watsonx/granite", true)).await;

    assert_eq!(replayed.status(), 200, "{}", replayed.text());
    assert!(refused.status() >= 400, "{}", refused.text());
    assert_eq!(place.keys(), ["t1", "t2", "t2", "t3"], "one replay each");
    assert_eq!(tokens.asked().await.len(), 3);
    assert_eq!(state_of(&place.admin, &id).await["lastError"]["outcome"], json!("auth_refused"));
}

#[tokio::test]
async fn a_credential_that_buys_no_token_is_told_like_one_that_the_provider_refuses() {
    let place = Place::open().await;
    let words = r#"{"error":"invalid_grant","error_description":"no ibm-secret-key"}"#;
    let tokens = Scripted::start(move |nth, _| match nth {
        1 | 2 => (400, words.to_owned()),
        _ => (200, json!({"access_token": "good", "expires_in": 60}).to_string()),
    })
    .await;
    let id = place.watsonx(&tokens).await;

    let refused = place.gateway.ask(&chat("watsonx/granite", false)).await;
    let state = state_of(&place.admin, &id).await;
    let tested = place.admin.post(&format!("/api/providers/{id}/test"), &json!({})).await;
    let again = place.admin.post(&format!("/api/providers/{id}/test"), &json!({})).await;
    let served = place.gateway.ask(&chat("watsonx/granite", false)).await;

    assert_eq!((refused.status() >= 400, &state["lastError"]["outcome"]), (true, &json!("auth_refused")), "{state}");
    assert!(!format!("{}{state}{tested}", refused.text()).contains("ibm-secret-key"));
    let kind = &tested["diagnosis"]["type"];
    assert_eq!((&tested["valid"], kind), (&json!(false), &json!("upstream_auth_error")), "{tested}");
    assert_eq!((&again["valid"], served.status()), (&json!(true), 200), "{again} {}", served.text());
    assert_eq!(place.keys(), ["good"], "the test and the request share the token");
}

#[tokio::test]
async fn a_place_of_tokens_that_is_away_is_a_connection_that_cannot_be_made() {
    let place = Place::open().await;
    let mut fields = place.fields("watsonx", "ibm-secret-key", &tokens().await);
    fields["providerSpecificData"]["tokenUrl"] = json!("http://127.0.0.1:1/token");
    let id = place.admin.create_connection_with(&fields).await;

    let failed = place.gateway.ask(&chat("watsonx/granite", false)).await;

    assert_eq!(failed.status(), 502, "{}", failed.text());
    assert_eq!(state_of(&place.admin, &id).await["lastError"]["outcome"], json!("connect_failed"));
    assert!(place.keys().is_empty());
}

#[tokio::test]
async fn the_place_of_tokens_must_be_one_that_may_be_reached() {
    let (place, tokens) = (Place::open().await, tokens().await);
    let mut inside = place.fields("watsonx", "k", &tokens);
    inside["providerSpecificData"]["tokenUrl"] = json!("http://169.254.169.254/token");
    let id = place.watsonx(&tokens).await;

    let refused = place.admin.send(Request::post("/api/providers", &inside)).await;
    let elsewhere = json!({"providerSpecificData": {"tokenUrl": format!("{}x", tokens.url("/token"))}});
    let kept = place.admin.put(&format!("/api/providers/{id}"), &elsewhere).await;
    let other = Scripted::start(|_, _| (500, String::new())).await;
    let moved = json!({"providerSpecificData": {"tokenUrl": other.url("/token")}});
    let cleared = place.admin.put(&format!("/api/providers/{id}"), &moved).await;

    assert_eq!(refused.status(), 400, "{}", refused.text());
    assert!(refused.text().contains("tokenUrl"), "{}", refused.text());
    assert!(kept.get("credentialCleared").is_none(), "{kept}");
    assert_eq!(cleared["credentialCleared"], json!(true), "{cleared}");
    assert!(other.asked().await.is_empty());
}

#[tokio::test]
async fn a_service_account_is_pasted_as_it_is_and_tried_without_being_stored() {
    let (place, tokens) = (Place::open().await, tokens().await);
    let key = include_str!("../../fixtures/service_account.key");
    let account = json!({"type": "service_account", "project_id": "acme", "client_email": "a@b.c", "private_key": key});
    let pretty = serde_json::to_string_pretty(&account).unwrap();
    let mut fields = place.fields("vertex-partner", &pretty, &tokens);

    fields["validationModelId"] = json!("meta/llama");
    fields.as_object_mut().unwrap().shift_remove("name");
    let tried = place.admin.post("/api/providers/validate", &fields).await;
    fields.as_object_mut().unwrap().shift_remove("validationModelId");
    fields["name"] = json!("google");
    let made = place.admin.post("/api/providers", &fields).await;
    let served = place.gateway.ask(&chat("vertex-partner/meta/llama", false)).await;

    assert_eq!((&tried["valid"], served.status()), (&json!(true), 200), "{tried} {}", served.text());
    assert!(!made.to_string().contains("PRIVATE"), "{made}");
    assert_eq!(place.keys(), ["t1", "t2"]);
    let asked = tokens.asked().await;
    assert!(asked[0].body.starts_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=ey"));
}

#[tokio::test]
async fn claude_on_vertex_is_asked_by_its_path_with_the_version_in_the_body() {
    let (place, tokens) = (Place::open().await, tokens().await);
    let cloud = Scripted::start(|_, asked| {
        let message = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"usage":{"input_tokens":3,"output_tokens":1}}"#;
        if asked.path.ends_with("streamRawPredict") {
            let events = [
                ("message_start", format!(r#"{{"type":"message_start","message":{message}}}"#)),
                ("content_block_start", r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#.into()),
                ("content_block_delta", r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}"#.into()),
                ("content_block_stop", r#"{"type":"content_block_stop","index":0}"#.into()),
                ("message_delta", r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}"#.into()),
                ("message_stop", r#"{"type":"message_stop"}"#.into()),
            ];
            return (200, events.iter().map(|(name, data)| format!("event: {name}\ndata: {data}\n\n")).collect());
        }
        (200, message.replace("\"content\":[]", r#""content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn""#))
    })
    .await;
    let key = include_str!("../../fixtures/service_account.key");
    let account = json!({"client_email": "a@b.c", "private_key": key}).to_string();
    let mut fields = place.fields("vertex-partner", &account, &tokens);
    fields["providerSpecificData"]["baseUrl"] = json!(cloud.url("/v1/projects/p/locations/r"));
    place.admin.create_connection_with(&fields).await;
    let own =
        json!({"model": "vertex-partner/claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "a"}]});

    let passed = place.gateway.ask(&Request::post("/v1/messages", &own).header("x-api-key", KEY)).await;
    let translated = place.gateway.ask(&chat("vertex-partner/claude-x", true)).await;

    assert_eq!((passed.status(), &passed.json()["content"][0]["text"]), (200, &json!("hi")), "{}", passed.text());
    assert!(translated.text().contains("\"content\":\"hi\"") && translated.text().ends_with("data: [DONE]\n\n"));
    let asked = cloud.asked().await;
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    let model = "/v1/projects/p/locations/r/publishers/anthropic/models/claude-x";
    assert_eq!(paths, [format!("{model}:rawPredict"), format!("{model}:streamRawPredict")]);
    for asked in &asked {
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        assert_eq!((&body["anthropic_version"], body.get("model")), (&json!("vertex-2023-10-16"), None));
        assert_eq!(asked.header("authorization"), "Bearer t1");
    }
}

#[tokio::test]
async fn services_of_plain_text_answer_in_one_piece_whatever_the_client_wants() {
    let place = Place::open().await;
    let service = Scripted::start(|_, asked| match asked.path.as_str() {
        "/v1/gpu/dolphin/chatbot" => (200, json!({"response": "cloud", "history": []}).to_string()),
        "/completions" => (200, json!({"model": {"name": "m"}, "choices": [{"text": "lab", "index": 0}]}).to_string()),
        "/generate" => (200, json!({"ok": true, "outputs": " swarm</s>"}).to_string()),
        _ => (404, "{}".to_owned()),
    })
    .await;
    for (provider, key, base) in [("nlpcloud", "sk-n", "/v1"), ("gitlab", "glpat-x", ""), ("petals", "", "")] {
        let data = json!({"baseUrl": service.url(base)});
        let fields = json!({"provider": provider, "name": provider, "apiKey": key, "providerSpecificData": data});
        place.admin.create_connection_with(&fields).await;
    }

    for (model, text) in [("nlpcloud/dolphin", "cloud"), ("gitlab/any", "lab"), ("petals/org/m", "swarm")] {
        let whole = place.gateway.ask(&chat(model, false)).await;
        let stream = place.gateway.ask(&chat(model, true)).await;

        assert_eq!(whole.status(), 200, "{model}: {}", whole.text());
        assert_eq!(whole.json()["choices"][0]["message"]["content"], json!(text));
        assert!(stream.text().contains(&format!("\"content\":\"{text}\"")), "{model}: {}", stream.text());
        assert!(stream.text().ends_with("data: [DONE]\n\n"), "{model}: {}", stream.text());
    }
    let asked = service.asked().await;
    assert_eq!((asked[0].header("authorization"), asked[2].header("authorization")), ("Token sk-n", "Bearer glpat-x"));
    assert_eq!(asked[4].header("content-type"), "application/x-www-form-urlencoded");
    assert!(asked[4].body.starts_with("model=org%2Fm&inputs=Human%3A+hello"), "{}", asked[4].body);
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let body = json!({"model": "nlpcloud/dolphin", "messages": [{"role": "user", "content": "a"}], "tools": tools});
    let refused = place.gateway.ask(&Request::post("/v1/chat/completions", &body).key(KEY)).await;
    assert_eq!((refused.status(), &refused.json()["error"]["param"]), (400, &json!("tools")), "{}", refused.text());
}

#[tokio::test]
async fn an_error_of_minimax_inside_a_good_answer_is_what_it_says() {
    let place = Place::open().await;
    let service = Scripted::start(|_, _| {
        (
            200,
            json!({"id": "", "content": [], "base_resp": {"status_code": 1008, "status_msg": "no money"}}).to_string(),
        )
    })
    .await;
    let data = json!({"baseUrl": service.url("/anthropic/v1")});
    let fields = json!({"provider": "minimax", "name": "m", "apiKey": "sk-m", "providerSpecificData": data});
    let id = place.admin.create_connection_with(&fields).await;

    let stream = place.gateway.ask(&chat("minimax/MiniMax-M2.7", true)).await;

    assert!(stream.status() >= 400, "{}", stream.text());
    assert_eq!(state_of(&place.admin, &id).await["state"], json!("credits_exhausted"));
    let asked = service.asked().await;
    assert_eq!((asked[0].path.as_str(), asked[0].header("authorization")), ("/anthropic/v1/messages", "Bearer sk-m"));
    assert_eq!(asked[0].header("anthropic-version"), "2023-06-01");
}
