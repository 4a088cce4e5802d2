//! Viewers read, operators reset, test and switch, administrators do everything.

use serde_json::{Value, json};

use crate::auth::Role;
use crate::routes::testing::{Site, signed_in};
use crate::routes::{Scope, table};

async fn key_of<S>(site: &Site<S>, scope: &str) -> String
where
    S: actix_web::dev::Service<
            actix_http::Request,
            Response = actix_web::dev::ServiceResponse<
                actix_web::body::EitherBody<actix_web::body::BoxBody, actix_web::body::BoxBody>,
            >,
            Error = actix_web::Error,
        >,
{
    let made = site.ok("POST", "/api/keys", Some(json!({"name": scope, "scopes": [scope]}))).await;
    made["key"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn each_role_passes_exactly_the_doors_that_are_its_own() {
    let site = signed_in().await;
    let mut keys = Vec::new();
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        keys.push((role, key_of(&site, role.as_str()).await));
    }
    site.carry(&[]);

    for row in table().iter().filter(|row| row.scope == Scope::Management) {
        let path = row.path.replace("{id}", "none").replace("{toolId}", "none");
        let least = row.role.unwrap();
        for (role, key) in &keys {
            let answer = site.send(&row.method, &path, None, &[("x-api-key", key)]).await;
            let refused = answer.status == 403 && answer.json()["needsRole"] == json!(least);
            assert_eq!(refused, *role < least, "{role:?} {} {path}: {} {}", row.method, answer.status, answer.text);
        }
    }
}

#[test]
fn what_changes_secrets_keys_or_rights_is_the_administrators() {
    let only_admins = [
        ("POST", "/api/keys"),
        ("DELETE", "/api/keys/{id}"),
        ("POST", "/api/providers"),
        ("DELETE", "/api/providers/{id}"),
        ("PUT", "/api/settings/require-login"),
        ("POST", "/api/db-backups/import"),
        ("GET", "/api/db-backups/export"),
        ("POST", "/api/restart"),
        ("POST", "/api/shutdown"),
        ("PUT", "/api/cloud/credentials/update"),
    ];
    let table = table();

    for (method, path) in only_admins {
        let row = table.iter().find(|row| row.method == method && row.path == path);
        assert_eq!(row.and_then(|row| row.role), Some(Role::Admin), "{method} {path}");
    }
}

#[actix_web::test]
async fn an_operator_switches_a_connection_off_and_changes_nothing_else_of_it() {
    let site = signed_in().await;
    let body = json!({"provider": "openai", "name": "main", "apiKey": "sk-1"});
    let id = site.ok("POST", "/api/providers", Some(body)).await["connection"]["id"].as_str().unwrap().to_owned();
    let key = key_of(&site, "operator").await;
    site.carry(&[("x-api-key", &key)]);
    let path = format!("/api/providers/{id}");

    let off = site.send("PATCH", &path, Some(json!({"isActive": false})), &[]).await;
    let more = site.send("PATCH", &path, Some(json!({"isActive": true, "apiKey": "sk-2"})), &[]).await;

    assert_eq!((off.status, off.json()["connection"]["isActive"].clone()), (200, json!(false)));
    assert_eq!((more.status, more.json()["needsRole"].clone()), (403, json!("admin")));
}

#[actix_web::test]
async fn a_role_cannot_be_handed_on_by_who_does_not_hold_it() {
    let site = signed_in().await;
    let key = key_of(&site, "admin").await;
    site.carry(&[("x-api-key", &key)]);

    let made = site.send("POST", "/api/keys", Some(json!({"name": "v", "scopes": ["viewer"]})), &[]).await;
    let inference = site.send("POST", "/api/keys", Some(json!({"name": "i", "scopes": ["inference"]})), &[]).await;

    assert_eq!((made.status, inference.status), (201, 403));
    let status: Value = site.send("GET", "/api/auth/status", None, &[]).await.json();
    assert_eq!((&status["authenticated"], &status["role"]), (&json!(true), &json!("admin")));
}
