//! Bodies that are refused, in OpenAI's shape and naming the field.

use omniroute_testkit::http::{Connection, Request};
use serde_json::json;

use crate::common::{KEY, Site, calm, chat_with, error_of, soon};

fn raw(body: impl Into<Vec<u8>>) -> Request {
    let request = Request::new("POST", "/v1/chat/completions").key(KEY);
    request.header("Content-Type", "application/json").body(body)
}

#[tokio::test]
async fn a_body_that_breaks_a_rule_names_its_field() {
    let site = Site::open(calm()).await;
    let message = r#""messages":[{"role":"user","content":"x"}]"#;
    let cases = [
        ("{".to_owned(), json!(null)),
        ("[]".to_owned(), json!(null)),
        (format!("{{{message}}}"), json!("model")),
        (format!(r#"{{"model":7,{message}}}"#), json!("model")),
        (r#"{"model":"a/m"}"#.to_owned(), json!("messages")),
        (r#"{"model":"a/m","messages":[]}"#.to_owned(), json!("messages")),
        (r#"{"model":"a/m","messages":[{"content":"x"}]}"#.to_owned(), json!("messages[0].role")),
        (format!(r#"{{"model":"a/m","model":"b/m",{message}}}"#), json!("model")),
        (format!(r#"{{"model":"a/m","temperature":3,{message}}}"#), json!("temperature")),
        (format!(r#"{{"model":"a/m","max_tokens":-99999999999999999999,{message}}}"#), json!("max_tokens")),
        (format!(r#"{{"model":"a/m","stream":"yes",{message}}}"#), json!("stream")),
    ];

    for (body, param) in cases {
        let answer = site.gateway.ask(&raw(body.as_str())).await;

        assert_eq!(answer.status(), 400, "{body}: {}", answer.text());
        let error = error_of(&answer);
        assert_eq!(error["type"], "invalid_request_error", "{body}");
        if !param.is_null() {
            assert_eq!(error["param"], param, "{body}: {error}");
        }
    }
    assert_eq!(site.a.control.stats().total.started, 0, "none of them reached an upstream");
}

#[tokio::test]
async fn a_body_nested_200_000_deep_is_a_400_and_not_a_crash() {
    let site = Site::open(calm()).await;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let body = format!(r#"{{"model":"a/m","messages":[{{"role":"user","content":{deep}}}]}}"#);

    let answer = site.gateway.ask(&raw(body)).await;

    assert_eq!(answer.status(), 400);
    error_of(&answer);
    assert_eq!(site.ask(false).await.status(), 200, "and the gateway lives");
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_is_a_400() {
    let site = Site::open(calm()).await;
    let mut body = br#"{"model":"a/m","messages":[{"role":"user","content":""#.to_vec();
    body.extend_from_slice(b"\xff\xfe\"}]}");

    let answer = site.gateway.ask(&raw(body)).await;

    assert_eq!(answer.status(), 400);
    error_of(&answer);
}

#[tokio::test]
async fn a_body_above_the_limit_is_a_413_by_its_announced_length_and_by_its_real_one() {
    let site = Site::open(calm().set("server.max_body_bytes", "4096")).await;
    let large = chat_with("a/m", &json!({"padding": "a".repeat(5000)}));

    let announced = site.gateway.ask(&large).await;
    let mut client = Connection::open(site.gateway.addr).await.unwrap();
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n");
    client.send_bytes(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    for _ in 0..5 {
        let chunk = format!("400\r\n{}\r\n", "a".repeat(1024));
        drop(client.send_bytes(chunk.as_bytes()).await);
    }
    let counted = soon("the refusal", client.head()).await.unwrap().status;

    assert_eq!((announced.status(), counted), (413, 413));
    assert_eq!(error_of(&announced)["code"], "request_too_large");
    assert_eq!(site.a.control.stats().total.started, 0);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408() {
    let site = Site::open(calm().set("server.body_read_timeout_ms", "300")).await;
    let mut client = Connection::open(site.gateway.addr).await.unwrap();

    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n");
    client.send_bytes(format!("{head}Content-Length: 100\r\n\r\n{{").as_bytes()).await.unwrap();
    let head = soon("the refusal", client.head()).await.unwrap();

    assert_eq!(head.status, 408);
}
