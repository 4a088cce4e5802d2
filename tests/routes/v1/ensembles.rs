//! Combos that ask all of their steps: a panel with a judge, and steps that go on from one another.

use omniroute_testkit::http::{Connection, Request, Response, content};
use omniroute_testkit::mock::MockUpstream;
use serde_json::{Value, json};

use crate::common::{End, KEY, PATIENCE, Site, calm, chat_with, end_of, error_of};

/// `a` and `b` answer, `c` judges: `panel` asks them all.
async fn panel(tuning: Value) -> (Site, MockUpstream) {
    let (site, judge) = (Site::open(calm()).await, MockUpstream::start().await);
    site.admin.add_upstream(&judge, "c", &["sk-c"]).await;
    let config = json!({"judgeModel": "c/judge", "fusionTuning": tuning});
    let combo = json!({"name": "panel", "strategy": "fusion", "models": ["a/m", "b/m"], "config": config});
    site.admin.create_combo_with(&combo).await;
    site.a.control.always("ok text=alpha+says prompt_tokens=11");
    site.b.control.always("ok text=beta+says prompt_tokens=12");
    judge.control.always("ok text=the+verdict prompt_tokens=40");
    (site, judge)
}

async fn ask(site: &Site, members: &Value) -> Response {
    site.gateway.ask(&chat_with("panel", members)).await
}

fn text(answer: &Response) -> String {
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
}

async fn attempts(site: &Site, answer: &Response) -> (Vec<Value>, crate::common::database::Usage) {
    let record = site.record(answer.header("x-request-id").expect("an id")).await;
    (serde_json::from_str(&record.attempts).unwrap(), record)
}

fn said_to(mock: &MockUpstream) -> Value {
    mock.control.requests().pop().expect("a request").json()
}

#[tokio::test]
async fn a_judge_writes_the_answer_out_of_those_of_the_panel() {
    let (site, judge) = panel(json!({})).await;

    let whole = ask(&site, &json!({})).await;
    let streamed = ask(&site, &json!({"stream": true, "stream_options": {"include_usage": true}})).await;

    assert_eq!((text(&whole).as_str(), content(&streamed.events()).as_str()), ("the verdict", "the verdict"));
    let words = said_to(&judge)["messages"].as_array().unwrap().last().unwrap()["content"].to_string();
    let (alpha, beta) = (words.find("alpha says").expect("a"), words.find("beta says").expect("b"));
    assert!(alpha < beta, "{words}");
    assert_eq!((said_to(&judge)["stream"].clone(), said_to(&site.a)["stream"].clone()), (json!(true), json!(false)));
    for answer in [&whole, &streamed] {
        let (tried, record) = attempts(&site, answer).await;
        let roles: Vec<_> = tried.iter().map(|one| one["role"].as_str().unwrap_or_default()).collect();
        assert_eq!(roles, ["panel 1", "panel 2", "judge"]);
        assert!(tried.iter().all(|one| one["outcome"] == "success" && one["tokens"].is_object()), "{tried:?}");
        assert_eq!((record.prompt_tokens, record.completion_tokens), (11 + 12 + 40, 6));
        assert_eq!(record.outcome, "success");
    }
    assert_eq!(whole.json()["usage"]["prompt_tokens"], 63);
    assert_eq!(whole.header("x-omniroute-tokens-in"), Some("63"));
    let usage = streamed.events().iter().rev().find_map(|event| {
        let event: Value = serde_json::from_str(event).ok()?;
        event["usage"]["prompt_tokens"].as_u64()
    });
    assert_eq!(usage, Some(63));
}

#[tokio::test]
async fn enough_answers_end_the_panel_and_who_is_late_is_cancelled() {
    let (site, judge) = panel(json!({"minAnswers": 1, "judgePrompt": "Say it in French."})).await;
    site.b.control.always("hang_before_head");

    let answer = ask(&site, &json!({})).await;

    assert_eq!(text(&answer), "the verdict");
    assert!(site.b.control.wait_until(PATIENCE, |stats| stats.total.in_flight == 0).await);
    let words = said_to(&judge)["messages"].as_array().unwrap().last().unwrap()["content"].to_string();
    assert!(words.contains("Say it in French.") && !words.contains("beta"), "{words}");
    let (tried, _) = attempts(&site, &answer).await;
    assert_eq!(tried[1]["outcome"], "panel_late", "{tried:?}");
}

#[tokio::test]
async fn patience_with_late_answers_ends() {
    let (site, _judge) = panel(json!({"panelTimeoutMs": 1000})).await;
    site.b.control.always("hang_before_head");

    let answer = ask(&site, &json!({})).await;

    assert_eq!(text(&answer), "alpha says", "one answer needs no judge");
}

#[tokio::test]
async fn without_the_judge_the_client_gets_the_best_of_the_panel_in_its_own_format() {
    let (site, judge) = panel(json!({})).await;
    judge.control.always("status code=500");

    let whole = ask(&site, &json!({})).await;
    let stream = site.gateway.stream(&chat_with("panel", &json!({"stream": true}))).await.rest().await;

    assert_eq!(text(&whole), "alpha says");
    assert_eq!((content(&stream.events()).as_str(), end_of(&stream)), ("alpha says", End::Whole));
    assert_eq!(whole.header("x-omniroute-provider"), Some(site.at_a.node.as_str()));
    let (tried, record) = attempts(&site, &whole).await;
    assert_eq!((tried[2]["role"].clone(), tried[2]["outcome"].clone()), (json!("judge"), json!("server_fault")));
    assert_eq!((record.prompt_tokens, record.outcome.as_str()), (23, "success"));
    assert_eq!(record.connection_id.as_ref(), site.at_a.connections.first());
    let words = json!([{"role": "user", "content": "hello"}]);
    for (path, body) in [
        ("/v1/messages", json!({"model": "panel", "max_tokens": 500, "messages": words})),
        ("/v1/messages", json!({"model": "panel", "max_tokens": 500, "stream": true, "messages": words})),
        ("/v1/responses", json!({"model": "panel", "stream": true, "input": "hello"})),
        ("/v1beta/models/panel:generateContent", json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]})),
    ] {
        let answer = site.gateway.ask(&Request::post(path, &body).key(KEY)).await;
        assert!(answer.status() == 200 && answer.text().contains("alpha says"), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_panel_without_any_answer_is_an_error_of_the_clients_format() {
    let (site, judge) = panel(json!({})).await;
    site.a.control.always("status code=500");
    site.b.control.always("status code=500");

    let chat = ask(&site, &json!({})).await;
    let body = json!({"model": "panel", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]});
    let anthropic = site.gateway.ask(&Request::post("/v1/messages", &body).key(KEY)).await;

    assert_eq!((chat.status(), anthropic.json()["type"].clone()), (502, json!("error")));
    error_of(&chat);
    assert_eq!(judge.control.settled().await.total.started, 0);
}

#[tokio::test]
async fn only_the_judge_may_use_tools() {
    let (site, judge) = panel(json!({})).await;
    judge.control.always("tool_call");
    let tool = json!({"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}});

    let answer = ask(&site, &json!({"tools": [tool]})).await;

    assert_eq!(answer.json()["choices"][0]["finish_reason"], "tool_calls", "{}", answer.text());
    assert_eq!(said_to(&site.a)["tool_choice"], "none");
    assert!(said_to(&judge)["tools"].is_array() && said_to(&judge)["tool_choice"].is_null());
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_whole_panel() {
    let (site, judge) = panel(json!({})).await;
    site.a.control.always("hang_before_head");
    site.b.control.always("hang_after_head");

    let mut hanging = Connection::open(site.gateway.addr).await.unwrap();
    hanging.send(&chat_with("panel", &json!({})).header("X-Request-Id", "left")).await.unwrap();
    for mock in [&site.a, &site.b] {
        assert!(mock.control.wait_until(PATIENCE, |stats| stats.total.in_flight == 1).await);
    }
    drop(hanging);

    for mock in [&site.a, &site.b] {
        assert!(mock.control.wait_until(PATIENCE, |stats| stats.total.cancelled == 1).await);
    }
    assert_eq!(judge.control.stats().total.started, 0);
}

/// `line` lets `a` begin and `b` go on.
async fn line() -> Site {
    let site = Site::open(calm()).await;
    site.admin.create_combo("line", "pipeline", &["a/m", "b/m", "a/m"]).await;
    site.a.control.always("ok text=the+draft prompt_tokens=10");
    site.b.control.always("ok text=the+review prompt_tokens=20");
    site
}

#[tokio::test]
async fn each_step_goes_on_from_the_one_before_and_the_last_one_is_streamed() {
    let site = line().await;
    site.a.control.script(["ok text=the+draft prompt_tokens=10", "ok text=the+end prompt_tokens=30"]);

    let answer = site.gateway.ask(&chat_with("line", &json!({"stream": true}))).await;

    assert_eq!(content(&answer.events()), "the end");
    let review = said_to(&site.b);
    assert!(review["messages"].to_string().contains("<result>\\nthe draft\\n</result>"), "{review}");
    let end = said_to(&site.a);
    assert!(end["messages"].to_string().contains("the review") && end["stream"] == true, "{end}");
    let (tried, record) = attempts(&site, &answer).await;
    let roles: Vec<_> = tried.iter().map(|one| one["role"].as_str().unwrap_or_default()).collect();
    assert_eq!(roles, ["step 1 of 3", "step 2 of 3", "step 3 of 3"]);
    assert_eq!((record.prompt_tokens, record.completion_tokens), (60, 6));
}

#[tokio::test]
async fn a_step_that_fails_ends_the_request_and_is_named() {
    let site = line().await;
    site.b.control.always("status code=500");

    let answer = site.gateway.ask(&chat_with("line", &json!({}))).await;

    assert_eq!(answer.status(), 502);
    let message = error_of(&answer)["message"].to_string();
    assert!(message.contains("step 2 of 3"), "{message}");
    let (tried, record) = attempts(&site, &answer).await;
    assert_eq!((tried.len(), record.prompt_tokens), (2, 10), "the first step is billed");
    assert_eq!(site.a.control.settled().await.total.started, 1);
}

#[tokio::test]
async fn a_step_has_the_fallbacks_of_its_own() {
    let site = line().await;
    site.admin.create_combo("safe", "priority", &["b/m", "a/other"]).await;
    site.admin.create_combo("sure", "pipeline", &["a/m", "safe"]).await;
    site.b.control.always("status code=500");

    let answer = site.gateway.ask(&chat_with("sure", &json!({}))).await;

    assert_eq!((answer.status(), text(&answer).as_str()), (200, "the draft"));
    assert_eq!(answer.header("x-omniroute-attempts"), Some("3"));
}

#[tokio::test]
async fn a_fallback_chain_answers_where_no_step_can() {
    let (site, judge) = panel(json!({})).await;
    site.a.control.always("status code=500");
    site.b.control.always("status code=500");
    let chain = json!({"model": "panel", "chain": [{"provider": "c", "model": "m"}]});
    site.admin.post("/api/fallback/chains", &chain).await;

    let answer = ask(&site, &json!({})).await;

    assert_eq!(text(&answer), "the verdict");
    let (tried, _) = attempts(&site, &answer).await;
    assert_eq!(tried.last().unwrap()["role"], "fallback chain");
    assert_eq!(judge.control.settled().await.total.started, 1);
}

#[tokio::test]
async fn the_stream_of_a_judge_goes_on_elsewhere_too() {
    let site = Site::open(calm()).await;
    let config = json!({"continuation": true});
    let combo = json!({"name": "both", "strategy": "fusion", "models": ["a/m", "b/m"], "config": config});
    site.admin.create_combo_with(&combo).await;
    let path = format!("/api/providers/{}", site.at_b.connections[0]);
    site.admin.patch(&path, &json!({"providerSpecificData": {"prefill": "assistant"}})).await;
    site.a.control.script(["ok text=alpha+says prompt_tokens=1", "rst_after n=2 text=one+verdict+follows"]);
    site.b.control.script(["ok text=beta+says prompt_tokens=2", "ok text=follows prompt_tokens=9"]);

    let answer = site.gateway.ask(&chat_with("both", &json!({"stream": true}))).await;

    assert_eq!(content(&answer.events()), "one verdict follows");
    let (tried, _) = attempts(&site, &answer).await;
    let roles: Vec<_> = tried.iter().map(|one| one["role"].as_str().unwrap_or_default()).collect();
    assert_eq!(roles, ["panel 1", "panel 2", "judge", "continuation"]);
}
