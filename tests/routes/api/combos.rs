//! `/api/combos*`.

use std::collections::HashMap;

use omniroute_testkit::http::Request;
use serde_json::{Value, json};

use crate::common::{KEY, Site, calm, chat};

async fn refused(site: &Site, body: &Value) -> String {
    let answer = site.admin.send(Request::post("/api/combos", body)).await;
    assert!([400, 409].contains(&answer.status()), "{body}: {} {}", answer.status(), answer.text());
    answer.text()
}

#[tokio::test]
async fn a_combo_is_made_read_changed_and_removed() {
    let site = Site::open(calm()).await;

    let id = site.admin.create_combo("fast", "round-robin", &["a/m", "b/m"]).await;
    let path = format!("/api/combos/{id}");
    let read = site.admin.get(&path).await;
    let listed = site.admin.get("/api/combos").await;
    let changed = site.admin.put(&path, &json!({"strategy": "random", "models": ["b/m"]})).await;
    let answer = site.gateway.ask(&chat("fast", false)).await;
    site.admin.delete(&path).await;
    let gone = site.gateway.ask(&chat("fast", false)).await;

    assert_eq!(
        (&read["name"], &read["strategy"], &changed["strategy"]),
        (&json!("fast"), &json!("round-robin"), &json!("random"))
    );
    assert!(listed["combos"].as_array().unwrap().iter().any(|combo| combo["id"] == id));
    assert_eq!(answer.header("x-omniroute-connection"), Some(site.at_b.connections[0].as_str()));
    assert_eq!((gone.status(), site.admin.send(Request::get(&path)).await.status()), (404, 404));
}

#[tokio::test]
async fn targets_that_lead_nowhere_circles_and_empty_lists_are_refused() {
    let site = Site::open(calm()).await;
    let to = |name: &str| json!({"kind": "combo-ref", "comboName": name});

    let empty = refused(&site, &json!({"name": "x", "models": []})).await;
    let unknown = refused(&site, &json!({"name": "x", "models": ["nobody/m"]})).await;
    let ghost = refused(&site, &json!({"name": "x", "models": [to("ghost")]})).await;
    let own = refused(&site, &json!({"name": "x", "models": [to("x")]})).await;
    let taken = refused(&site, &json!({"name": "team", "models": ["a/m"]})).await;
    let strategy = refused(&site, &json!({"name": "x", "strategy": "magic", "models": ["a/m"]})).await;
    site.admin.create_combo_with(&json!({"name": "one", "models": [to("team")]})).await;
    let team = site.admin.get("/api/combos").await["combos"].as_array().unwrap().clone();
    let team = team.iter().find(|combo| combo["name"] == "team").unwrap()["id"].as_str().unwrap().to_owned();
    let circle = site
        .admin
        .send(Request::new("PUT", &format!("/api/combos/{team}")).json(&json!({"models": [to("one")]})))
        .await;

    assert!(empty.contains("models") && unknown.contains("nobody") && ghost.contains("ghost"), "{unknown} {ghost}");
    assert!(own.contains("circle") && circle.status() == 400 && circle.text().contains("circle"), "{}", circle.text());
    assert!(taken.to_lowercase().contains("exists"), "{taken}");
    assert!(strategy.contains("round-robin"), "the answer names what there is: {strategy}");
    assert_eq!(site.gateway.ask(&chat("team", false)).await.status(), 200, "nothing changed");
}

#[tokio::test]
async fn a_combo_that_another_one_needs_is_not_removed() {
    let site = Site::open(calm()).await;
    let inner = site.admin.create_combo("inner", "priority", &["a/m"]).await;
    site.admin
        .create_combo_with(&json!({"name": "outer", "models": [{"kind": "combo-ref", "comboName": "inner"}]}))
        .await;

    let answer = site.admin.send(Request::new("DELETE", &format!("/api/combos/{inner}"))).await;

    assert!([400, 409].contains(&answer.status()) && answer.text().contains("outer"), "{}", answer.text());
    assert_eq!(site.gateway.ask(&chat("outer", false)).await.status(), 200);
}

/// How often each of the two upstreams served a combo of this strategy.
async fn shares(site: &Site, combo: Value, calls: u64) -> (u64, u64) {
    site.admin.create_combo_with(&combo).await;
    site.a.control.reset();
    site.b.control.reset();
    for _ in 0..calls {
        assert_eq!(site.gateway.ask(&chat(combo["name"].as_str().unwrap(), false)).await.status(), 200);
    }
    (site.a.control.settled().await.total.answered, site.b.control.settled().await.total.answered)
}

#[tokio::test]
async fn each_strategy_shares_the_calls_in_its_way() {
    let site = Site::open(calm()).await;
    let of = |strategy: &str| json!({"name": strategy, "strategy": strategy, "models": ["a/m", "b/m"]});
    let weighted = json!({"name": "weighted", "strategy": "weighted",
        "models": [{"model": "a/m", "weight": 100}, {"model": "b/m", "weight": 0}]});

    let mut found = HashMap::new();
    for strategy in ["priority", "round-robin", "random"] {
        found.insert(strategy, shares(&site, of(strategy), 40).await);
    }
    let by_weight = shares(&site, weighted, 10).await;

    assert_eq!((found["priority"], by_weight), ((40, 0), (10, 0)));
    // Each worker hosts a router of its own, but the cursor is the combo's.
    assert_eq!(found["round-robin"], (20, 20));
    let (a, b) = found["random"];
    assert!(a > 0 && b > 0 && a + b == 40, "{a} and {b}");
}

#[tokio::test]
async fn p2c_prefers_the_faster_of_two() {
    // One conversation would stay where it is.
    let site = Site::open(calm().set("routing.affinity", "false")).await;
    site.admin.create_combo("quick", "p2c", &["a/m", "b/m"]).await;
    site.a.control.always("ok first_delay_ms=60");

    for _ in 0..30 {
        assert_eq!(site.gateway.ask(&chat("quick", false)).await.status(), 200);
    }

    let (a, b) = (site.a.control.settled().await.total.answered, site.b.control.settled().await.total.answered);
    assert!(b > 2 * a && a + b == 30, "{a} slow and {b} fast");
}

#[tokio::test]
async fn a_combo_has_instructions_and_tools_of_its_own() {
    let site = Site::open(calm()).await;
    let combo =
        json!({"name": "strict", "models": ["a/m"], "system_message": "Be brief.", "tool_filter_regex": "^read_"});
    site.admin.create_combo_with(&combo).await;
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}});
    let body = json!({
        "model": "strict", "tools": [tool("read_file"), tool("write_file")],
        "messages": [{"role": "system", "content": "Be long."}, {"role": "user", "content": "hello"}],
    });

    for stream in [false, true] {
        let mut body = body.clone();
        body["stream"] = json!(stream);
        let answer = site.gateway.ask(&Request::post("/v1/chat/completions", &body).key(KEY)).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }

    for asked in site.a.control.requests() {
        let sent: Value = serde_json::from_str(&asked.body).unwrap();
        assert_eq!(sent["messages"][0], json!({"role": "system", "content": "Be brief."}), "{sent}");
        assert_eq!(
            (sent["messages"].as_array().unwrap().len(), sent["tools"].as_array().unwrap().len()),
            (2, 1),
            "{sent}"
        );
        assert_eq!(sent["tools"][0]["function"]["name"], "read_file");
    }
}

#[tokio::test]
async fn what_is_kept_without_effect_is_said() {
    let site = Site::open(calm()).await;
    let config = json!({"continuation": true, "evalRouting": true, "judgeModel": "a/m", "maxRetries": 1});

    let made =
        site.admin.send(Request::post("/api/combos", &json!({"name": "x", "models": ["a/m"], "config": config}))).await;

    let told = |code: &str| {
        let warnings = made.json()["warnings"].as_array().cloned().unwrap_or_default();
        let found = warnings.iter().find(|warning| warning["code"] == code).cloned();
        found.and_then(|warning| warning["message"].as_str().map(str::to_owned)).unwrap_or_default()
    };
    assert_eq!(made.status(), 201, "{}", made.text());
    assert!(told("SETTING_WITHOUT_EFFECT").ends_with(": evalRouting"), "{}", made.text());
    assert!(told("SETTING_OF_ANOTHER_STRATEGY").ends_with("judgeModel (under fusion)"), "{}", made.text());
}

#[tokio::test]
async fn what_asks_all_of_its_steps_is_checked_when_it_is_stored_and_explained() {
    let site = Site::open(calm()).await;
    let config = json!({"judgeModel": "b/judge", "fusionTuning": {"minAnswers": 2}});
    let fusion = json!({"name": "f", "strategy": "fusion", "models": ["a/m", "b/m"], "config": config});
    site.admin.create_combo_with(&fusion).await;

    let ghost = json!({"name": "x", "strategy": "fusion", "models": ["a/m"], "config": {"judgeModel": "no/x"}});
    let lost = refused(&site, &ghost).await;
    let nested = refused(&site, &json!({"name": "y", "models": ["f"]})).await;
    let explained = site.admin.post("/api/explain", &json!({"model": "f"})).await;
    let tested = site.admin.post("/api/combos/test", &json!({"comboName": "f"})).await;

    assert!(lost.contains("config.judgeModel"), "{lost}");
    assert!(nested.contains("cannot be a step itself"), "{nested}");
    assert_eq!(explained["ensemble"]["judgeModel"], "b/judge");
    assert_eq!(explained["candidates"][1]["why"], "panel");
    assert_eq!((&tested["judge"]["status"], &tested["ensemble"]["minAnswers"]), (&json!("ok"), &json!(2)), "{tested}");
    let team = site.admin.get("/api/combos").await;
    let row = team["combos"].as_array().and_then(|all| all.iter().find(|combo| combo["name"] == "team").cloned());
    let path = format!("/api/combos/{}", row.expect("team")["id"].as_str().unwrap());
    site.admin.put(&path, &json!({"models": ["a/m"]})).await;
    site.admin.create_combo("above", "priority", &["team"]).await;
    let turned = site.admin.send(Request::new("PUT", &path).json(&json!({"strategy": "pipeline"}))).await;
    assert_eq!(turned.status(), 400, "{}", turned.text());
}
