//! `/api/db-backups*`: a copy made, taken away, brought back, while requests run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use omniroute_testkit::http::{self, Request};
use serde_json::{Value, json};

use crate::common::postgres::Postgres;
use crate::common::{KEY, Site, calm, chat};

fn upload(path: &str, name: &str, bytes: &[u8]) -> Request {
    let boundary = "xXx";
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(bytes);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let kind = format!("multipart/form-data; boundary={boundary}");
    Request::new("POST", path).header("content-type", &kind).header("sec-fetch-site", "same-origin").body(body)
}

async fn names(site: &Site) -> Vec<String> {
    let listed = site.admin.get("/api/combos").await;
    let mut names: Vec<_> =
        listed["combos"].as_array().unwrap().iter().map(|combo| combo["name"].to_string()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_is_there_again_after_a_restore_and_no_request_fails_meanwhile() {
    let site = Site::open(calm()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (addr, ends) = (site.gateway.addr, Arc::clone(&stop));
    let load = tokio::spawn(async move {
        let mut statuses = Vec::new();
        while !ends.load(Ordering::Relaxed) {
            statuses.push(http::request(addr, &chat("a/m", false)).await.expect("an answer").status());
        }
        statuses
    });

    let made = site.admin.put("/api/db-backups", &json!({})).await;
    let before = names(&site).await;
    site.admin.create_combo("later", "priority", &["a/m"]).await;
    let restored = site.admin.post("/api/db-backups", &json!({"backupId": made["filename"]})).await;
    let after = names(&site).await;
    stop.store(true, Ordering::Relaxed);
    let statuses = load.await.unwrap();

    assert_eq!((restored["restored"].clone(), restored["comboCount"].clone()), (json!(true), json!(1)));
    assert_eq!(before, after);
    assert!(statuses.len() > 5 && statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let reasons: Vec<_> = site.admin.get("/api/db-backups").await["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|backup| backup["reason"].clone())
        .collect();
    assert_eq!(reasons, ["pre-restore", "manual"], "what was there before the restore is kept");
}

#[tokio::test]
async fn an_exported_database_can_be_imported_and_leaves_passwords_and_keys_as_they_are() {
    let site = Site::open(calm()).await;
    let exported = site.admin.send(Request::get("/api/db-backups/export")).await;
    let key = site.admin.create_key("later").await.key;
    site.admin.create_combo("later", "priority", &["a/m"]).await;

    let answer = site.admin.send(upload("/api/db-backups/import", "omniroute.sqlite", &exported.body)).await;

    assert_eq!(exported.header("content-type"), Some("application/octet-stream"));
    assert!(exported.header("content-disposition").unwrap().contains(".sqlite\""));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!((answer.json()["imported"].clone(), answer.json()["connectionCount"].clone()), (json!(true), json!(2)));
    assert_eq!(names(&site).await, ["\"team\""]);
    assert_eq!(site.gateway.ask(&Request::chat("a/m", "x", false).key(&key)).await.status(), 200, "the key lives");
    assert_eq!(site.ask(false).await.status(), 200);
}

#[tokio::test]
async fn keys_come_back_only_when_that_is_asked_for() {
    let site = Site::open(calm()).await;
    let exported = site.admin.send(Request::get("/api/db-backups/export")).await;
    let key = site.admin.create_key("later").await.key;

    let path = "/api/db-backups/import?includeAccess=true";
    let answer = site.admin.send(upload(path, "omniroute.sqlite", &exported.body)).await;

    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(site.gateway.ask(&Request::chat("a/m", "x", false).key(&key)).await.status(), 401);
}

#[tokio::test]
async fn what_is_no_database_of_this_gateway_is_refused_and_changes_nothing() {
    let site = Site::open(calm().set("backups.max_import_bytes", "1000000")).await;
    let exported = site.admin.send(Request::get("/api/db-backups/export")).await.body;
    let mut damaged = exported.to_vec();
    damaged[4096..8192].fill(0x5a);
    let large = vec![0; 1_100_000];

    for (what, name, bytes, status) in [
        ("text", "x.sqlite", &b"no database".repeat(1_000)[..], 400),
        ("too small", "x.sqlite", b"SQLite format 3\0", 400),
        ("another name", "x.txt", &exported[..], 400),
        ("damaged", "x.sqlite", &damaged[..], 400),
        ("too large", "x.sqlite", &large[..], 413),
    ] {
        let answer = site.admin.send(upload("/api/db-backups/import", name, bytes)).await;
        assert_eq!(answer.status(), status, "{what}: {}", answer.text());
    }
    assert_eq!(site.ask(false).await.status(), 200);
    let left: Vec<_> = std::fs::read_dir(site.gateway.data_dir.join("backups")).unwrap().flatten().collect();
    assert!(left.is_empty(), "nothing of them stays: {left:?}");
}

#[tokio::test]
async fn the_full_archive_holds_everything_readable_and_no_secret() {
    let site = Site::open(calm()).await;
    site.ask(false).await;

    let answer = site.admin.send(Request::get("/api/db-backups/exportAll")).await;

    assert_eq!((answer.status(), answer.header("content-type")), (200, Some("application/gzip")));
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&answer.body[..]));
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        for secret in ["sk-a", KEY, "password"] {
            let is_there = bytes.windows(secret.len() + 2).any(|window| window == format!("\"{secret}\"").as_bytes());
            assert!(!is_there, "{secret} in {:?}", entry.path());
        }
        found.push(entry.path().unwrap().display().to_string());
    }
    let expected =
        ["settings.json", "combos.json", "nodes.json", "providers.json", "api-keys.json", "call_logs/usage.jsonl"];
    assert!(expected.iter().all(|name| found.iter().any(|there| there == name)), "{found:?}");
    assert!(found.contains(&"storage.sqlite".to_owned()) && found.contains(&"metadata.json".to_owned()), "{found:?}");
}

#[tokio::test]
async fn on_a_server_the_forms_of_a_file_name_its_own_tools_and_the_archive_still_comes() {
    let Some(database) = Postgres::start().await else { return };
    let shared = calm().env("DATABASE_URL", &database.url()).set("storage.master_key", &"0123456789abcdef".repeat(4));
    let site = Site::open(shared).await;

    let refused = site.admin.send(Request::new("PUT", "/api/db-backups").header("sec-fetch-site", "same-origin")).await;
    let archive = site.admin.send(Request::get("/api/db-backups/exportAll")).await;

    assert_eq!(refused.status(), 501);
    assert!(refused.json()["error"]["message"].as_str().is_some_and(|text| text.contains("pg_dump")));
    assert_eq!(
        (archive.status(), site.admin.get("/api/db-backups").await),
        (200, json!({"backups": Value::Array(vec![])}))
    );
}
