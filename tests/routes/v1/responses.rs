//! `/v1/responses`: OpenAI's Responses, whatever the provider, with a memory of its own.

use std::time::Duration;

use omniroute_testkit::http::Request;
use serde_json::{Value, json};

use crate::common::{KEY, Site, calm, eventually};

fn post(body: &Value) -> Request {
    Request::post("/v1/responses", body).key(KEY)
}

async fn kept(site: &Site, id: &str) -> Value {
    let path = format!("/v1/responses/{id}");
    let shown = eventually(Duration::from_secs(5), async || {
        let answer = site.gateway.ask(&Request::get(&path).key(KEY)).await;
        (answer.status() == 200).then(|| answer.json())
    });
    shown.await.expect("the answer is kept")
}

#[tokio::test]
async fn an_answer_is_whole_and_can_be_looked_up() {
    let site = Site::open(calm()).await;

    let answer = site.gateway.ask(&post(&json!({"model": "a/m", "input": "hello"}))).await;

    assert_eq!(answer.status(), 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["object"], &body["status"]), (&json!("response"), &json!("completed")));
    assert_eq!(body["output"][0]["content"][0]["type"], json!("output_text"));
    let shown = kept(&site, body["id"].as_str().unwrap()).await;
    assert_eq!(shown["output"], body["output"]);
}

#[tokio::test]
async fn a_conversation_goes_on_from_an_answer_by_its_id_streamed_or_not() {
    let site = Site::open(calm()).await;
    let first = site.gateway.ask(&post(&json!({"model": "a/m", "input": "my name is Ada", "stream": true}))).await;
    let completed = first.events().into_iter().find(|event| event.contains("\"response.completed\"")).unwrap();
    let completed: Value = serde_json::from_str(&completed).unwrap();
    let id = completed["response"]["id"].as_str().unwrap().to_owned();
    kept(&site, &id).await;

    let next = json!({"model": "b/m", "input": "what is my name?", "previous_response_id": id});
    let answer = site.gateway.ask(&post(&next)).await;

    assert_eq!(answer.status(), 200, "{}", answer.text());
    let sent: Value = serde_json::from_str(&site.b.control.requests().pop().unwrap().body).unwrap();
    let roles: Vec<_> =
        sent["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    assert_eq!(sent["messages"][0]["content"], json!("my name is Ada"));
}

#[tokio::test]
async fn nobody_goes_on_from_an_answer_of_another_key() {
    let site = Site::open(calm()).await;
    let other = site.admin.create_key("other").await.key;
    let id = site.gateway.ask(&post(&json!({"model": "a/m", "input": "secret"}))).await.json()["id"].clone();
    kept(&site, id.as_str().unwrap()).await;

    let body = json!({"model": "a/m", "input": "go on", "previous_response_id": id});
    let stolen = site.gateway.ask(&Request::post("/v1/responses", &body).key(&other)).await;
    let shown = site.gateway.ask(&Request::get(&format!("/v1/responses/{}", id.as_str().unwrap())).key(&other)).await;

    assert_eq!((stolen.status(), &stolen.json()["error"]["code"]), (400, &json!("previous_response_not_found")));
    assert_eq!(shown.status(), 404);
}

#[tokio::test]
async fn an_answer_that_shall_not_be_kept_is_not() {
    let site = Site::open(calm()).await;
    let id = site.gateway.ask(&post(&json!({"model": "a/m", "input": "x", "store": false}))).await.json()["id"].clone();
    let later = site.gateway.ask(&post(&json!({"model": "a/m", "input": "y"}))).await.json()["id"].clone();
    kept(&site, later.as_str().unwrap()).await;

    let shown = site.gateway.ask(&Request::get(&format!("/v1/responses/{}", id.as_str().unwrap())).key(KEY)).await;

    assert_eq!(shown.status(), 404);
}

#[tokio::test]
async fn a_kept_answer_can_be_forgotten() {
    let site = Site::open(calm()).await;
    let id = site.gateway.ask(&post(&json!({"model": "a/m", "input": "x"}))).await.json()["id"].clone();
    let path = format!("/v1/responses/{}", id.as_str().unwrap());
    kept(&site, id.as_str().unwrap()).await;

    let gone = site.gateway.ask(&Request::new("DELETE", &path).key(KEY)).await;

    assert_eq!((gone.status(), &gone.json()["deleted"]), (200, &json!(true)));
    assert_eq!(site.gateway.ask(&Request::get(&path).key(KEY)).await.status(), 404);
}

#[tokio::test]
async fn an_item_of_any_kept_answer_may_be_referred_to_by_its_owner_alone() {
    let site = Site::open(calm()).await;
    let other = site.admin.create_key("other").await.key;
    let first = site.gateway.ask(&post(&json!({"model": "a/m", "input": "my name is Ada"}))).await.json();
    let id = first["id"].as_str().unwrap();
    kept(&site, id).await;
    let items = site.gateway.ask(&Request::get(&format!("/v1/responses/{id}/input_items")).key(KEY)).await.json();
    let refer = |item: &Value| json!({"type": "item_reference", "id": item["id"]});
    let input = json!([refer(&items["data"][0]), refer(&first["output"][0]), {"role": "user", "content": "who am I?"}]);
    let body = json!({"model": "b/m", "input": input});

    let answer = site.gateway.ask(&post(&body)).await;
    let stolen = site.gateway.ask(&Request::post("/v1/responses", &body).key(&other)).await;

    assert_eq!(answer.status(), 200, "{}", answer.text());
    let sent: Value = serde_json::from_str(&site.b.control.requests().pop().unwrap().body).unwrap();
    assert_eq!(sent["messages"][0]["content"], json!("my name is Ada"));
    assert_eq!(sent["messages"][1]["role"], json!("assistant"));
    assert_eq!(sent["messages"][2]["content"], json!("who am I?"));
    assert_eq!((stolen.status(), &stolen.json()["error"]["param"]), (400, &json!("input[0].id")), "{}", stolen.text());
}

#[tokio::test]
async fn an_item_that_nobody_keeps_is_named_by_its_place() {
    let site = Site::open(calm()).await;
    let input = json!([{"role": "user", "content": "x"}, {"type": "item_reference", "id": "msg_unknown"}]);

    let answer = site.gateway.ask(&post(&json!({"model": "a/m", "input": input}))).await;

    assert_eq!(answer.status(), 400, "{}", answer.text());
    let error = answer.json()["error"].clone();
    assert_eq!((&error["param"], &error["code"]), (&json!("input[1].id"), &json!("item_not_found")), "{error}");
    assert!(site.a.control.requests().is_empty());
}

#[tokio::test]
async fn tokens_are_counted_and_conversations_made_short() {
    let site = Site::open(calm()).await;
    let body = json!({"model": "a/m", "input": "hello world"});

    let counted = site.gateway.ask(&Request::post("/v1/responses/input_tokens", &body).key(KEY)).await.json();
    let compact = site.gateway.ask(&Request::post("/v1/responses/compact", &body).key(KEY)).await.json();

    assert_eq!(counted["object"], json!("response.input_tokens"));
    assert_eq!(
        (&compact["object"], &compact["output"][0]["type"]),
        (&json!("response.compaction"), &json!("compaction"))
    );
}
