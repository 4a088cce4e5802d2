//! `/api/provider-models`, the lists of models that providers tell, and how both reach clients and routing.

use omniroute_testkit::http::Request;
use serde_json::{Value, json};

use crate::common::scripted::Scripted;
use crate::common::{KEY, Site, calm, chat_with};

async fn listed(site: &Site) -> Vec<Value> {
    let answer = site.gateway.ask(&Request::get("/v1/models").key(KEY)).await;
    answer.json()["data"].as_array().unwrap().clone()
}

fn ids(models: &[Value]) -> Vec<&str> {
    models.iter().map(|model| model["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_model_that_an_operator_adds_is_listed_served_and_known() {
    let site = Site::open(calm()).await;
    let model = json!({"provider": "a", "modelId": "own-1", "modelName": "Own", "context": 1000, "maxOutput": 500, "can": ["tools"]});

    let made = site.admin.post("/api/provider-models", &model).await;
    let models = listed(&site).await;
    let own = models.iter().find(|model| model["id"] == "a/own-1").cloned().unwrap_or_default();
    let bare = site.gateway.ask(&chat_with("own-1", &json!({}))).await;
    let picture = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]);
    let blind = site.gateway.ask(&chat_with("a/own-1", &json!({"messages": picture}))).await;
    let catalog = site.admin.get("/api/models/catalog").await;

    assert_eq!((&made["model"]["id"], &made["model"]["name"]), (&json!("own-1"), &json!("Own")), "{made}");
    assert_eq!((&own["custom"], &own["context_length"]), (&json!(true), &json!(1000)), "{own}");
    assert_eq!((own["api_format"].as_str(), &own["supported_endpoints"]), (Some("chat-completions"), &json!(["chat"])));
    assert_eq!((&own["capabilities"]["tool_calling"], &own["input_modalities"]), (&json!(true), &json!(["text"])));
    assert_eq!(bare.status(), 200, "one provider lists it, so its bare name is enough: {}", bare.text());
    assert!(blind.status() >= 400, "a filter knows that it cannot see: {}", blind.text());
    let known = &catalog["catalog"][site.at_a.node.as_str()]["models"][0];
    assert_eq!((&known["name"], &known["capabilities"]["vision"]), (&json!("Own"), &json!(false)), "{known}");
}

#[tokio::test]
async fn a_hidden_model_is_not_listed_and_still_served() {
    let site = Site::open(calm()).await;
    site.admin.post("/api/provider-models", &json!({"provider": "a", "modelId": "m1"})).await;

    let hidden = site.admin.patch("/api/provider-models?provider=a&modelId=m1", &json!({"isHidden": true})).await;
    let without = listed(&site).await;
    let served = site.gateway.ask(&chat_with("a/m1", &json!({}))).await;
    site.admin.patch("/api/provider-models?provider=a", &json!({"isHidden": false, "modelIds": ["m1"]})).await;

    assert_eq!((&hidden["ok"], &hidden["updated"], served.status()), (&json!(true), &json!(1), 200), "{hidden}");
    assert!(!ids(&without).contains(&"a/m1") && ids(&listed(&site).await).contains(&"a/m1"));
}

#[tokio::test]
async fn models_are_changed_and_removed_one_by_one_or_all_together() {
    let site = Site::open(calm()).await;
    for model in ["m1", "m2", "m3"] {
        site.admin.post("/api/provider-models", &json!({"provider": "a", "modelId": model, "context": 100})).await;
    }

    let changed = json!({"provider": "a", "modelId": "m1", "context": null, "tier": "pro"});
    let changed = site.admin.put("/api/provider-models", &changed).await;
    let removed = site.admin.delete("/api/provider-models?provider=a&model=m2").await;
    let left = site.admin.get("/api/provider-models?provider=a").await;
    let all = site.admin.get("/api/provider-models").await;
    let cleared = site.admin.delete("/api/provider-models?provider=a&all=true").await;

    assert_eq!((&changed["model"]["tier"], changed["model"].get("context")), (&json!("pro"), None), "{changed}");
    assert_eq!((&removed, &cleared), (&json!({"removed": true}), &json!({"cleared": true})));
    assert_eq!(ids(left["models"].as_array().unwrap()), ["m1", "m3"]);
    assert_eq!(all["models"][site.at_a.node.as_str()].as_array().unwrap().len(), 2);
    assert!(!ids(&listed(&site).await).iter().any(|id| id.starts_with("a/m")));
}

#[tokio::test]
async fn what_is_wrong_about_a_model_is_said() {
    let site = Site::open(calm()).await;
    let cases = [
        (json!({"modelId": "x"}), "provider"),
        (json!({"provider": "a"}), "modelId"),
        (json!({"provider": "a", "modelId": "x", "apiFormat": "smoke"}), "apiFormat"),
        (json!({"provider": "a", "modelId": "x", "can": ["fly"]}), "can"),
        (json!({"provider": "a", "modelId": "x", "contextt": 5}), "contextt"),
    ];

    for (body, field) in cases {
        let answer = site.admin.send(Request::post("/api/provider-models", &body)).await;
        assert_eq!((answer.status(), &answer.json()["error"]["type"]), (400, &json!("validation_error")), "{body}");
        assert!(answer.json()["error"]["details"].to_string().contains(field), "{body}: {}", answer.text());
    }
    let send = |method: &str, path: &str, body: Value| site.admin.send(Request::new(method, path).json(&body));
    let gone = json!({"provider": "a", "modelId": "never"});
    assert_eq!(send("PUT", "/api/provider-models", gone).await.status(), 404);
    assert_eq!(send("DELETE", "/api/provider-models?provider=a&model=never", json!({})).await.status(), 404);
    assert_eq!(send("DELETE", "/api/provider-models?provider=a", json!({})).await.status(), 400);
    assert_eq!(send("POST", "/api/provider-models", json!({"provider": "nobody", "modelId": "x"})).await.status(), 400);
}

#[tokio::test]
async fn a_list_that_was_taken_over_is_listed_and_told_without_asking_again() {
    let mut site = Site::open(calm()).await;
    let path = format!("/api/providers/{}", site.at_a.connections[0]);

    let synced = site.admin.post(&format!("{path}/sync-models"), &json!({})).await;
    let again = site.admin.post(&format!("{path}/sync-models?mode=import"), &json!({})).await;
    let asked = site.a.control.stats().model_lists;
    let cached = site.admin.get(&format!("{path}/models")).await;
    let fresh = site.admin.get(&format!("{path}/models?refresh=true")).await;
    let told = site.admin.get("/api/synced-available-models?provider=a").await;
    let models = listed(&site).await;
    site.a.refuse().await;
    let away = site.admin.get(&format!("{path}/models?refresh=true")).await;
    let failed = site.admin.send(Request::post(&format!("{path}/sync-models"), &json!({}))).await;

    assert_eq!((&synced["modelChanges"]["added"], &again["modelChanges"]["total"]), (&json!(2), &json!(0)), "{synced}");
    assert_eq!((&synced["ok"], &synced["mode"], &again["mode"]), (&json!(true), &json!("sync"), &json!("import")));
    assert_eq!(
        (&cached["source"], &fresh["source"], &away["source"]),
        (&json!("cache"), &json!("api"), &json!("cache"))
    );
    assert_eq!(site.a.control.stats().model_lists, asked + 1, "the cached list asked nobody");
    assert!(away["warning"].is_string() && away["models"].as_array().unwrap().len() == 2, "{away}");
    assert_eq!((failed.status(), told["models"].as_array().unwrap().len()), (502, 2), "{}", failed.text());
    assert!(ids(&models).contains(&"a/mock-model") && ids(&models).contains(&"a/mock-model-mini"));
}

#[tokio::test]
async fn a_model_is_asked_for_a_sign_of_life() {
    let site = Site::open(calm()).await;
    let body = json!({"providerId": site.at_a.node, "modelId": "m"});

    let good = site.admin.post("/api/models/test", &body).await;
    site.a.control.script(["status code=401"]);
    let bad = site.admin.post("/api/models/test", &body).await;
    let nobody =
        site.admin.send(Request::post("/api/models/test", &json!({"providerId": "openai", "modelId": "m"}))).await;

    assert_eq!((&good["status"], &bad["status"], &bad["statusCode"]), (&json!("ok"), &json!("error"), &json!(401)));
    assert_eq!(nobody.status(), 404, "{}", nobody.text());
}

/// A provider whose list, and what it shows of one model, say what its models can do.
async fn telling() -> Scripted {
    Scripted::start(|_, asked| {
        let card = |id: &str, inputs: Value| {
            let parameters = json!(["tools", "structured_outputs", "reasoning"]);
            json!({"id": id, "architecture": {"input_modalities": inputs}, "supported_parameters": parameters})
        };
        let answer = match asked.path.as_str() {
            "/v1/models" => json!({"data": [card("seer", json!(["text", "image"])), card("reader", json!(["text"]))]}),
            "/api/tags" => json!({"models": [{"name": "llama"}]}),
            "/api/show" if asked.body.contains("llama") => json!({"capabilities": ["completion", "tools"]}),
            _ => return (404, "{}".to_owned()),
        };
        (200, answer.to_string())
    })
    .await
}

#[tokio::test]
async fn what_a_provider_says_its_models_can_do_is_learned_filtered_by_and_explained() {
    let (site, provider) = (Site::open(calm()).await, telling().await);
    for (kind, prefix, base) in [("openai-compatible", "told", "/v1"), ("ollama-compatible", "local", "")] {
        let node = json!({"name": prefix, "prefix": prefix, "type": kind, "baseUrl": provider.url(base)});
        let node = site.admin.post("/api/provider-nodes", &node).await["node"]["id"].clone();
        let id = site.admin.create_connection(node.as_str().unwrap(), prefix, "sk-x").await;
        site.admin.post(&format!("/api/providers/{id}/sync-models"), &json!({})).await;
    }
    let lacks = async |model: &str, need: &str| {
        let question = json!({"model": model, "features": {"needs": [need]}});
        site.admin.send(Request::post("/api/explain", &question)).await.text().contains("lacks")
    };

    let seen = [lacks("told/seer", "vision").await, lacks("told/reader", "vision").await];
    let audible = [lacks("told/seer", "audio").await, lacks("told/seer", "files").await];
    let local = [lacks("local/llama", "tools").await, lacks("local/llama", "vision").await];
    let facts = json!({"pattern": "reader", "can": ["tools", "vision"]});
    site.admin.put("/api/models/facts", &facts).await;

    assert_eq!((seen, audible, local), ([false, true], [true, false], [false, true]));
    assert!(!lacks("told/reader", "vision").await, "an operator knows better");
}
