//! Documents and pictures that clients name by URL, on their way to providers that take bytes only.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use omniroute_testkit::http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::common::{KEY, Site, calm, state_of};

const PDF: &[u8] = b"%PDF-1.7 a document";

/// A server of one document; it counts its requests.
async fn library() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a.pdf", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 2048];
            let _ = stream.read(&mut request).await;
            counted.fetch_add(1, Ordering::SeqCst);
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-type: application/pdf\r\ncontent-length: {}\r\n\r\n", PDF.len());
            let _ = stream.write_all(&[head.as_bytes(), PDF].concat()).await;
        }
    });
    (url, asked)
}

fn about(model: &str, url: &str) -> Request {
    let document = json!({"type": "document", "source": {"type": "url", "url": url}});
    let content = json!([document, {"type": "text", "text": "what does it say?"}]);
    let body = json!({"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": content}]});
    Request::post("/v1/messages", &body).key(KEY)
}

#[tokio::test]
async fn a_document_behind_a_url_reaches_every_provider_that_is_tried_and_is_fetched_once() {
    let site = Site::open(calm().set("routing.fetch_private_hosts", "127.0.0.1:*")).await;
    let (url, asked) = library().await;
    site.a.control.always("status code=500");

    let answer = site.gateway.ask(&about("team", &url)).await;

    assert_eq!((answer.status(), answer.header("x-omniroute-attempts")), (200, Some("2")), "{}", answer.text());
    for mock in [&site.a, &site.b] {
        let sent: Value = serde_json::from_str(&mock.control.requests().pop().unwrap().body).unwrap();
        let data = sent["messages"][0]["content"][0]["file"]["file_data"].as_str().unwrap();
        assert!(data.starts_with("data:application/pdf;base64,JVBERi0xLjcg"), "{data}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let metrics = site.admin.send(Request::get("/metrics")).await.text();
    assert!(metrics.contains("omniroute_media_fetches_total{result=\"fetched\"} 1"), "{metrics}");
}

#[tokio::test]
async fn what_providers_may_be_reached_at_is_no_place_for_the_urls_of_clients() {
    let site = Site::open(calm()).await;
    let (url, asked) = library().await;

    let answer = site.gateway.ask(&about("a/m", &url)).await;

    assert_eq!(answer.status(), 400, "{}", answer.text());
    let error = answer.json()["error"].clone();
    assert_eq!(error["type"], json!("invalid_request_error"));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("messages[0].file") && message.contains("may fetch"), "{message}");
    assert!(!message.contains("127.0.0.1"), "{message}");
    assert_eq!((asked.load(Ordering::SeqCst), site.a.control.requests().len()), (0, 0));
    let state = state_of(&site.admin, &site.at_a.connections[0]).await;
    assert_eq!((&state["state"], &state["counts"]["consecutiveFailures"]), (&json!("ready"), &json!(0)), "{state}");
}

#[tokio::test]
async fn an_operator_may_leave_urls_alone() {
    let site =
        Site::open(calm().set("routing.fetch_urls", "false").set("routing.fetch_private_hosts", "127.0.0.1:*")).await;
    let (url, asked) = library().await;

    let answer = site.gateway.ask(&about("a/m", &url)).await;

    assert_eq!((answer.status(), asked.load(Ordering::SeqCst)), (400, 0), "{}", answer.text());
}
