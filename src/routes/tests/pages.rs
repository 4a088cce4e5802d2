//! Lists that may be long.

use serde_json::{Value, json};

use crate::routes::testing::signed_in;

fn names(answer: &Value) -> Vec<String> {
    let list = answer["connections"].as_array().or(answer["keys"].as_array()).cloned().unwrap_or_default();
    list.iter().map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[actix_web::test]
async fn connections_are_shown_by_the_page_and_the_cursor_holds_although_its_connection_is_gone() {
    let site = signed_in().await;
    for name in ["a", "B", "c", "d"] {
        let body = json!({"provider": "groq", "name": name, "apiKey": format!("sk-{name}"), "priority": 1});
        site.ok("POST", "/api/providers", Some(body)).await;
    }

    let first = site.ok("GET", "/api/providers?provider=groq&limit=2", None).await;
    let last = first["connections"][1]["id"].as_str().unwrap();
    site.ok("DELETE", &format!("/api/providers/{last}"), None).await;
    let next = first["nextCursor"].as_str().unwrap();
    let second = site.ok("GET", &format!("/api/providers?provider=groq&limit=2&cursor={next}"), None).await;
    let found = site.ok("GET", "/api/providers?search=b", None).await;
    let all = site.ok("GET", "/api/providers", None).await;
    let state = site.ok("GET", "/api/resilience?provider=groq&limit=1", None).await["state"].clone();
    let load = site.ok("GET", "/api/rate-limits?search=D&provider=groq", None).await;

    assert_eq!((names(&first), &first["total"]), (vec!["B".to_owned(), "a".to_owned()], &json!(4)));
    assert_eq!(
        (names(&second), &second["nextCursor"], &second["total"]),
        (vec!["c".into(), "d".into()], &Value::Null, &json!(3))
    );
    assert_eq!(names(&found), ["B"]);
    assert!(all["total"].as_u64() > Some(3), "the environment's are shown, too: {all}");
    assert_eq!((names(&state), state["nextCursor"].is_string(), &state["total"]), (vec!["B".into()], true, &json!(3)));
    assert!(state["summary"]["total"].as_u64() > Some(3), "the summary is about all: {state}");
    assert_eq!(names(&load), ["d"]);
    for wrong in ["nonsense", "WyJhIl0"] {
        assert_eq!(site.ask("GET", &format!("/api/providers?cursor={wrong}"), None).await.fields(), ["cursor"]);
    }
}

#[actix_web::test]
async fn keys_are_shown_by_the_page() {
    let site = signed_in().await;
    for name in ["one", "two", "three"] {
        site.bed.clock.advance(std::time::Duration::from_millis(1));
        site.ok("POST", "/api/keys", Some(json!({"name": name}))).await;
    }

    let first = site.ok("GET", "/api/keys?limit=2", None).await;
    let path = format!("/api/keys?limit=2&cursor={}", first["nextCursor"].as_str().unwrap());
    let second = site.ok("GET", &path, None).await;
    let found = site.ok("GET", "/api/keys?search=T", None).await;

    assert_eq!((names(&first), &first["total"]), (vec!["one".to_owned(), "two".to_owned()], &json!(3)));
    assert_eq!((names(&second), &second["nextCursor"]), (vec!["three".to_owned()], &Value::Null));
    assert_eq!((names(&found), &found["total"]), (vec!["two".to_owned(), "three".to_owned()], &json!(2)));
    assert_eq!(site.ask("GET", "/api/keys?cursor=nonsense", None).await.fields(), ["cursor"]);
}

#[actix_web::test]
async fn a_change_made_here_brings_along_what_another_instance_changed_meanwhile() {
    let site = signed_in().await;
    let make = async |name: &str| {
        let body = json!({"provider": "groq", "name": name, "apiKey": "sk-1"});
        site.ok("POST", "/api/providers", Some(body)).await["connection"]["id"].as_str().unwrap().to_owned()
    };
    let (own, other) = (make("own").await, make("other").await);
    let connections = site.bed.app.store.connections();
    let mut row = connections.get(&other).await.unwrap();
    row.is_active = false;
    connections.update(&row).await.unwrap();
    assert!(site.bed.app.directory.is_behind().await.unwrap());

    site.ok("PATCH", &format!("/api/providers/{own}"), Some(json!({"name": "renamed"}))).await;

    let shown = site.ok("GET", "/api/providers?provider=groq", None).await;
    let active: Vec<_> = shown["connections"].as_array().unwrap().iter().map(|one| one["isActive"].clone()).collect();
    assert_eq!((names(&shown), active), (vec!["other".into(), "renamed".into()], vec![json!(false), json!(true)]));
    let state = site.ok("GET", &format!("/api/resilience?connectionId={other}"), None).await;
    assert_eq!(state["state"]["connections"][0]["state"], json!("disabled"), "{state}");
    assert!(!site.bed.app.directory.is_behind().await.unwrap());
}

#[actix_web::test]
async fn a_connection_that_is_changed_alone_meets_settings_that_hold_for_all() {
    let site = signed_in().await;
    let body = json!({"provider": "groq", "name": "own", "apiKey": "sk-1"});
    let made = site.ok("POST", "/api/providers", Some(body)).await["connection"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/providers/{made}");

    site.ok("PATCH", "/api/settings", Some(json!({"blockedProviders": ["groq"]}))).await;
    let blocked = site.ok("PATCH", &path, Some(json!({"name": "blocked"}))).await;
    site.ok("PATCH", "/api/settings", Some(json!({"blockedProviders": []}))).await;
    let free = site.ok("GET", &path, None).await;

    assert_eq!(blocked["connection"]["problem"], json!("its provider is blocked in the settings"));
    assert_eq!((&free["connection"]["problem"], &free["connection"]["state"]), (&Value::Null, &json!("ready")));
    site.ok("DELETE", &path, None).await;
    let gone = site.ok("GET", "/api/resilience?provider=groq", None).await;
    assert_eq!(gone["state"]["connections"], json!([]));
}
