//! The process as a whole, and the tools that are pointed at it.

use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::infra::orders::Order;
use crate::routes::testing::{bare, signed_in, site};

#[actix_web::test]
async fn a_restart_is_answered_first_and_a_second_one_waits() {
    let site = signed_in().await;

    let first = site.ask("POST", "/api/restart", None).await;
    let second = site.ask("POST", "/api/shutdown", None).await;

    assert_eq!((first.status, first.json()["status"].clone()), (202, json!("restarting")));
    assert_eq!(second.status, 409);
    let order = site.bed.orders.borrow_mut().next().now_or_never();
    assert_eq!(order, Some(Order::Restart));
}

#[actix_web::test]
async fn tools_are_told_as_absent_with_the_settings_that_point_them_here() {
    let site = signed_in().await;

    for tool in ["claude", "codex", "droid", "openclaw"] {
        let told = site.ok("GET", &format!("/api/cli-tools/{tool}-settings"), None).await;
        assert_eq!(
            (&told["installed"], &told["reason"], &told["settings"]),
            (&json!(false), &json!("remote_server"), &Value::Null)
        );
        assert!(told["snippet"]["content"].as_str().unwrap().contains("http://gw.example"), "{told}");
        let runtime = site.ok("GET", &format!("/api/cli-tools/runtime/{tool}"), None).await;
        assert_eq!((&runtime["toolId"], &runtime["runnable"]), (&json!(tool), &json!(false)));
    }
    assert_eq!(site.ask("GET", "/api/cli-tools/runtime/vim", None).await.status, 404);
    assert_eq!(site.ok("GET", "/api/cli-tools/status", None).await["tools"]["codex"]["installed"], json!(false));
}

#[actix_web::test]
async fn the_configured_address_stands_in_the_settings_of_tools() {
    let bed = bare(|config| config.server.public_url = "https://team.example/".into()).await;
    bed.management.admin.setup_token(Some(&crate::routes::testing::PASSWORD.into())).await.unwrap();
    let site = site(bed).await;
    site.sign_in().await;

    let told = site.ok("GET", "/api/cli-tools/codex-settings", None).await;

    assert!(told["snippet"]["content"].as_str().unwrap().contains("\"https://team.example/v1\""), "{told}");
}

#[actix_web::test]
async fn a_client_key_sees_its_connections_and_no_credential_and_an_administrator_its_ends() {
    let site = signed_in().await;
    let secret = "sk-canary-0123456789wxyz";
    let body = json!({"provider": "openai", "name": "main", "apiKey": secret});
    let id = site.ok("POST", "/api/providers", Some(body)).await["connection"]["id"].as_str().unwrap().to_owned();
    site.ok("PUT", "/api/cloud/models/alias", Some(json!({"model": "openai/gpt-5.5", "alias": "fast"}))).await;
    let limited = json!({"name": "ci", "allowedConnections": [id]});
    let key = site.ok("POST", "/api/keys", Some(limited)).await["key"].as_str().unwrap().to_owned();

    let managed = site.ok("POST", "/api/cloud/auth", None).await;
    site.carry(&[("x-api-key", &key)]);
    let seen = site.send("POST", "/api/cloud/auth", None, &[]).await;
    let resolved = site.send("POST", "/api/cloud/model/resolve", Some(json!({"alias": "fast"})), &[]).await;
    let unknown = site.send("POST", "/api/cloud/model/resolve", Some(json!({"alias": "nothing"})), &[]).await;
    let update = json!({"provider": "openai", "credentials": {"accessToken": "sk-2"}});
    let refused = site.send("PUT", "/api/cloud/credentials/update", Some(update), &[]).await;

    let of = |answer: &Value| {
        answer["connections"].as_array().unwrap().iter().find(|one| one["id"] == json!(id)).cloned().unwrap()
    };
    assert_eq!(of(&managed)["maskedApiKey"], json!("****wxyz"));
    assert_eq!(
        (seen.json()["connections"].as_array().unwrap().len(), of(&seen.json())["maskedApiKey"].clone()),
        (1, Value::Null)
    );
    assert_eq!(seen.json()["modelAliases"]["fast"], json!("openai/gpt-5.5"));
    assert_eq!(
        (resolved.json()["provider"].clone(), resolved.json()["model"].clone()),
        (json!("openai"), json!("gpt-5.5"))
    );
    assert_eq!((unknown.status, refused.status), (404, 403));
}

#[actix_web::test]
async fn a_new_credential_goes_to_the_first_active_connection_and_is_checked() {
    let site = signed_in().await;
    let body = json!({"provider": "groq", "name": "main", "apiKey": "sk-old"});
    let id = site.ok("POST", "/api/providers", Some(body)).await["connection"]["id"].as_str().unwrap().to_owned();
    let send = async |body: Value| site.ask("POST", "/api/cloud/credentials/update", Some(body)).await.status;

    let done = send(json!({"provider": "groq", "credentials": {"accessToken": "sk-new"}})).await;
    let empty = send(json!({"provider": "groq", "credentials": {}})).await;
    let strange =
        send(json!({"provider": "groq", "credentials": {"accessToken": "x", "baseUrl": "http://evil"}})).await;
    let nobody = send(json!({"provider": "mistral", "credentials": {"accessToken": "x"}})).await;

    let stored = site.bed.app.store.connections().get(&id).await.unwrap();
    let stored = secrecy::ExposeSecret::expose_secret(stored.credential.as_ref().unwrap()).to_owned();
    assert_eq!((done, empty, strange, nobody, stored.as_str()), (200, 400, 400, 404, "sk-new"));
}
