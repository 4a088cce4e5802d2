//! Client keys and combos.

use std::time::Duration;

use serde_json::json;

use crate::routes::testing::signed_in;

#[actix_web::test]
async fn a_key_is_shown_once_and_masked_afterwards() {
    let site = signed_in().await;

    let made = site
        .ok("POST", "/api/keys", Some(json!({"name": "ci", "allowedModels": ["openai/*"], "maxRequestsPerMinute": 60})))
        .await;
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    let shown = site.ok("GET", &format!("/api/keys/{id}"), None).await;
    let listed = site.ok("GET", "/api/keys", None).await;

    let masked = format!("{}****{}", &key[..8], &key[key.len() - 4..]);
    assert_eq!((&shown["key"], &shown["allowedModels"]), (&json!(masked), &json!(["openai/*"])));
    assert_eq!((&listed["total"], &listed["keys"][0]["key"]), (&json!(1), &json!(masked)));
}

#[actix_web::test]
async fn a_change_of_a_key_holds_at_once_by_put_and_by_patch() {
    let site = signed_in().await;
    let made = site.ok("POST", "/api/keys", Some(json!({"name": "ci"}))).await;
    let (key, id) = (made["key"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned());
    let probe = async || site.send("POST", "/v1/probe", None, &[("x-api-key", key.as_str())]).await.status;
    let path = format!("/api/keys/{id}");
    assert_eq!(probe().await, 200);

    site.ok("PATCH", &path, Some(json!({"isActive": false}))).await;
    assert_eq!(probe().await, 401);
    site.ok("PUT", &path, Some(json!({"isActive": true}))).await;
    assert_eq!(probe().await, 200);
    let end = site.bed.app.clock.wall().0 + 1_000;
    site.ok("PATCH", &path, Some(json!({"expiresAt": end}))).await;
    site.bed.clock.advance(Duration::from_secs(1));
    assert_eq!(probe().await, 401);
    site.ok("DELETE", &path, None).await;
    assert_eq!(site.ask("GET", &path, None).await.status, 404);
}

#[actix_web::test]
async fn wrong_fields_of_a_key_are_named_all_at_once() {
    let site = signed_in().await;
    let body = json!({
        "scopes": ["root"], "allowedModels": ["a*"], "allowedConnections": ["ghost"], "expiresAt": "soon",
        "maxRequestsPerMinute": -1, "accessSchedule": {"enabled": true}, "streamDefaultMode": "x",
    });

    let answer = site.ask("POST", "/api/keys", Some(body)).await;

    let mut fields = answer.fields();
    fields.sort();
    let expected = [
        "accessSchedule",
        "allowedConnections",
        "allowedModels",
        "expiresAt",
        "maxRequestsPerMinute",
        "name",
        "scopes",
        "streamDefaultMode",
    ];
    assert_eq!((answer.status, fields), (400, expected.map(str::to_owned).to_vec()));
    assert_eq!(site.ask("POST", "/api/keys", Some(json!([]))).await.fields(), ["body"]);
    assert_eq!(site.ask("POST", "/api/keys", None).await.fields(), ["body"]);
}

#[actix_web::test]
async fn a_key_grants_only_what_it_holds() {
    let site = signed_in().await;
    let body = json!({"name": "ops", "scopes": ["manage", "inference"], "allowedModels": ["openai/*"]});
    let key = site.ok("POST", "/api/keys", Some(body)).await["key"].as_str().unwrap().to_owned();
    site.carry(&[("x-api-key", &key)]);
    let grant = async |body| site.send("POST", "/api/keys", Some(body), &[]).await.status;

    assert_eq!(grant(json!({"name": "same", "allowedModels": ["openai/gpt"]})).await, 201);
    assert_eq!(grant(json!({"name": "all models"})).await, 403);
    assert_eq!(grant(json!({"name": "others", "allowedModels": ["groq/x"]})).await, 403);
}

#[actix_web::test]
async fn a_combo_is_checked_stored_and_shown_with_its_steps() {
    let site = signed_in().await;

    let body = json!({"name": "team", "strategy": "round-robin", "models": ["openai/gpt-5.5", {"model": "groq/x", "weight": 3}]});
    let made = site.ok("POST", "/api/combos", Some(body)).await;
    let nested = site.ok("POST", "/api/combos", Some(json!({"name": "outer", "models": ["team"]}))).await;

    assert_eq!((&made["models"][0]["kind"], &made["models"][1]["weight"]), (&json!("model"), &json!(3)));
    assert_eq!(nested["models"][0]["comboName"], json!("team"));
    assert_eq!(site.ok("GET", "/api/combos", None).await["combos"].as_array().unwrap().len(), 2);
    let id = made["id"].as_str().unwrap();
    let changed = site.ok("PATCH", &format!("/api/combos/{id}"), Some(json!({"isActive": false}))).await;
    assert_eq!((&changed["isActive"], &changed["strategy"]), (&json!(false), &json!("round-robin")));
}

#[actix_web::test]
async fn a_combo_that_cannot_be_is_refused_with_the_field() {
    let site = signed_in().await;
    let first = site.ok("POST", "/api/combos", Some(json!({"name": "a", "models": ["openai/x"]}))).await;
    site.ok("POST", "/api/combos", Some(json!({"name": "b", "models": ["a"]}))).await;
    let path = format!("/api/combos/{}", first["id"].as_str().unwrap());
    let create = async |body| site.ask("POST", "/api/combos", Some(body)).await;

    let empty = create(json!({"name": "c", "models": []})).await;
    let unknown = create(json!({"name": "c", "models": ["openai/x", "ghost/x"]})).await;
    let strategy = create(json!({"name": "c", "models": ["openai/x"], "strategy": "luck"})).await;
    let taken = create(json!({"name": "a", "models": ["openai/x"]})).await;
    let circle = site.ask("PUT", &path, Some(json!({"models": ["b"]}))).await;
    let in_use = site.ask("DELETE", &path, None).await;

    assert_eq!((empty.status, empty.fields()), (400, vec!["models".to_owned()]));
    assert_eq!(unknown.fields(), ["models.1"]);
    assert_eq!(strategy.fields(), ["strategy"]);
    assert_eq!((taken.status, taken.json()["error"]["message"].clone()), (400, json!("Combo name already exists")));
    assert!(circle.status == 400 && circle.text.contains("circle"), "{}", circle.text);
    assert!(in_use.status == 409 && in_use.text.contains('b'), "{}", in_use.text);
}
