//! `/api/evals` and `/api/assess`: models are tried through the gateway itself, in the background, by somebody's rights.

use omniroute_testkit::http::{Request, Response};
use omniroute_testkit::mock::MockUpstream;
use serde_json::{Value, json};

use crate::common::database::usage;
use crate::common::postgres::Postgres;
use crate::common::{PATIENCE, Site, calm, eventually};

/// A question that the mock answers with this text.
fn question(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": format!("[[fault:ok text={text}]]")}], "max_tokens": 50})
}

fn case(id: &str, answer: &str, expected: Value) -> Value {
    json!({"id": id, "name": format!("case {id}"), "input": question(answer), "expected": expected})
}

/// One case of each strategy that needs no judge, and one that fails.
fn suite() -> Value {
    json!({"id": "mine", "name": "Mine", "description": "all strategies", "cases": [
        case("contains", "It+is+PARIS", json!({"strategy": "contains", "value": "Paris"})),
        case("exact", "42", json!({"strategy": "exact", "value": "42"})),
        case("regex", "call+555-0100", json!({"strategy": "regex", "value": r"\d{3}-\d{4}"})),
        case("schema", "7", json!({"strategy": "json_schema", "value": {"type": "integer"}})),
        case("wrong", "Rome", json!({"strategy": "contains", "value": "Paris"})),
    ]})
}

fn one_case(expected: Value) -> Value {
    json!({"id": "one", "name": "One", "cases": [{
        "id": "c", "name": "c", "expected": expected,
        "input": {"messages": [{"role": "user", "content": "say something kind"}]},
    }]})
}

fn on(model: &str) -> Value {
    json!({"suiteId": "mine", "target": {"type": "model", "id": model}})
}

async fn post(site: &Site, path: &str, body: &Value) -> Response {
    site.admin.send(Request::post(path, body)).await
}

async fn create(site: &Site, suite: &Value) {
    let created = post(site, "/api/evals/suites", suite).await;
    assert_eq!(created.status(), 201, "{}", created.text());
}

/// A site with the suite.
async fn site_with(suite: &Value) -> Site {
    let site = Site::open(calm()).await;
    create(&site, suite).await;
    site
}

/// Begin a run that nobody waits for; its id.
async fn begin(site: &Site, body: &Value) -> String {
    let mut body = body.clone();
    body["background"] = json!(true);
    let begun = post(site, "/api/evals", &body).await;
    assert_eq!(begun.status(), 202, "{}", begun.text());
    begun.json()["runs"][0]["id"].as_str().unwrap().to_owned()
}

/// The run once it is in this state.
async fn becomes(site: &Site, id: &str, status: &str) -> Value {
    let mut last = Value::Null;
    let reached = eventually(PATIENCE * 2, async || {
        last = site.admin.get(&format!("/api/evals/runs/{id}")).await["run"].clone();
        (last["status"] == status).then(|| last.clone())
    });
    match reached.await {
        Some(run) => run,
        None => panic!("never {status}: {last}; the log:\n{}", site.gateway.log()),
    }
}

async fn reaches(mock: &MockUpstream, count: u64) {
    assert!(mock.control.wait_until(PATIENCE, |stats| stats.total.started >= count).await, "nothing was asked");
}

async fn a_suite_is_run_and_scored(site: &Site) {
    create(site, &suite()).await;

    let answer = post(site, "/api/evals", &on("a/m")).await;

    let body = answer.json();
    assert_eq!(answer.status(), 200, "{body}");
    let run = &body["runs"][0];
    assert_eq!((&run["status"], &run["progress"]), (&json!("done"), &json!({"done": 5, "total": 5})), "{run}");
    let summary = &run["summary"];
    assert_eq!((&summary["passed"], &summary["failed"], &summary["errors"]), (&json!(4), &json!(1), &json!(0)));
    assert_eq!((&summary["passRate"], &summary["total"]), (&json!(80.0), &json!(5)));
    assert_eq!(summary["promptTokens"], json!(50));
    let results = run["results"].as_array().unwrap();
    let fates: Vec<_> = results.iter().map(|result| (result["caseId"].clone(), result["passed"].clone())).collect();
    let expected = [("contains", true), ("exact", true), ("regex", true), ("schema", true), ("wrong", false)];
    assert_eq!(fates, expected.map(|(id, passed)| (json!(id), json!(passed))));
    assert_eq!((&results[4]["output"], &results[4]["error"]), (&json!("Rome"), &Value::Null));
    assert_eq!((&body["runGroupId"], &body["scorecard"]["overallPassRate"]), (&Value::Null, &json!(80.0)));
    let overview = site.admin.get("/api/evals").await;
    assert_eq!((&overview["recentRuns"][0]["id"], &overview["recentRuns"][0]["results"]), (&run["id"], &json!([])));
    let ids: Vec<_> = overview["suites"].as_array().unwrap().iter().map(|suite| suite["id"].clone()).collect();
    assert_eq!(ids, ["basics", "structure", "mine"].map(|id| json!(id)));
}

#[tokio::test]
async fn a_suite_is_run_through_the_gateway_and_scored() {
    a_suite_is_run_and_scored(&Site::open(calm()).await).await;
}

#[tokio::test]
async fn a_suite_is_run_and_scored_on_postgres_too() {
    let Some(server) = Postgres::start().await else { return };
    let shared = calm().env("DATABASE_URL", &server.url()).set("storage.master_key", &"0123456789abcdef".repeat(4));

    a_suite_is_run_and_scored(&Site::open(shared).await).await;
}

#[tokio::test]
async fn two_targets_are_compared_case_by_case() {
    let site = site_with(&one_case(json!({"strategy": "contains", "value": "friend"}))).await;
    site.a.control.always("ok text=hello+friend");
    site.b.control.always("ok text=go+away");

    let body = json!({"suiteId": "one", "target": {"type": "combo", "id": "team"}, "compareTarget": {"type": "model", "id": "b/m"}});
    let answer = post(&site, "/api/evals", &body).await.json();

    let (first, second) = (&answer["runs"][0], &answer["runs"][1]);
    assert_eq!((&first["target"]["id"], &second["target"]["id"]), (&json!("team"), &json!("b/m")), "{answer}");
    assert_eq!((&first["summary"]["passed"], &second["summary"]["passed"]), (&json!(1), &json!(0)));
    let comparison = &answer["comparison"];
    assert_eq!(comparison["best"]["passRate"], first["id"]);
    assert_eq!(comparison["cases"][0]["runs"][1]["status"], json!("failed"));
    let group = answer["runGroupId"].as_str().unwrap();
    let again = site.admin.get(&format!("/api/evals/groups/{group}")).await;
    assert_eq!(&again["comparison"], comparison);
}

#[tokio::test]
async fn a_judge_decides_and_one_that_says_nonsense_makes_an_error_and_no_failure() {
    let judged = json!({"strategy": "judge", "value": "is kind", "judgeModel": "b/judge"});
    let site = site_with(&one_case(judged)).await;
    site.a.control.always("ok text=hello+friend");
    let body = json!({"suiteId": "one", "target": {"type": "model", "id": "a/m"}});

    site.b.control.script(["ok text={\"pass\":true,\"reason\":\"kind\"}"]);
    let kind = post(&site, "/api/evals", &body).await.json()["runs"][0].clone();
    site.b.control.script(["ok text=looks+fine+to+me"]);
    let nonsense = post(&site, "/api/evals", &body).await.json()["runs"][0].clone();
    site.b.control.always("status code=400");
    let away = post(&site, "/api/evals", &body).await.json()["runs"][0].clone();

    assert_eq!((&kind["summary"]["passed"], &kind["results"][0]["judge"]["model"]), (&json!(1), &json!("b/judge")));
    for run in [&nonsense, &away] {
        let summary = &run["summary"];
        assert_eq!((&summary["errors"], &summary["failed"], &summary["passed"]), (&json!(1), &json!(0), &json!(0)));
        assert!(run["results"][0]["error"].as_str().unwrap().starts_with("the judge did not answer"), "{run}");
    }
}

#[tokio::test]
async fn a_run_has_the_rights_of_its_key_and_is_booked_under_it() {
    let site = site_with(&suite()).await;
    let key = site.admin.create_key_with(&json!({"name": "narrow", "allowedModels": ["a/*"]})).await;
    let mut allowed = on("a/m");
    allowed["apiKeyId"] = json!(key.id);
    let mut forbidden = on("b/m");
    forbidden["apiKeyId"] = json!(key.id);

    let good = post(&site, "/api/evals", &allowed).await.json()["runs"][0].clone();
    let bad = post(&site, "/api/evals", &forbidden).await.json()["runs"][0].clone();

    assert_eq!((&good["summary"]["passed"], &bad["summary"]["errors"]), (&json!(4), &json!(5)), "{bad}");
    assert!(bad["results"][0]["error"].as_str().unwrap().contains("may not use model"), "{bad}");
    let booked =
        eventually(PATIENCE, async || Some(usage(&site.gateway.data_dir)).filter(|rows| rows.len() == 5)).await;
    assert!(booked.is_some_and(|rows| rows.iter().all(|row| row.outcome == "success" && row.prompt_tokens == 10)));
    let ghost = post(&site, "/api/evals", &json!({"suiteId": "mine", "apiKeyId": "ghost"})).await;
    assert_eq!((ghost.status(), &ghost.json()["error"]["details"][0]["field"]), (400, &json!("apiKeyId")));
}

#[tokio::test]
async fn a_run_in_the_background_shows_how_far_it_is_and_can_be_cancelled() {
    let mut stuck = suite();
    stuck["cases"][4]["input"] = json!({"messages": [{"role": "user", "content": "[[fault:hang_before_head]]"}]});
    let site = site_with(&stuck).await;

    let id = begin(&site, &on("a/m")).await;
    reaches(&site.a, 5).await;
    let path = format!("/api/evals/runs/{id}");
    let far = eventually(PATIENCE, async || {
        Some(site.admin.get(&path).await["run"].clone()).filter(|run| run["progress"]["done"] == 4)
    });
    assert_eq!(far.await.expect("four cases have their results")["status"], json!("running"));
    let kept = site.admin.send(Request::new("DELETE", &path)).await;
    let cancelled = site.admin.post(&format!("{path}/cancel"), &json!({})).await;

    assert_eq!((kept.status(), &cancelled["run"]["status"]), (409, &json!("cancelled")));
    assert!(site.a.control.wait_until(PATIENCE, |stats| !stats.cancels_us.is_empty()).await, "upstream goes on");
    let after = becomes(&site, &id, "cancelled").await;
    assert_eq!(after["results"].as_array().unwrap().len(), 4, "{after}");
    let gone = eventually(PATIENCE, async || (site.admin.delete(&path).await["success"] == true).then_some(())).await;
    assert!(gone.is_some());
    assert_eq!(site.admin.send(Request::get(&path)).await.status(), 404);
}

#[tokio::test]
async fn runs_wait_for_their_turn_and_too_many_are_refused() {
    let builder = calm().set("evals.max_running", "1").set("evals.max_queued", "2");
    let site = Site::open(builder).await;
    create(&site, &one_case(json!({"strategy": "contains", "value": "x"}))).await;
    site.a.control.always("hang_before_head");
    let body = json!({"suiteId": "one", "target": {"type": "model", "id": "a/m"}});

    let first = begin(&site, &body).await;
    becomes(&site, &first, "running").await;
    let second = begin(&site, &body).await;
    let third = post(&site, "/api/evals", &body).await;

    assert_eq!((third.status(), third.header("retry-after").is_some()), (429, true), "{}", third.text());
    becomes(&site, &second, "queued").await;
    site.admin.post(&format!("/api/evals/runs/{first}/cancel"), &json!({})).await;
    becomes(&site, &second, "running").await;
}

#[tokio::test]
async fn a_run_whose_key_is_gone_before_its_turn_has_failed_and_says_why() {
    let site = Site::open(calm().set("evals.max_running", "1")).await;
    create(&site, &one_case(json!({"strategy": "contains", "value": "x"}))).await;
    site.a.control.always("hang_before_head");
    let key = site.admin.create_key("short-lived").await;
    let mut body = json!({"suiteId": "one", "target": {"type": "model", "id": "a/m"}});
    let first = begin(&site, &body).await;
    becomes(&site, &first, "running").await;
    body["apiKeyId"] = json!(key.id);
    let second = begin(&site, &body).await;

    site.admin.put(&format!("/api/keys/{}", key.id), &json!({"isActive": false})).await;
    site.admin.post(&format!("/api/evals/runs/{first}/cancel"), &json!({})).await;

    let failed = becomes(&site, &second, "failed").await;
    assert_eq!((&failed["error"], &failed["progress"]["done"]), (&json!("the key cannot be used any more"), &json!(0)));
}

#[tokio::test]
async fn after_a_crash_a_run_is_interrupted_and_keeps_what_it_found_out() {
    let mut stuck = suite();
    stuck["cases"][4]["input"] = json!({"messages": [{"role": "user", "content": "[[fault:hang_before_head]]"}]});
    let mut site = site_with(&stuck).await;
    let id = begin(&site, &on("a/m")).await;
    let path = format!("/api/evals/runs/{id}");
    let far = eventually(PATIENCE, async || {
        Some(site.admin.get(&path).await["run"].clone()).filter(|run| run["progress"]["done"] == 4)
    });
    assert!(far.await.is_some());

    site.gateway.kill_and_restart().await;

    let run = becomes(&site, &id, "interrupted").await;
    assert_eq!((run["results"].as_array().unwrap().len(), run["finishedAt"].is_string()), (4, true), "{run}");
}

#[tokio::test]
async fn after_a_restart_in_place_a_run_goes_on_with_what_it_found_out() {
    let mut open = suite();
    open["cases"][4]["input"] = json!({"messages": [{"role": "user", "content": "the capital of France?"}]});
    let site = site_with(&open).await;
    site.a.control.always("hang_before_head");
    let id = begin(&site, &on("a/m")).await;
    let path = format!("/api/evals/runs/{id}");
    let far = eventually(PATIENCE, async || {
        Some(site.admin.get(&path).await["run"].clone()).filter(|run| run["progress"]["done"] == 4)
    });
    assert!(far.await.is_some());

    site.a.control.always("ok text=Paris");
    let restarted = post(&site, "/api/restart", &json!({})).await;
    let run = becomes(&site, &id, "done").await;

    assert_eq!(restarted.status(), 202, "{}", restarted.text());
    let passed: Vec<_> = run["results"].as_array().unwrap().iter().map(|result| result["passed"].clone()).collect();
    assert_eq!((passed, &run["progress"]["done"]), (vec![json!(true); 5], &json!(5)), "{run}");
    assert_eq!(site.a.control.requests().len(), 6, "only the case that was under way is asked again");
}

#[tokio::test]
async fn outputs_that_are_given_are_scored_and_nobody_is_asked() {
    let site = site_with(&suite()).await;

    let outputs = json!({"contains": "paris", "exact": "41", "regex": "555-0100", "schema": "9"});
    let score = post(&site, "/api/evals", &json!({"suiteId": "mine", "outputs": outputs})).await;

    let body = score.json();
    assert_eq!(score.status(), 200, "{body}");
    let summary = &body["summary"];
    assert_eq!((&summary["passed"], &summary["failed"], &summary["errors"]), (&json!(3), &json!(1), &json!(1)));
    assert_eq!(site.a.control.stats().total.started + site.b.control.stats().total.started, 0);
}

#[tokio::test]
async fn a_suite_is_checked_changed_and_removed() {
    let site = site_with(&suite()).await;
    let broken = json!({"name": "x", "cases": [
        {"name": "a", "input": {"messages": []}, "expected": {"strategy": "regex", "value": "("}},
        {"name": "b", "input": question("x"), "expected": {"strategy": "json_schema", "value": {"$ref": "http://127.0.0.1/x"}}},
        {"name": "c", "input": question("x"), "expected": {"strategy": "judge", "value": "nice"}},
        {"input": question("x"), "expected": {"strategy": "guess", "value": "x"}, "tgas": []},
    ]});

    let refused = post(&site, "/api/evals/suites", &broken).await.json();
    let again = post(&site, "/api/evals/suites", &suite()).await;
    let builtin = site.admin.send(Request::new("DELETE", "/api/evals/suites/basics")).await;
    let renamed = site.admin.put("/api/evals/suites/mine", &json!({"name": "Other"})).await;
    let bare = site.admin.get("/api/evals/mine").await;
    site.admin.delete("/api/evals/suites/mine").await;
    let missing = site.admin.send(Request::get("/api/evals/mine")).await;

    let details = refused["error"]["details"].as_array().unwrap().clone();
    let fields: Vec<_> = details.iter().filter_map(|detail| detail["field"].as_str()).collect();
    let expected = [
        "cases.0.input.messages",
        "cases.0.expected.value",
        "cases.1.expected.value",
        "cases.2.expected.judgeModel",
        "cases.3.name",
        "cases.3.expected.strategy",
        "cases.3.tgas",
    ];
    assert_eq!(fields, expected, "{refused}");
    assert_eq!((again.status(), builtin.status()), (409, 409));
    assert_eq!((&renamed["suite"]["name"], &bare["cases"][4]["id"]), (&json!("Other"), &json!("wrong")));
    assert_eq!((missing.status(), missing.json()["error"]["message"].clone()), (404, json!("Suite not found: mine")));
}

#[tokio::test]
async fn an_assessment_tells_which_models_answer() {
    let site = Site::open(calm()).await;
    for (upstream, model) in [(&site.at_a, "good"), (&site.at_b, "bad")] {
        let path = format!("/api/providers/{}", upstream.connections[0]);
        site.admin.put(&path, &json!({"defaultModel": model})).await;
    }
    site.b.control.always("status code=401");

    let done = site.admin.post("/api/assess", &json!({"scope": {"type": "all"}, "trigger": "on_demand"})).await;
    let all = site.admin.get("/api/assess?action=results").await;
    let working = site.admin.get("/api/assess?action=working").await;
    let help = site.admin.get("/api/assess").await;
    let health = site.admin.get("/api/assess?action=combo-health").await;

    assert_eq!((&done["status"], &done["models_tested"]), (&json!("completed"), &json!(2)), "{done}");
    assert_eq!((&done["models_passed"], &done["models_failed"]), (&json!(1), &json!(1)));
    let mut statuses: Vec<_> = all["models"].as_array().unwrap().iter().map(|row| row["status"].clone()).collect();
    statuses.sort_by_key(ToString::to_string);
    assert_eq!(statuses, [json!("auth_error"), json!("working")]);
    assert_eq!((&working["models"][0]["modelId"], working["models"].as_array().unwrap().len()), (&json!("good"), 1));
    assert!(help["actions"].is_object() && health["combos"][0]["name"] == "team", "{health}");
    let unknown = site.admin.send(Request::get("/api/assess?action=guess")).await;
    let nobody = post(&site, "/api/assess", &json!({"scope": {"type": "provider", "providerId": "ghost"}})).await;
    assert_eq!((unknown.status(), nobody.status()), (400, 404));
}
