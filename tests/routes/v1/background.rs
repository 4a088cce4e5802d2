//! `/v1/responses` with `background: true`: answers that are made while nobody waits.

use omniroute_testkit::gateway::Signal;
use omniroute_testkit::http::{Request, Response};
use omniroute_testkit::mock::MockUpstream;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::common::{KEY, PATIENCE, Site, calm, eventually};

fn body(model: &str) -> Value {
    json!({"model": model, "input": "take your time", "background": true})
}

fn begin(model: &str) -> Request {
    Request::post("/v1/responses", &body(model)).key(KEY)
}

fn at(method: &str, id: &str, tail: &str) -> Request {
    Request::new(method, &format!("/v1/responses/{id}{tail}")).key(KEY)
}

fn id_of(answer: &Response) -> String {
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// The answer once it has this status.
async fn becomes(site: &Site, id: &str, status: &str) -> Value {
    let mut last = Value::Null;
    let reached = eventually(PATIENCE, async || {
        last = site.gateway.ask(&at("GET", id, "")).await.json();
        (last["status"] == status).then(|| last.clone())
    });
    match reached.await {
        Some(reached) => reached,
        None => panic!("never {status}; the log:\n{}", site.gateway.log()),
    }
}

async fn reaches(mock: &MockUpstream, count: u64) {
    assert!(mock.control.wait_until(PATIENCE, |stats| stats.total.started >= count).await, "nothing was asked");
}

async fn is_let_go(mock: &MockUpstream) {
    assert!(mock.control.wait_until(PATIENCE, |stats| !stats.cancels_us.is_empty()).await, "upstream goes on");
}

#[tokio::test]
async fn an_answer_is_queued_at_once_and_can_be_had_when_it_is_made() {
    let site = Site::open(calm()).await;
    site.a.control.always("ok tokens=3 first_delay_ms=400");

    let queued = site.gateway.ask(&begin("a/m")).await;
    let id = id_of(&queued);

    let body = queued.json();
    assert_eq!((&body["status"], &body["background"], &body["output"]), (&json!("queued"), &json!(true), &json!([])));
    assert_eq!((&body["object"], &body["usage"], &body["error"]), (&json!("response"), &Value::Null, &Value::Null));
    becomes(&site, &id, "in_progress").await;
    let made = becomes(&site, &id, "completed").await;
    assert_eq!((&made["id"], &made["background"]), (&json!(id), &json!(true)));
    assert_eq!(made["output"][0]["content"][0]["text"], json!("tok0 tok1 tok2"));
    let record = site.record(queued.header("x-request-id").unwrap()).await;
    assert_eq!((record.status, record.outcome.as_str(), record.completion_tokens), (200, "success", 3));
    let sent: Value = serde_json::from_str(&site.a.control.requests().pop().unwrap().body).unwrap();
    assert!(sent.get("background").is_none(), "{sent}");
    let items = site.gateway.ask(&at("GET", &id, "/input_items")).await.json();
    assert_eq!(items["data"][0]["content"][0]["text"], json!("take your time"));
}

#[tokio::test]
async fn a_conversation_goes_on_from_it_but_not_before_it_is_made() {
    let site = Site::open(calm()).await;
    site.a.control.always("ok first_delay_ms=400");
    let id = id_of(&site.gateway.ask(&begin("a/m")).await);
    let next =
        Request::post("/v1/responses", &json!({"model": "b/m", "input": "and?", "previous_response_id": id})).key(KEY);

    let early = site.gateway.ask(&next).await;
    becomes(&site, &id, "completed").await;
    let late = site.gateway.ask(&next).await;

    assert_eq!((early.status(), &early.json()["error"]["param"]), (400, &json!("previous_response_id")));
    assert_eq!(late.status(), 200, "{}", late.text());
}

#[tokio::test]
async fn a_cancelled_answer_stays_cancelled_and_its_provider_is_let_go() {
    let site = Site::open(calm()).await;
    site.a.control.always("hang_before_head");
    let id = id_of(&site.gateway.ask(&begin("a/m")).await);
    reaches(&site.a, 1).await;

    let first = site.gateway.ask(&at("POST", &id, "/cancel")).await;
    let second = site.gateway.ask(&at("POST", &id, "/cancel")).await;

    is_let_go(&site.a).await;
    assert_eq!((first.status(), &first.json()["status"]), (200, &json!("cancelled")), "{}", first.text());
    assert_eq!((second.status(), &second.json()["status"]), (200, &json!("cancelled")));
    assert_eq!(site.gateway.ask(&at("GET", &id, "")).await.json()["status"], json!("cancelled"));
}

#[tokio::test]
async fn only_what_is_still_made_can_be_cancelled_and_only_by_its_owner() {
    let site = Site::open(calm()).await;
    let other = site.admin.create_key("other").await.key;
    let ordinary =
        site.gateway.ask(&Request::post("/v1/responses", &json!({"model": "a/m", "input": "x"})).key(KEY)).await;
    let ordinary = id_of(&ordinary);
    becomes(&site, &ordinary, "completed").await;
    let made = id_of(&site.gateway.ask(&begin("a/m")).await);
    becomes(&site, &made, "completed").await;
    site.a.control.always("hang_before_head");
    let running = id_of(&site.gateway.ask(&begin("a/m")).await);
    let by_other =
        |method: &str, tail: &str| Request::new(method, &format!("/v1/responses/{running}{tail}")).key(&other);

    let refused = [
        site.gateway.ask(&at("POST", &ordinary, "/cancel")).await,
        site.gateway.ask(&at("POST", &made, "/cancel")).await,
        site.gateway.ask(&at("POST", "resp_unknown", "/cancel")).await,
        site.gateway.ask(&by_other("POST", "/cancel")).await,
        site.gateway.ask(&by_other("GET", "")).await,
        site.gateway.ask(&by_other("DELETE", "")).await,
    ];

    assert_eq!(refused.map(|answer| answer.status()), [400, 400, 404, 404, 404, 404]);
    assert_ne!(site.gateway.ask(&at("GET", &running, "")).await.json()["status"], json!("cancelled"));
}

#[tokio::test]
async fn to_forget_an_answer_is_to_cancel_it() {
    let site = Site::open(calm()).await;
    site.a.control.always("hang_before_head");
    let id = id_of(&site.gateway.ask(&begin("a/m")).await);
    reaches(&site.a, 1).await;

    let gone = site.gateway.ask(&at("DELETE", &id, "")).await;

    assert_eq!((gone.status(), &gone.json()["deleted"]), (200, &json!(true)));
    is_let_go(&site.a).await;
    assert_eq!(site.gateway.ask(&at("GET", &id, "")).await.status(), 404);
}

#[tokio::test]
async fn what_no_provider_answers_has_failed_and_says_why() {
    let site = Site::open(calm()).await;
    site.a.control.always("status code=400 error_code=bad_thing");
    site.b.control.always("status code=529");

    let refused = id_of(&site.gateway.ask(&begin("a/m")).await);
    let overloaded = id_of(&site.gateway.ask(&begin("b/m")).await);

    let refused = becomes(&site, &refused, "failed").await;
    let overloaded = becomes(&site, &overloaded, "failed").await;
    assert_eq!(refused["error"]["code"], json!("bad_thing"), "{refused}");
    assert!(refused["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    assert_eq!(overloaded["error"]["code"], json!("provider_overloaded"), "{overloaded}");
}

#[tokio::test]
async fn what_cannot_be_made_in_the_background_is_refused_by_its_field() {
    let site = Site::open(calm()).await;
    let with = |name: &str, value: Value| {
        let mut body = body("a/m");
        body[name] = value;
        Request::post("/v1/responses", &body).key(KEY)
    };

    let unkept = site.gateway.ask(&with("store", json!(false))).await;

    assert_eq!((unkept.status(), &unkept.json()["error"]["param"]), (400, &json!("store")), "{}", unkept.text());
    assert!(site.a.control.requests().is_empty());
}

#[tokio::test]
async fn a_key_and_the_process_have_so_many_at_a_time() {
    let builder = calm().set("routing.background_max_per_key", "1").set("routing.background_max", "2");
    let site = Site::open(builder).await;
    let keys = [site.admin.create_key("second").await.key, site.admin.create_key("third").await.key];
    site.a.control.always("hang_before_head");
    let by = |key: &str| Request::post("/v1/responses", &body("a/m")).key(key);

    let first = id_of(&site.gateway.ask(&begin("a/m")).await);
    let own = site.gateway.ask(&begin("a/m")).await;
    id_of(&site.gateway.ask(&by(&keys[0])).await);
    let all = site.gateway.ask(&by(&keys[1])).await;

    assert_eq!((own.status(), &own.json()["error"]["code"]), (429, &json!("rate_limit_exceeded")), "{}", own.text());
    assert_eq!((all.status(), &all.json()["error"]["code"]), (429, &json!("local_capacity")), "{}", all.text());
    assert!(own.header("retry-after").is_some());
    site.gateway.ask(&at("POST", &first, "/cancel")).await;
    let again = eventually(PATIENCE, async || (site.gateway.ask(&begin("a/m")).await.status() == 200).then_some(()));
    assert!(again.await.is_some(), "the place does not come back");
}

#[tokio::test]
async fn an_operator_may_switch_it_off() {
    let site = Site::open(calm().set("routing.background_max", "0")).await;

    let refused = site.gateway.ask(&begin("a/m")).await;

    assert_eq!((refused.status(), &refused.json()["error"]["param"]), (400, &json!("background")));
}

#[tokio::test]
async fn after_a_crash_what_was_in_the_making_has_failed() {
    let mut site = Site::open(calm()).await;
    site.a.control.always("hang_before_head");
    let id = id_of(&site.gateway.ask(&begin("a/m")).await);
    reaches(&site.a, 1).await;

    site.gateway.kill_and_restart().await;

    let failed = site.gateway.ask(&at("GET", &id, "")).await.json();
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("server_error")), "{failed}");
    assert_eq!(site.gateway.ask(&at("POST", &id, "/cancel")).await.status(), 400);
}

#[tokio::test]
async fn a_process_that_goes_away_waits_for_what_is_in_the_making_and_gives_up_the_rest() {
    let mut site = Site::open(calm().set("server.drain_timeout_s", "3")).await;
    site.a.control.always("hang_before_head");
    site.b.control.always("ok tokens=2 first_delay_ms=700");
    let never = id_of(&site.gateway.ask(&begin("a/m")).await);
    let soon = id_of(&site.gateway.ask(&begin("b/m")).await);
    reaches(&site.a, 1).await;
    reaches(&site.b, 1).await;

    site.gateway.signal(Signal::TERM);
    assert_eq!(site.gateway.ended(PATIENCE).await.code(), Some(0));
    site.gateway.start_again().await;

    let (never, soon) = (site.gateway.ask(&at("GET", &never, "")).await, site.gateway.ask(&at("GET", &soon, "")).await);
    assert_eq!(soon.json()["status"], json!("completed"), "{}", soon.text());
    assert_eq!(never.json()["error"]["code"], json!("shutting_down"), "{}", never.text());
}

/// A provider of Responses that answers half, like OpenAI under an id of its own; it tells what it was asked.
async fn provider(asked: mpsc::UnboundedSender<Value>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                let mut heard = Vec::new();
                let told = loop {
                    let mut piece = [0; 4096];
                    let read = stream.read(&mut piece).await.unwrap_or(0);
                    heard.extend_from_slice(&piece[..read]);
                    let text = String::from_utf8_lossy(&heard).into_owned();
                    let told = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
                    if told.is_some() || read == 0 {
                        break told.unwrap_or_default();
                    }
                };
                let _ = asked.send(told);
                let message = json!({"type": "message", "id": "msg_theirs", "role": "assistant", "status": "completed",
                    "content": [{"type": "output_text", "text": "hi", "annotations": []}]});
                let answer = json!({"id": "resp_theirs", "object": "response", "status": "incomplete", "output": [message],
                    "incomplete_details": {"reason": "max_output_tokens"}, "background": false, "model": "m",
                    "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}});
                let answer = answer.to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    answer.len()
                );
                let _ = stream.write_all(format!("{head}{answer}").as_bytes()).await;
            });
        }
    });
    base
}

#[tokio::test]
async fn a_provider_of_the_same_format_answers_at_once_and_its_answer_gets_our_id() {
    let site = Site::open(calm()).await;
    let (sender, mut asked) = mpsc::unbounded_channel();
    let base = provider(sender).await;
    let node =
        json!({"name": "c", "prefix": "c", "type": "openai-compatible", "apiType": "responses", "baseUrl": base});
    let node = site.admin.post("/api/provider-nodes", &node).await["node"]["id"].as_str().unwrap().to_owned();
    site.admin.create_connection(&node, "c", "sk-c").await;

    let id = id_of(&site.gateway.ask(&begin("c/m")).await);

    let told = tokio::time::timeout(PATIENCE, asked.recv()).await.unwrap().unwrap();
    assert!(told.get("background").is_none() && told["model"] == "m", "{told}");
    let made = becomes(&site, &id, "incomplete").await;
    assert_eq!((&made["id"], &made["background"]), (&json!(id), &json!(true)));
    assert_eq!(made["output"][0]["id"], json!("msg_theirs"));
    assert_eq!(site.gateway.ask(&at("GET", "resp_theirs", "")).await.status(), 404);
}
