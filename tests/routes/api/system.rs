//! `/api/restart`, `/api/shutdown` and the command that proves the audit log, with the built program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use omniroute_testkit::http::{self, Request, content};
use serde_json::{Value, json};

use crate::common::{End, PATIENCE, Site, calm, chat, end_of, eventually, soon};

/// Ask one call after the other, each on a connection of its own, until told to stop; the answers that were not right.
async fn hammer(addr: std::net::SocketAddr, stop: Arc<AtomicBool>) -> (u32, Vec<String>) {
    let (mut asked, mut wrong) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        asked += 1;
        match http::request(addr, &chat("b/m", false)).await {
            Ok(answer) if answer.status() == 200 => {}
            Ok(answer) => wrong.push(format!("{} {}", answer.status(), answer.text())),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    (asked, wrong)
}

#[tokio::test]
async fn a_restart_under_load_loses_no_call_and_no_stream_and_keeps_the_process() {
    let mut site = Site::open(calm()).await;
    site.a.control.always("ok tokens=20 delay_ms=50");
    let pid = site.gateway.pid();
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4).map(|_| tokio::spawn(hammer(site.gateway.addr, stop.clone()))).collect();
    let mut stream = site.gateway.stream(&chat("a/m", true)).await;
    stream.read_until("tok0").await.unwrap();

    let answer = site.admin.send(Request::post("/api/restart", &json!({}))).await;
    let again = eventually(PATIENCE * 2, async || site.gateway.log().contains("good bye").then_some(()));
    let tail = stream.rest().await;
    again.await.unwrap_or_else(|| panic!("the first start never ended:\n{}", site.gateway.log()));
    stop.store(true, Ordering::Relaxed);

    assert_eq!((answer.status(), answer.json()["status"].clone()), (202, json!("restarting")));
    assert_eq!(end_of(&tail), End::Whole, "{}", tail.text);
    assert!(content(&tail.events()).ends_with("tok19"));
    for worker in load {
        let (asked, wrong) = worker.await.unwrap();
        assert!(asked > 0 && wrong.is_empty(), "{wrong:?} of {asked}");
    }
    assert!(site.gateway.is_running() && site.gateway.pid() == pid);
    // The session is in the store, and what was written before is still there.
    let log = site.admin.get("/api/compliance/audit-log?action=system.restart").await;
    assert_eq!(log.as_array().unwrap().len(), 1);
    assert_eq!(site.admin.get("/api/compliance/audit-log/verify").await["ok"], true);
}

#[tokio::test]
async fn a_restart_puts_in_force_what_a_reload_cannot_and_a_bad_configuration_changes_nothing() {
    let text = "[backups]\ndir = \"first\"\n";
    let site = Site::open(calm().config_file(text)).await;

    site.gateway.rewrite_config("[backups]\ndirr = \"misspelt\"\n");
    let refused = site.admin.send(Request::post("/api/restart", &json!({}))).await;
    site.gateway.rewrite_config("[backups]\ndir = \"second\"\n");
    site.admin.send(Request::post("/api/restart", &json!({}))).await;
    let ended = eventually(PATIENCE, async || site.gateway.log().contains("good bye").then_some(())).await;

    assert_eq!(refused.status(), 409, "{}", refused.text());
    assert!(ended.is_some() && site.ask_team(false).await.status() == 200);
}

#[tokio::test]
async fn a_shutdown_is_answered_drained_and_written_down() {
    let mut site = Site::open(calm()).await;
    site.a.control.always("ok tokens=10 delay_ms=50");
    let mut stream = site.gateway.stream(&chat("a/m", true)).await;
    stream.read_until("tok0").await.unwrap();

    let answer = site.admin.send(Request::post("/api/shutdown", &json!({}))).await;
    let tail = stream.rest().await;
    let status = soon("the end", site.gateway.ended(PATIENCE)).await;

    assert_eq!((answer.status(), answer.json()["success"].clone()), (202, Value::Bool(true)));
    assert_eq!((end_of(&tail), status.code()), (End::Whole, Some(0)));
    site.gateway.start_again().await;
    let admin = site.gateway.admin().await;
    let log = admin.get("/api/compliance/audit-log?action=system.shutdown").await;
    assert_eq!(log[0]["actor"], "admin");
}
