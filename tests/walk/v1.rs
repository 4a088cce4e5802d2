//! What clients ask, in each of their formats.

use omniroute_testkit::gateway::Builder;
use serde_json::{Value, json};

use super::area::{Area, text};
use crate::common::{PATIENCE, calm, eventually};

pub fn gateway() -> Builder {
    calm()
}

/// One way to ask: the operation, what stands in its path, and the body for a model.
struct Way {
    operation: &'static str,
    path: fn(&str) -> Option<String>,
    body: fn(&str) -> Value,
}

fn said() -> Value {
    json!([{"role": "user", "content": "hello"}])
}

const WAYS: [Way; 7] = [
    Way {
        operation: "POST /v1/chat/completions",
        path: |_| None,
        body: |model| json!({"model": model, "messages": said()}),
    },
    Way {
        operation: "POST /v1/providers/{provider}/chat/completions",
        path: |_| Some("a".to_owned()),
        body: |model| json!({"model": model, "messages": said()}),
    },
    Way {
        operation: "POST /v1/messages",
        path: |_| None,
        body: |model| json!({"model": model, "max_tokens": 99, "messages": said()}),
    },
    Way {
        operation: "POST /v1/messages/count_tokens",
        path: |_| None,
        body: |model| json!({"model": model, "messages": said()}),
    },
    Way {
        operation: "POST /v1/responses",
        path: |_| None,
        body: |model| json!({"model": model, "input": "hello"}),
    },
    Way {
        operation: "POST /v1/api/chat",
        path: |_| None,
        body: |model| json!({"model": model, "messages": said(), "stream": false}),
    },
    Way {
        operation: "POST /v1beta/models/{model}",
        path: |model| Some(format!("{model}:generateContent")),
        body: |_| json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}),
    },
];

pub async fn walk(area: &Area) {
    for way in &WAYS {
        asked(area, way).await;
    }
    streamed(area).await;
    listed(area).await;
    beside(area).await;
    kept(area).await;
}

async fn asked(area: &Area, way: &Way) {
    let ask = |model: &str| {
        let call = area.call(way.operation);
        (way.path)(model).into_iter().fold(call, |call, part| call.at(&part))
    };
    ask("a/m").json((way.body)("a/m")).says(200).await;
    if !way.operation.ends_with("count_tokens") {
        area.site.a.control.script(["status code=404"]);
        let unknown = if way.operation.contains("{provider}") { "a/m" } else { "no-such-model" };
        ask(unknown).json((way.body)(unknown)).says(404).await;
        area.site.a.control.reset();
        area.site.admin.reset(&json!({"scope": "lockouts"})).await;
    }
    let call = || ask("a/m").header("Content-Type", "application/json");
    call().bytes("{\"model\": ").says(400).await;
    call().json(json!({"model": 7, "messages": 7, "contents": 7, "input": 7})).says(400).await;
}

async fn streamed(area: &Area) {
    let body = json!({"model": "a/m", "messages": said(), "stream": true});
    let answer = area.call("POST /v1/chat/completions").json(body).answers(200).await;
    area.expect("a stream ends properly", answer.events().pop(), Some("[DONE]".to_owned()));
}

async fn listed(area: &Area) {
    let own = json!({"provider": "a", "modelId": "own-1"});
    area.call("POST /api/provider-models").json(own).says(200).await;
    for (list, pointer) in [
        ("GET /v1/models", "/data/0/id"),
        ("GET /v1beta/models", "/models/0/name"),
        ("GET /api/tags", "/models/0/name"),
    ] {
        let models = area.call(list).says(200).await;
        area.must(list, models.pointer(pointer).is_some_and(Value::is_string), &models);
        area.must(list, models.to_string().contains("own-1"), &models);
    }
}

/// What stands beside the reference.
async fn beside(area: &Area) {
    let prompt = json!({"model": "a/m", "prompt": "hello", "stream": false});
    area.call("POST /v1/completions").json(prompt.clone()).says(200).await;
    area.call("POST /v1/api/generate").json(prompt).says(200).await;
    area.call("POST /v1/api/show").json(json!({"model": "a/own-1"})).says(200).await;
    area.call("GET /v1/api/version").says(200).await;
    area.call("GET /v1/api/ps").says(200).await;
    for (one, gone) in [("GET /v1/models/{id}", "nowhere"), ("GET /v1beta/models/{model}", "nowhere")] {
        area.call(one).at("a/own-1").says(200).await;
        area.call(one).at(gone).says(404).await;
    }
    for count in ["POST /v1/responses/input_tokens", "POST /v1/responses/compact"] {
        area.call(count).json(json!({"model": "a/m", "input": "hello"})).says(200).await;
        area.call(count).json(json!({"model": 7})).says(400).await;
    }
}

/// An answer that is kept belongs to the key that asked for it.
async fn kept(area: &Area) {
    let other = area.site.admin.create_key("other").await.key;
    let made = area.call("POST /v1/responses").json(json!({"model": "a/m", "input": "secret"})).says(200).await;
    let id = text(&made["id"]);
    let show = || area.call("GET /v1/responses/{id}").at(id);
    // It is kept a moment after it was answered.
    let path = format!("/v1/responses/{id}");
    let here = eventually(PATIENCE, async || {
        let request = omniroute_testkit::http::Request::get(&path).key(crate::common::KEY);
        (area.site.gateway.ask(&request).await.status() == 200).then_some(())
    });
    area.must("an answer is kept", here.await.is_some(), id);

    show().says(200).await;
    show().by(&other).says(404).await;
    area.call("GET /v1/responses/{id}/input_items").at(id).by(&other).says(404).await;
    area.call("POST /v1/responses/{id}/cancel").at(id).by(&other).says(404).await;
    area.call("DELETE /v1/responses/{id}").at(id).by(&other).says(404).await;
    let go_on = json!({"model": "a/m", "input": "go on", "previous_response_id": id});
    area.call("POST /v1/responses").json(go_on.clone()).by(&other).says(400).await;
    area.call("POST /v1/responses").json(go_on).says(200).await;
    area.call("DELETE /v1/responses/{id}").at(id).says(200).await;
    show().says(404).await;
}
