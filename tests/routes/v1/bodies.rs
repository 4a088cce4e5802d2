//! Bodies that are refused, in OpenAI's shape and naming the field.

use omniroute_testkit::http::{Connection, Head, Request};
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

/// Begin a request with these bytes and read the head of its answer and the rest, to the end of the connection.
async fn answer_to(site: &Site, bytes: &str) -> (Head, bool) {
    let mut client = Connection::open(site.gateway.addr).await.unwrap();
    client.send_bytes(bytes.as_bytes()).await.unwrap();
    let head = soon("the refusal", client.head()).await.unwrap();
    while soon("the body", client.next()).await.unwrap().is_some() {}
    let again = client.ask(&Request::get("/livez")).await;
    (head, again.is_err())
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408_and_ends_the_connection() {
    let site = Site::open(calm()).await;
    site.loses_patience().await;
    let cookie = site.admin.cookie();
    let chat = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n");
    let keys = format!("POST /api/keys HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\n");

    for start in [chat, keys] {
        for body in ["Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"] {
            let (head, closed) = answer_to(&site, &format!("{start}Content-Type: application/json\r\n{body}")).await;

            assert_eq!((head.status, head.header("connection"), closed), (408, Some("close"), true), "{start}{body}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_cut_ends_the_connection() {
    let site = Site::open(calm()).await;
    let start = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n");

    // Not a chunk size: nobody knows where the next request would begin.
    let (head, closed) = answer_to(&site, &format!("{start}Transfer-Encoding: chunked\r\n\r\nzz\r\n{{")).await;

    assert_eq!((head.status, head.header("connection"), closed), (400, Some("close"), true));
}

#[tokio::test]
async fn a_compressed_body_is_a_415_in_the_callers_shape() {
    let site = Site::open(calm()).await;

    for encoding in ["gzip", "identity, br", "ZSTD"] {
        let answer = site.gateway.ask(&chat_with("a/m", &json!({})).header("Content-Encoding", encoding)).await;
        assert_eq!((answer.status(), &error_of(&answer)["code"]), (415, &json!("unsupported_content_encoding")));
    }
    let plain = site.gateway.ask(&chat_with("a/m", &json!({})).header("Content-Encoding", "identity")).await;
    let request = Request::post("/api/keys", &json!({"name": "x"})).header("Content-Encoding", "gzip");
    let managing = site.admin.send(request).await;

    assert_eq!(plain.status(), 200);
    assert_eq!((managing.status(), &managing.json()["error"]["code"]), (415, &json!("unsupported_content_encoding")));
    assert!(managing.json()["requestId"].is_string(), "{}", managing.text());
}

#[tokio::test]
async fn nothing_that_a_stranger_sends_is_an_error_in_the_log() {
    let site = Site::open(calm().set("server.body_read_timeout_ms", "3000")).await;
    let heads = [
        "\u{0}\u{1}\u{2} nonsense\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(300_000)),
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned(),
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(),
        "GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ];

    for bytes in &heads {
        let mut client = Connection::open(site.gateway.addr).await.unwrap();
        drop(client.send_bytes(bytes.as_bytes()).await);
        drop(soon("an answer or an end", client.head()).await);
    }

    let log = site.gateway.log();
    assert!(!log.contains("ERROR"), "{log}");
}
