//! `POST /api/config/reload`.

use omniroute_testkit::http::Request;
use serde_json::{Value, json};

use crate::common::{Site, calm};

fn keys(answer: &Value, member: &str) -> Vec<String> {
    let list = answer[member].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|key| key.as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_reload_tells_what_is_in_force_and_what_waits_for_a_restart() {
    let site = Site::open(calm().config_file("[deadlines]\ntotal_ms = 600000\n")).await;

    site.gateway.rewrite_config("[deadlines]\ntotal_ms = 500000\n[usage]\nfsync_ms = 7\n");
    let answer = site.admin.post("/api/config/reload", &json!({})).await;
    let again = site.admin.post("/api/config/reload", &json!({})).await;

    assert_eq!(keys(&answer, "applied"), ["deadlines.total_ms"], "{answer}");
    assert_eq!(keys(&answer, "needsRestart"), ["usage.fsync_ms"], "{answer}");
    assert!(keys(&again, "applied").is_empty() && keys(&again, "needsRestart") == ["usage.fsync_ms"], "{again}");
}

#[tokio::test]
async fn an_invalid_file_is_refused_with_its_problems_and_the_old_one_stays() {
    let site = Site::open(calm().config_file("[deadlines]\ntotal_ms = 600000\n")).await;

    site.gateway.rewrite_config("[deadlines]\ntotal_ms = 10\nidel_ms = 5\n");
    let answer = site.admin.send(Request::post("/api/config/reload", &json!({}))).await;
    site.a.control.always("ok first_delay_ms=100");

    assert_eq!(answer.status(), 400, "{}", answer.text());
    assert!(answer.text().contains("idel_ms") && answer.text().contains("idle_ms"), "{}", answer.text());
    assert_eq!(site.ask(false).await.status(), 200);
}
