//! Combos, their order and what holds for all of them.

use serde_json::{Value, json};

use crate::routes::testing::signed_in;

fn id(combo: &Value) -> &str {
    combo["id"].as_str().unwrap()
}

#[actix_web::test]
async fn every_field_of_a_combo_comes_back_as_it_was_given() {
    let site = signed_in().await;
    let body = json!({
        "name": "team", "strategy": "weighted", "isActive": false, "isHidden": true, "sortOrder": 7,
        "models": [
            {"kind": "model", "id": "one", "model": "openai/gpt", "providerId": "openai", "connectionId": "env-openai",
             "weight": 70, "label": "main", "tags": ["eu", "fast"]},
        ],
        "config": {"maxRetries": 2, "weights": {"health": 0.5}, "contextRequirements": {"minContextWindow": 5000}},
        "allowedProviders": ["openai"], "system_message": "Be brief.", "tool_filter_regex": "^read_",
        "context_length": 200_000,
    });

    let made = site.ok("POST", "/api/combos", Some(body.clone())).await;
    let read = site.ok("GET", &format!("/api/combos/{}", id(&made)), None).await;

    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&read[name], value, "{name}");
    }
    assert_eq!(made["warnings"], Value::Null, "{made}");
    let cleared =
        json!({"system_message": "", "tool_filter_regex": null, "allowedProviders": [], "context_length": null});
    let changed = site.ok("PATCH", &format!("/api/combos/{}", id(&made)), Some(cleared)).await;
    assert_eq!((&changed["system_message"], &changed["tool_filter_regex"]), (&Value::Null, &Value::Null));
    assert_eq!(changed["models"], made["models"]);
}

#[actix_web::test]
async fn what_cannot_be_is_named_field_by_field() {
    let site = signed_in().await;
    let body = json!({
        "name": "team", "strategy": "magic", "models": ["openai/x", {"model": "openai/y", "weight": 101}],
        "config": {"maxRetries": 11, "maxRetires": 1}, "system_message": "x".repeat(50_001),
        "tool_filter_regex": "(", "context_length": 999,
    });

    let refused = site.ask("POST", "/api/combos", Some(body)).await;

    assert_eq!(refused.status, 400);
    let mut fields = refused.fields();
    fields.sort();
    assert_eq!(
        fields,
        [
            "config.maxRetires",
            "config.maxRetries",
            "context_length",
            "models.1.weight",
            "strategy",
            "system_message",
            "tool_filter_regex",
        ]
    );
    assert!(refused.text.contains("round-robin"), "{}", refused.text);
}

#[actix_web::test]
async fn a_combo_named_like_a_model_warns_and_answers_in_its_place() {
    let site = signed_in().await;
    let made = async |name: &str| {
        let body = json!({"name": name, "models": ["openai/x"]});
        site.ok("POST", "/api/combos", Some(body)).await["warnings"][0]["code"].clone()
    };

    let shadow = json!("COMBO_NAME_SHADOWS_MODEL");
    assert_eq!(made("gpt-5.5").await, shadow);
    assert_eq!(made("openai/anything").await, shadow);
    assert_eq!(made("plain").await, Value::Null);
}

#[actix_web::test]
async fn steps_keep_their_ids_when_the_list_changes() {
    let site = signed_in().await;
    let made = site.ok("POST", "/api/combos", Some(json!({"name": "c", "models": ["openai/x", "openai/y"]}))).await;
    let path = format!("/api/combos/{}", id(&made));

    let changed = site.ok("PUT", &path, Some(json!({"models": ["openai/z", "openai/y"]}))).await;

    assert_eq!(changed["models"][1]["id"], made["models"][1]["id"]);
    assert_ne!(changed["models"][0]["id"], made["models"][0]["id"]);
}

#[actix_web::test]
async fn combos_are_put_into_another_order() {
    let site = signed_in().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let made = site.ok("POST", "/api/combos", Some(json!({"name": name, "models": ["openai/x"]}))).await;
        ids.push(id(&made).to_owned());
    }
    let names = |answer: &Value| -> Vec<String> {
        answer["combos"].as_array().unwrap().iter().map(|combo| combo["name"].as_str().unwrap().to_owned()).collect()
    };

    let answer = site.ok("POST", "/api/combos/reorder", Some(json!({"comboIds": [ids[2], ids[0]]}))).await;
    let twice = site.ask("POST", "/api/combos/reorder", Some(json!({"comboIds": [ids[2], ids[2]]}))).await;
    let ghost = site.ask("POST", "/api/combos/reorder", Some(json!({"comboIds": ["ghost"]}))).await;
    let empty = site.ask("POST", "/api/combos/reorder", Some(json!({"comboIds": []}))).await;

    assert_eq!(names(&answer), ["c", "a", "b"]);
    assert_eq!(names(&site.ok("GET", "/api/combos", None).await), ["c", "a", "b"]);
    assert_eq!((twice.status, ghost.status, empty.status), (400, 404, 400));
}

#[actix_web::test]
async fn settings_of_all_combos_are_shown_changed_and_taken_back() {
    let site = signed_in().await;
    let path = "/api/settings/combo-defaults";
    let change = json!({
        "comboDefaults": {"maxRetries": 2, "strategy": "random"},
        "providerOverrides": {"openai": {"queueTimeoutMs": 5_000}},
    });

    let before = site.ok("GET", path, None).await;
    let after = site.ok("PATCH", path, Some(change)).await;
    let made = site.ok("POST", "/api/combos", Some(json!({"name": "c", "models": ["openai/x"]}))).await;
    let back = json!({"comboDefaults": {"maxRetries": null}, "providerOverrides": {"openai": null}});
    let back = site.ok("PATCH", path, Some(back)).await;

    assert_eq!(
        (&before["comboDefaults"]["strategy"], &before["comboDefaults"]["handoffThreshold"]),
        (&json!("priority"), &json!(0.85))
    );
    assert_eq!((&after["comboDefaults"]["maxRetries"], &made["strategy"]), (&json!(2), &json!("random")));
    assert_eq!(after["providerOverrides"]["openai"]["queueTimeoutMs"], json!(5_000));
    assert_eq!((&back["comboDefaults"]["maxRetries"], &back["providerOverrides"]), (&json!(0), &json!({})));
    let wrong = json!({"comboDefaults": {"maxRetries": 99}, "providerOverrides": {"nobody": {}}});
    assert_eq!(
        site.ask("PATCH", path, Some(wrong)).await.fields(),
        ["comboDefaults.maxRetries", "providerOverrides.nobody"]
    );
    let log = site.ok("GET", "/api/compliance/audit-log?action=combo_defaults.updated", None).await;
    assert_eq!(log.as_array().unwrap().len(), 2);
}

#[actix_web::test]
async fn a_form_for_combos_is_offered_what_there_is() {
    let site = signed_in().await;

    let options = site.ok("GET", "/api/combos/builder/options", None).await;

    let providers = options["providers"].as_array().unwrap();
    assert_eq!((&providers[0]["id"], &providers[0]["connections"][0]["id"]), (&json!("openai"), &json!("env-openai")));
    assert!(providers[0]["models"].as_array().unwrap().contains(&json!("gpt-5.5")));
    assert_eq!(options["config"]["maxRetries"], json!({"type": "integer", "min": 0, "max": 10}));
    assert!(
        options["strategies"].as_array().unwrap().contains(&json!({"value": "round-robin", "label": "Round robin"}))
    );
}
