//! `/v1/responses` with `background: true` and `stream: true`: a client may leave its stream and come back for the rest.

use omniroute_testkit::http::{HangUp, Request, Response};
use serde_json::{Value, json};

use crate::common::{KEY, PATIENCE, Site, calm, eventually};

fn begin(model: &str) -> Request {
    let body = json!({"model": model, "input": "take your time", "background": true, "stream": true});
    Request::post("/v1/responses", &body).key(KEY)
}

fn events_from(id: &str, starting_after: Option<usize>) -> Request {
    let after = starting_after.map(|last| format!("&starting_after={last}")).unwrap_or_default();
    Request::get(&format!("/v1/responses/{id}?stream=true{after}")).key(KEY)
}

/// The data of each event.
fn events(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect()
}

fn text(events: &[Value]) -> String {
    let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    deltas.map(|event| event["delta"].as_str().unwrap()).collect()
}

fn id_of(created: &Value) -> String {
    created["response"]["id"].as_str().unwrap().to_owned()
}

fn type_of(event: Option<&Value>) -> &str {
    event.and_then(|event| event["type"].as_str()).unwrap_or_default()
}

/// Begin, read until this stands in the stream, and hang up; the id and what was read.
async fn begin_and_leave(site: &Site, needle: &str) -> (String, String) {
    let mut stream = site.gateway.stream(&begin("a/m")).await;
    let read = stream.read_until(needle).await.unwrap();
    stream.hang_up(HangUp::Fin);
    (id_of(&events(&read)[0]), read)
}

async fn becomes(site: &Site, id: &str, status: &str) -> Response {
    let look = Request::get(&format!("/v1/responses/{id}")).key(KEY);
    let reached = eventually(PATIENCE, async || {
        let now = site.gateway.ask(&look).await;
        (now.json()["status"] == status).then_some(now)
    });
    reached.await.unwrap_or_else(|| panic!("never {status}; the log:\n{}", site.gateway.log()))
}

#[tokio::test]
async fn its_events_are_numbered_and_can_be_had_again_from_any_of_them_on() {
    let mut site = Site::open(calm()).await;
    site.a.control.always("ok tokens=3");

    let streamed = site.gateway.ask(&begin("a/m")).await;

    let told = events(&streamed.text());
    assert_eq!(streamed.header("content-type"), Some("text/event-stream"));
    assert_eq!(numbers(&told), (0..told.len() as u64).collect::<Vec<_>>());
    assert_eq!((type_of(told.first()), type_of(told.get(1))), ("response.created", "response.queued"));
    assert_eq!((type_of(told.last()), text(&told).as_str()), ("response.completed", "tok0 tok1 tok2"));
    let id = id_of(&told[0]);
    assert!(told.iter().filter_map(|event| event.get("response")).all(|response| response["id"] == json!(id)));
    assert_eq!(becomes(&site, &id, "completed").await.json()["output"], told.last().unwrap()["response"]["output"]);
    site.gateway.restart().await;
    let again = site.gateway.ask(&events_from(&id, None)).await;
    let rest = site.gateway.ask(&events_from(&id, Some(4))).await;
    assert_eq!(events(&again.text()), told);
    assert_eq!(events(&rest.text()), told[5..]);
}

#[tokio::test]
async fn a_client_that_leaves_comes_back_for_what_it_missed_while_it_is_made() {
    let site = Site::open(calm()).await;
    site.a.control.always("ok tokens=12 delay_ms=100");

    let (id, read) = begin_and_leave(&site, "tok2").await;
    let had = events(&read);
    let last = numbers(&had).pop().unwrap() as usize;
    let missed = site.gateway.ask(&events_from(&id, Some(last))).await;

    let missed = events(&missed.text());
    assert_eq!(numbers(&missed).first(), Some(&(last as u64 + 1)));
    assert_eq!(text(&had) + &text(&missed), (0..12).map(|n| format!("tok{n}")).collect::<Vec<_>>().join(" "));
    assert_eq!(type_of(missed.last()), "response.completed");
    assert_eq!(site.a.control.stats().total.cancelled, 0, "the provider does not learn that the client left");
}

#[tokio::test]
async fn who_follows_a_cancelled_answer_is_told_and_so_is_who_comes_later() {
    let site = Site::open(calm()).await;
    site.a.control.always("ok tokens=1000 delay_ms=50");
    let mut following = site.gateway.stream(&begin("a/m")).await;
    let read = following.read_until("tok1").await.unwrap();
    let id = id_of(&events(&read)[0]);

    let cancelled = site.gateway.ask(&Request::new("POST", &format!("/v1/responses/{id}/cancel")).key(KEY)).await;

    assert_eq!(cancelled.status(), 200, "{}", cancelled.text());
    let live = following.read_until("response_cancelled").await.unwrap();
    let later = site.gateway.ask(&events_from(&id, None)).await.text();
    for told in [live, later] {
        let last = events(&told).pop().unwrap();
        assert_eq!((&last["type"], &last["code"]), (&json!("error"), &json!("response_cancelled")), "{told}");
    }
    assert!(site.a.control.wait_until(PATIENCE, |stats| stats.total.cancelled == 1).await, "upstream goes on");
}

#[tokio::test]
async fn an_answer_that_fails_before_or_after_its_first_word_ends_with_the_failure() {
    let site = Site::open(calm()).await;
    for (behaviour, words) in [("status code=500", ""), ("cut_chunked n=2", "tok0 tok1 ")] {
        site.a.control.always(behaviour);

        let streamed = site.gateway.ask(&begin("a/m")).await;

        let told = events(&streamed.text());
        let last = told.last().unwrap();
        assert_eq!(streamed.status(), 200, "it was queued");
        assert!(text(&told).starts_with(words.trim_end()), "{}", streamed.text());
        assert!(["response.failed", "error"].contains(&type_of(Some(last))), "{last}");
        let id = id_of(&told[0]);
        let failed = becomes(&site, &id, "failed").await.json();
        assert!(failed["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{failed}");
        assert_eq!(events(&site.gateway.ask(&events_from(&id, None)).await.text()), told);
    }
}

#[tokio::test]
async fn after_a_crash_its_stream_says_so() {
    let mut site = Site::open(calm()).await;
    site.a.control.always("ok tokens=1000 delay_ms=50");
    let (id, _) = begin_and_leave(&site, "tok1").await;

    site.gateway.kill_and_restart().await;

    let told = events(&site.gateway.ask(&events_from(&id, None)).await.text());
    assert_eq!((type_of(told.last()), &told.last().unwrap()["code"]), ("error", &json!("server_error")), "{told:?}");
}

#[tokio::test]
async fn nobody_else_follows_it_and_other_answers_have_no_events() {
    let site = Site::open(calm()).await;
    let other = site.admin.create_key("other").await.key;
    let streamed = events(&site.gateway.ask(&begin("a/m")).await.text());
    let id = id_of(&streamed[0]);
    let ordinary = Request::post("/v1/responses", &json!({"model": "a/m", "input": "x"})).key(KEY);
    let ordinary = site.gateway.ask(&ordinary).await.json()["id"].as_str().unwrap().to_owned();
    becomes(&site, &ordinary, "completed").await;

    let stranger = site.gateway.ask(&Request::get(&format!("/v1/responses/{id}?stream=true")).key(&other)).await;
    let without = site.gateway.ask(&events_from(&ordinary, None)).await;
    let unknown = site.gateway.ask(&events_from("resp_unknown", None)).await;

    assert_eq!([stranger.status(), without.status(), unknown.status()], [404, 400, 404]);
    assert_eq!(without.json()["error"]["param"], json!("stream"));
}
