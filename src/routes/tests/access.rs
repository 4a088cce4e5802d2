//! Who may use what, and how it is said.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::routes::testing::{all_routes, bare, bed, signed_in, site};
use crate::routes::{Scope, openapi, table};

/// Every built-in route with its path variables filled in, and whether it may be called without doing harm.
fn calls() -> Vec<(String, String, Scope)> {
    let filled = |path: &str| {
        let fill = |segment: &str| if segment.starts_with('{') { "none".to_owned() } else { segment.to_owned() };
        path.split('/').map(fill).collect::<Vec<_>>().join("/")
    };
    table().iter().map(|row| (row.method.clone(), filled(row.path), row.scope)).collect()
}

#[actix_web::test]
async fn without_a_credential_only_public_routes_answer() {
    let site = site(bed().await).await;

    for (method, path, scope) in calls() {
        let answer = site.send(&method, &path, None, &[("content-type", "application/json")]).await;
        let refused = matches!(answer.status, 401);
        let is_login = ["/api/auth/login", "/api/init", "/api/sync/bundle"].contains(&path.as_str());
        assert!(refused == (scope != Scope::Public) || is_login, "{method} {path}: {} {}", answer.status, answer.text);
    }
}

#[actix_web::test]
async fn an_inference_key_calls_models_and_manages_nothing() {
    let site = signed_in().await;
    let key = site.ok("POST", "/api/keys", Some(json!({"name": "ci"}))).await["key"].as_str().unwrap().to_owned();
    site.carry(&[("authorization", &format!("Bearer {key}"))]);

    for (method, path, scope) in calls() {
        if scope == Scope::Management {
            let answer = site.send(&method, &path, None, &[]).await;
            assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text);
        }
    }
    assert_eq!(site.send("POST", "/v1/probe", None, &[]).await.text, "probed");
}

#[actix_web::test]
async fn the_administrator_passes_every_door() {
    let site = signed_in().await;

    for (method, path, _) in calls() {
        if path == "/api/auth/logout" || path == "/api/auth/login" || path == "/api/init" {
            continue;
        }
        let answer = site.ask(&method, &path, None).await;
        // Routers and metrics are made once per worker or process, by the boot: their routes only open the door here.
        let whole = path.starts_with("/api/");
        let failed = matches!(answer.status, 401 | 403 | 405) || (whole && answer.status == 500);
        assert!(!failed, "{method} {path}: {} {}", answer.status, answer.text);
    }
    assert_eq!(site.ask("POST", "/v1/probe", None).await.text, "probed");
}

#[actix_web::test]
async fn a_stranger_at_the_front_door_learns_the_name_and_only_the_administrator_the_version() {
    let site = site(bed().await).await;

    let stranger = site.send("GET", "/", None, &[]).await;
    site.sign_in().await;
    let administrator = site.ask("GET", "/", None).await;

    assert_eq!((stranger.status, stranger.header("x-omniroute-route-class")), (200, Some("PUBLIC")));
    assert_eq!(
        (stranger.json()["name"].clone(), stranger.json()["version"].clone()),
        (json!("OmniRoute"), Value::Null)
    );
    assert!(!stranger.text.contains(env!("CARGO_PKG_VERSION")), "{}", stranger.text);
    assert_eq!(administrator.json()["version"], json!(env!("CARGO_PKG_VERSION")));
    assert!(openapi::document()["paths"]["/"].is_object());
    for link in stranger.json()["links"].as_object().unwrap().values() {
        assert!(table().iter().any(|row| Some(row.path) == link.as_str()), "{link}");
    }
}

#[actix_web::test]
async fn a_manage_key_manages_and_calls_no_models() {
    let site = signed_in().await;
    let body = json!({"name": "ops", "scopes": ["manage"]});
    let key = site.ok("POST", "/api/keys", Some(body)).await["key"].as_str().unwrap().to_owned();
    site.carry(&[("x-api-key", &key)]);

    assert_eq!(site.send("GET", "/api/providers", None, &[]).await.status, 200);
    let refused = site.send("POST", "/v1/probe", None, &[]).await;
    assert_eq!((refused.status, refused.json()["error"]["type"].clone()), (403, json!("permission_error")));
}

#[actix_web::test]
async fn the_data_plane_answers_under_all_its_names_in_openais_shape() {
    let site = site(bed().await).await;

    for path in ["/v1/probe", "/api/v1/probe", "/v1/v1/probe", "/models"] {
        let answer = site.send("POST", path, None, &[]).await;
        assert_eq!(answer.status, 401, "{path}");
        let expected = json!({"error": {
            "message": "Authentication required", "type": "authentication_error", "param": null, "code": "invalid_api_key",
        }});
        assert_eq!(answer.json(), expected, "{path}");
    }
}

#[actix_web::test]
async fn what_is_not_there_is_hidden_from_strangers() {
    let site = signed_in().await;
    let paths = ["/api/nothing", "/v1/nothing", "/api/v1/nothing", "/api/providers/a/b/c"];
    for path in paths {
        assert_eq!(site.ask("GET", path, None).await.status, 404, "{path}");
    }

    site.carry(&[]);

    for path in paths {
        assert_eq!(site.send("GET", path, None, &[]).await.status, 401, "{path}");
    }
    assert_eq!(site.send("GET", "/nothing", None, &[]).await.status, 404);
}

#[actix_web::test]
async fn a_method_that_is_not_offered_names_those_that_are() {
    let site = signed_in().await;

    let answer = site.ask("DELETE", "/api/keys", None).await;

    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, POST")));
    assert_eq!(site.ask("HEAD", "/api/keys", None).await.status, 200);
}

#[actix_web::test]
async fn every_refusal_of_the_api_carries_its_id_and_is_not_stored() {
    let site = site(bed().await).await;

    let answer = site.send("GET", "/api/keys", None, &[("x-request-id", "mine-1")]).await;

    let body = answer.json();
    assert_eq!(body["error"]["code"], json!("AUTH_001"));
    assert_eq!((&body["error"]["correlation_id"], &body["requestId"]), (&json!("mine-1"), &json!("mine-1")));
    assert_eq!((answer.header("x-request-id"), answer.header("request-id")), (Some("mine-1"), Some("mine-1")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(answer.header("x-omniroute-route-class"), Some("MANAGEMENT"));
}

#[actix_web::test]
async fn a_request_id_that_could_break_a_log_is_replaced() {
    let site = site(bed().await).await;

    for id in ["a b", "a\"b", "", &"x".repeat(129)] {
        let answer = site.send("GET", "/livez", None, &[("x-request-id", id)]).await;
        assert_eq!(answer.header("x-request-id").unwrap().len(), 36, "{id}");
    }
}

#[actix_web::test]
async fn a_page_of_another_site_cannot_use_a_gateway_that_asks_for_no_key() {
    let site = site(bare(|config| config.auth.require_api_key = false).await).await;
    let forged: [&[(&str, &str)]; 5] = [
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", "http://gw.example")],
        &[("origin", "https://evil.example"), ("authorization", "")],
    ];
    let honest: [&[(&str, &str)]; 4] = [
        &[],
        &[("content-type", "text/plain")],
        &[("sec-fetch-site", "same-origin"), ("origin", "http://gw.example")],
        &[("sec-fetch-site", "none")],
    ];

    for headers in forged {
        let answer = site.send("POST", "/v1/probe", None, headers).await;
        assert!(matches!(answer.status, 401 | 403) && !answer.text.contains("probed"), "{headers:?}: {}", answer.text);
    }
    for headers in honest {
        assert_eq!(site.send("POST", "/v1/probe", None, headers).await.text, "probed", "{headers:?}");
    }
    let refused = site.send("POST", "/v1/probe", None, forged[0]).await;
    assert_eq!((refused.status, refused.json()["error"]["type"].clone()), (403, json!("permission_error")));
}

#[actix_web::test]
async fn who_brings_a_key_may_come_from_any_page() {
    let site = signed_in().await;
    let key = site.ok("POST", "/api/keys", Some(json!({"name": "page"}))).await["key"].as_str().unwrap().to_owned();
    site.carry(&[("authorization", &format!("Bearer {key}"))]);

    let answer = site.send("POST", "/v1/probe", None, &[("origin", "https://app.example")]).await;

    assert_eq!(answer.text, "probed", "a page cannot make a browser send a key that it does not know");
}

#[actix_web::test]
async fn a_forged_page_cannot_use_the_session() {
    let site = signed_in().await;
    let body = || Some(json!({"name": "x"}));

    let forged = site.send("POST", "/api/keys", body(), &[("origin", "https://evil.example")]).await;
    let own = site.send("POST", "/api/keys", body(), &[("origin", "http://gw.example")]).await;
    let script = site.send("POST", "/api/keys", body(), &[]).await;
    let form = site.send("POST", "/api/resilience/reset", None, &[("content-type", "text/plain")]).await;

    assert_eq!([forged.status, own.status, script.status, form.status], [403, 201, 201, 403]);
}

#[actix_web::test]
async fn pages_of_other_origins_are_let_in_only_when_they_are_listed() {
    let bed = bare(|config| config.server.cors_allowed_origins = vec!["https://app.example".into()]).await;
    let site = site(bed).await;
    let preflight = async |origin| site.send("OPTIONS", "/v1/chat/completions", None, &[("origin", origin)]).await;

    let (listed, other) = (preflight("https://app.example").await, preflight("https://evil.example").await);

    assert_eq!((listed.status, listed.header("access-control-allow-origin")), (204, Some("https://app.example")));
    assert_eq!((other.status, other.header("access-control-allow-origin")), (204, None));
    assert_eq!(listed.header("access-control-allow-credentials"), None);
}

#[actix_web::test]
async fn a_trailing_slash_is_forgiven_and_leads_to_no_other_host() {
    let site = site(bed().await).await;

    let answer = site.send("GET", "/api/keys/?limit=1", None, &[]).await;
    let host = site.send("GET", "//evil.example/", None, &[]).await;

    assert_eq!((answer.status, answer.header("location")), (308, Some("/api/keys?limit=1")));
    assert_eq!((host.status, host.header("location")), (404, None));
}

#[actix_web::test]
async fn the_document_describes_exactly_the_routes_that_exist() {
    let document = openapi::document();

    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let mounted: BTreeSet<_> = crate::routes::routes()
        .iter()
        .map(|spec| (spec.method().to_string(), spec.path().replace(":.*}", "}").replace(":.+}", "}")))
        .collect();
    assert_eq!(described, mounted);
    let ids: Vec<&Value> =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values()).collect();
    let unique: BTreeSet<_> = ids.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(unique.len(), ids.len());
}

#[actix_web::test]
async fn no_two_routes_claim_the_same_address() {
    let mut seen = BTreeSet::new();

    for spec in all_routes() {
        for path in spec.paths() {
            assert!(seen.insert((spec.method().to_string(), path.clone())), "{} {path} twice", spec.method());
        }
    }
}

#[actix_web::test]
async fn no_get_shows_a_credential() {
    let site = signed_in().await;
    let canary = "sk-canary-0123456789";
    let body = json!({"provider": "openai", "name": "main", "apiKey": canary, "providerSpecificData": {"tag": "x"}});
    let id = site.ok("POST", "/api/providers", Some(body)).await["connection"]["id"].as_str().unwrap().to_owned();
    let key = site.ok("POST", "/api/keys", Some(json!({"name": "k"}))).await;
    let (key, key_id) = (key["key"].as_str().unwrap().to_owned(), key["id"].as_str().unwrap().to_owned());

    let fixed = calls()
        .into_iter()
        .filter(|(method, path, _)| method == "GET" && !path.contains("/none"))
        .map(|(_, path, _)| path);
    let own = [format!("/api/providers/{id}"), format!("/api/keys/{key_id}"), "/api/providers/env-openai".into()];
    for path in fixed.chain(own) {
        let answer = site.ask("GET", &path, None).await;
        for secret in [canary, "sk-canary-environment", &key, crate::routes::testing::PASSWORD] {
            assert!(!answer.text.contains(secret), "{path} shows a secret");
        }
    }
}

#[actix_web::test]
async fn a_body_over_the_limit_is_refused() {
    let bed = bare(|config| config.server.max_body_bytes = 1_024).await;
    bed.management.admin.setup_token(Some(&crate::routes::testing::PASSWORD.into())).await.unwrap();
    let site = site(bed).await;
    site.sign_in().await;

    let answer = site.ask("POST", "/api/keys", Some(json!({"name": "x".repeat(2_000)}))).await;

    assert_eq!((answer.status, answer.json()["error"]["code"].clone()), (413, json!("PAYLOAD_TOO_LARGE")));
}
