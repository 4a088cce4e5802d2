//! `/api/keys*`.

use omniroute_testkit::http::Request;
use serde_json::json;

use crate::common::{Site, calm};

#[tokio::test]
async fn a_key_is_shown_once_and_masked_ever_after() {
    let site = Site::open(calm()).await;

    let made = site.admin.create_key("laptop").await;

    let listed = site.admin.get("/api/keys").await;
    let one = site.admin.get(&format!("/api/keys/{}", made.id)).await;
    assert_eq!(site.gateway.ask(&Request::chat("a/m", "x", false).key(&made.key)).await.status(), 200);
    assert!(!listed.to_string().contains(&made.key) && !one.to_string().contains(&made.key));
    let masked = one["key"].as_str().unwrap();
    assert!(masked.contains("****") && made.key.starts_with(masked.split('*').next().unwrap()), "{masked}");
    assert!(made.key.ends_with(masked.rsplit('*').next().unwrap()), "{masked}");
}

#[tokio::test]
async fn the_key_itself_is_nowhere_in_the_data_directory_or_the_log() {
    let mut site = Site::open(calm()).await;
    let made = site.admin.create_key("laptop").await;
    site.admin.create_connection(&site.at_a.node, "secret", "sk-of-an-upstream-account").await;
    site.gateway.ask(&Request::chat("a/m", "x", false).key(&made.key)).await;
    site.gateway.restart().await;

    let mut files = vec![site.gateway.data_dir.clone()];
    while let Some(path) = files.pop() {
        match std::fs::read_dir(&path) {
            Ok(entries) => files.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) => {
                let bytes = std::fs::read(&path).unwrap();
                for secret in [made.key.as_bytes(), b"sk-of-an-upstream-account"] {
                    let found = bytes.windows(secret.len()).any(|window| window == secret);
                    assert!(!found, "{}", path.display());
                }
            }
        }
    }
    assert!(!site.gateway.log().contains(&made.key));
}

#[tokio::test]
async fn a_changed_key_is_in_force_when_the_answer_is_there() {
    let site = Site::open(calm()).await;
    let made = site.admin.create_key("laptop").await;
    let path = format!("/api/keys/{}", made.id);
    let ask = async |model: &str| site.gateway.ask(&Request::chat(model, "x", false).key(&made.key)).await.status();

    let free = ask("a/m").await;
    site.admin.patch(&path, &json!({"allowedModels": ["b/m"]})).await;
    let narrowed = (ask("a/m").await, ask("b/m").await);
    site.admin.put(&path, &json!({"isActive": false})).await;
    let disabled = ask("b/m").await;
    site.admin.put(&path, &json!({"isActive": true, "allowedModels": []})).await;

    assert_eq!((free, narrowed, disabled, ask("a/m").await), (200, (403, 200), 401, 200));
}

#[tokio::test]
async fn a_wrong_wish_is_refused_with_the_field() {
    let site = Site::open(calm()).await;
    let cases = [
        (json!({}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"name": "x", "scopes": ["everything"]}), "scopes"),
        (json!({"name": "x", "allowedModels": ["a*b"]}), "allowedModels"),
        (json!({"name": "x", "allowedConnections": ["nobody"]}), "allowedConnections"),
        (json!({"name": "x", "expiresAt": "2001-01-01T00:00:00Z"}), "expiresAt"),
        (json!({"name": "x", "maxRequestsPerMinute": -1}), "maxRequestsPerMinute"),
    ];

    for (body, field) in cases {
        let answer = site.admin.send(Request::post("/api/keys", &body)).await;

        assert_eq!(answer.status(), 400, "{body}: {}", answer.text());
        assert_eq!(answer.json()["error"]["details"][0]["field"], field, "{body}");
    }
}

#[tokio::test]
async fn a_key_that_does_not_exist_is_a_404() {
    let site = Site::open(calm()).await;

    for request in [Request::get("/api/keys/none"), Request::new("DELETE", "/api/keys/none")] {
        assert_eq!(site.admin.send(request).await.status(), 404);
    }
}
