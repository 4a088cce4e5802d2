//! Many connections at a time: `/api/providers/bulk`, `/import` and `/test-batch`.

use omniroute_testkit::http::Request;
use serde_json::{Value, json};

use crate::common::{Site, calm};

async fn count(site: &Site) -> usize {
    site.admin.get("/api/providers").await["connections"].as_array().unwrap().len()
}

fn statuses(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn many_keys_of_one_provider_become_connections_that_serve() {
    let site = Site::open(calm()).await;
    let body = json!({"provider": site.at_a.node, "namePrefix": "key", "keys": ["sk-1", {"apiKey": "sk-2", "name": "two", "priority": 9}]});

    let made = site.admin.post("/api/providers/bulk", &body).await;

    assert_eq!((&made["created"], &made["success"]), (&json!(2), &json!(true)), "{made}");
    let names: Vec<_> = made["results"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
    assert_eq!((names, count(&site).await), (vec![json!("key 1"), json!("two")], 4));
    assert!(!made.to_string().contains("sk-1"), "{made}");
}

#[tokio::test]
async fn each_row_is_answered_for_and_the_right_ones_are_stored() {
    let site = Site::open(calm()).await;
    let rows = json!([
        {"provider": "openai", "name": "good", "apiKey": "sk-good"},
        {"provider": "openai", "name": "twin", "apiKey": "sk-good"},
        {"provider": site.at_a.node, "name": "known", "apiKey": "sk-a"},
        {"provider": "nobody", "name": "x", "apiKey": "k"},
        {"provider": "openai", "name": "keyless"},
        {"provider": "openai", "name": "inside", "apiKey": "k", "providerSpecificData": {"baseUrl": "http://10.0.0.1/v1"}},
    ]);
    let send = |more: Value| {
        let mut body = json!({ "connections": rows });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        site.admin.send(Request::post("/api/providers/import", &body))
    };

    let atomic = send(json!({"atomic": true})).await;
    let tried = send(json!({"dryRun": true})).await;
    let before = count(&site).await;
    let stored = send(json!({})).await;

    let expected = ["created", "duplicate", "duplicate", "invalid", "invalid", "invalid"];
    assert_eq!((atomic.status(), tried.status(), before), (400, 207, 2), "{}", atomic.text());
    assert_eq!((stored.status(), statuses(&stored.json()), count(&site).await), (207, expected.to_vec(), 3));
    assert!(stored.json()["results"][4]["details"].to_string().contains("apiKey"), "{}", stored.text());
    assert!(stored.json()["results"][5]["details"].to_string().contains("baseUrl"), "{}", stored.text());
}

#[tokio::test]
async fn a_table_is_as_good_as_a_list() {
    let site = Site::open(calm()).await;
    let csv = "provider,name,apiKey,priority,isActive,providerSpecificData.tag\n\
               openai,\"one, quoted\",sk-1,5,false,blue\nopenai,two,sk-2,,,\n";

    let made = site.admin.post("/api/providers/import", &json!({ "csv": csv })).await;
    let shown = site.admin.get(&format!("/api/providers/{}", made["results"][0]["id"].as_str().unwrap())).await;
    let ragged = json!({"csv": "provider,name\nopenai,x,y\n"});
    let ragged = site.admin.send(Request::post("/api/providers/import", &ragged)).await;

    let shown = &shown["connection"];
    assert_eq!(
        (&shown["name"], &shown["priority"], &shown["isActive"]),
        (&json!("one, quoted"), &json!(5), &json!(false))
    );
    assert_eq!(shown["providerSpecificData"]["tag"], json!("blue"), "{shown}");
    assert_eq!((statuses(&made), ragged.status()), (vec!["created"; 2], 400), "{}", ragged.text());
}

#[tokio::test]
async fn many_connections_are_tried_and_each_result_is_said_and_noted() {
    let site = Site::open(calm()).await;
    site.b.control.always("status code=401");
    let path = format!("/api/providers/{}", site.at_b.connections[0]);
    site.admin.put(&path, &json!({"defaultModel": "m"})).await;

    let all = site.admin.post("/api/providers/test-batch", &json!({"mode": "all"})).await;
    let of_a = json!({"mode": "provider", "providerId": site.at_a.node});
    let of_a = site.admin.post("/api/providers/test-batch", &of_a).await;
    let none = site.admin.post("/api/providers/test-batch", &json!({"mode": "web-cookie"})).await;
    let noted = site.admin.get(&path).await;
    let nameless = site.admin.send(Request::post("/api/providers/test-batch", &json!({"mode": "provider"}))).await;
    let unknown = site.admin.send(Request::post("/api/providers/test-batch", &json!({"mode": "some"}))).await;

    assert_eq!(all["summary"], json!({"total": 2, "passed": 1, "failed": 1}), "{all}");
    let bad = all["results"].as_array().unwrap().iter().find(|row| row["valid"] == false).unwrap();
    assert_eq!((&bad["diagnosis"]["type"], &bad["statusCode"]), (&json!("upstream_auth_error"), &json!(401)), "{bad}");
    for field in ["provider", "connectionId", "connectionName", "authType", "latencyMs", "error", "testedAt"] {
        assert!(bad.get(field).is_some_and(|value| !value.is_null()), "{field} in {bad}");
    }
    assert_eq!((&of_a["summary"]["total"], &none["summary"]["total"]), (&json!(1), &json!(0)));
    assert_eq!(noted["connection"]["testStatus"], json!("error"), "{noted}");
    assert_eq!((nameless.status(), unknown.status()), (400, 400));
}
