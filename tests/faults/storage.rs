//! A disk that is full, a database that is locked, a database that is broken: each follows a stated policy.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use omniroute_testkit::http::Request;
use omniroute_testkit::services;
use serde_json::json;

use crate::common::{PATIENCE, Site, calm, chat, database, error_of, eventually};

/// A file system of its own that is soon full; nothing where this user may not mount one.
struct SmallDisk(PathBuf, #[expect(dead_code, reason = "its drop removes the directory")] tempfile::TempDir);

impl SmallDisk {
    #[expect(clippy::disallowed_methods, reason = "a test mounts a file system of its own")]
    fn mount(megabytes: usize) -> Option<Self> {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().to_owned();
        let size = format!("size={megabytes}m");
        let arguments = ["-t", "tmpfs", "-o", &size, "tmpfs"];
        let mounted = std::process::Command::new("mount").args(arguments).arg(&path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk(path, home));
        }
        services::missed("the right to mount a small disk");
        None
    }

    /// Fill it to the last byte.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let mut file = fs::File::create(&ballast).expect("a file");
        let block = vec![0; 4096];
        while file.write_all(&block).is_ok() {}
        ballast
    }
}

impl Drop for SmallDisk {
    #[expect(clippy::disallowed_methods, reason = "a test unmounts its own file system")]
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(&self.0).output());
    }
}

#[tokio::test]
async fn with_the_policy_spool_answers_go_on_while_the_disk_is_full_and_no_record_is_lost() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let mut site = Site::open(calm().data_dir(&disk.0)).await;
    site.gateway.ask(&chat("a/m", false).header("x-request-id", "before")).await;
    site.record("before").await;

    let ballast = disk.fill();
    for n in 0..40 {
        let request = chat("a/m", n % 2 == 0).header("x-request-id", &format!("full-{n}"));
        assert_eq!(site.gateway.ask(&request).await.status(), 200, "answer {n}");
    }
    fs::remove_file(ballast).unwrap();
    site.gateway.ask(&chat("a/m", false).header("x-request-id", "after")).await;

    for id in ["full-0", "full-39", "after"] {
        site.record(id).await;
    }
    assert_eq!(database::integrity(&disk.0), "ok");
    assert!(site.gateway.is_running());
}

#[tokio::test]
async fn with_the_policy_refuse_calls_are_refused_while_the_disk_is_full_and_come_back_by_themselves() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let site = Site::open(calm().data_dir(&disk.0).set("storage.ledger_unavailable", "refuse")).await;
    site.ask(false).await;

    let ballast = disk.fill();
    let refused = eventually(PATIENCE, async || Some(site.ask(false).await).filter(|answer| answer.status() != 200));
    let refused = refused.await.expect("a refusal");
    let reached = site.a.control.settled().await.total.started;
    let again = site.ask(false).await;
    fs::remove_file(ballast).unwrap();
    let back = eventually(PATIENCE, async || Some(site.ask(false).await).filter(|answer| answer.status() == 200)).await;

    assert_eq!((refused.status(), &error_of(&refused)["code"]), (503, &json!("ledger_unavailable")));
    assert!(refused.header("retry-after").is_some());
    assert_eq!((again.status(), site.a.control.stats().total.started > reached), (503, back.is_some()));
    assert!(back.is_some(), "it never recovered; the log:\n{}", site.gateway.log());
}

#[tokio::test]
async fn a_database_that_another_process_locks_for_10_seconds_holds_nobody_up() {
    let site = Site::open(calm()).await;
    site.ask(false).await;
    let mut other = database::open(&site.gateway.data_dir);
    let key = site.admin.create_key("known").await.key;

    database::run(&mut other, "BEGIN EXCLUSIVE");
    let begin = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut asked = 0;
    while begin.elapsed() < Duration::from_secs(10) {
        let one = Instant::now();
        let request =
            Request::chat("a/m", "hello", asked % 2 == 0).key(&key).header("x-request-id", &format!("l{asked}"));
        assert_eq!(site.gateway.ask(&request).await.status(), 200, "call {asked} after {:?}", begin.elapsed());
        slowest = slowest.max(one.elapsed());
        asked += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    database::run(&mut other, "COMMIT");

    assert!(slowest < Duration::from_secs(1), "a call took {slowest:?}");
    for id in ["l0".to_owned(), format!("l{}", asked - 1)] {
        site.record(&id).await;
    }
}

/// A data directory with the database of a gateway that ran and ended.
async fn used_data() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let mut site = Site::open(calm().data_dir(home.path())).await;
    site.ask(false).await;
    site.gateway.signal(omniroute_testkit::gateway::Signal::TERM);
    site.gateway.ended(PATIENCE).await;
    home
}

/// Write nonsense over part of a file.
fn damage(path: &Path, at: u64, bytes: usize) -> Vec<u8> {
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&vec![0xa5; bytes]).unwrap();
    drop(file);
    fs::read(path).unwrap()
}

#[tokio::test]
async fn a_corrupt_database_stops_the_start_is_named_and_stays_as_it_is() {
    for (at, bytes) in [(0, 100), (4096, 65_536)] {
        let home = used_data().await;
        let path = home.path().join("omniroute.sqlite");
        // What lies in the write-ahead log would hide the damage.
        database::run(&mut database::open(home.path()), "PRAGMA wal_checkpoint(TRUNCATE)");
        let broken = damage(&path, at, bytes);

        let failure = calm().data_dir(home.path()).try_start().await.unwrap_err();

        assert_eq!(failure.status.and_then(|status| status.code()), Some(1), "at {at}: {}", failure.log);
        assert!(failure.log.contains("omniroute.sqlite"), "at {at}: {}", failure.log);
        assert!(fs::read(&path).unwrap() == broken, "at {at}: the file was touched");
        assert!(!failure.log.contains("panicked"), "{}", failure.log);
    }
}

/// Give the database a past: its middle is usage, with ids between which new ones fall; and put all of it into the file.
fn fill_with_usage(data_dir: &Path) {
    let mut outside = database::open(data_dir);
    database::run(
        &mut outside,
        "INSERT INTO usage_records (request_id, at, requested_model, status, outcome, streamed, prompt_tokens, \
         completion_tokens, cached_tokens, reasoning_tokens, estimated, total_ms, attempts) \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
         SELECT 'damaged-' || hex(randomblob(16)), i, 'm', 200, 'success', 0, 1, 1, 0, 0, 0, 1, '[]' FROM n",
    );
    database::run(&mut outside, "PRAGMA wal_checkpoint(TRUNCATE)");
}

/// Put the backup into the place of the database.
fn restore(backup: &Path, data_dir: &Path) {
    for leftover in ["omniroute.sqlite-wal", "omniroute.sqlite-shm"] {
        let _ = fs::remove_file(data_dir.join(leftover));
    }
    fs::copy(backup, data_dir.join("omniroute.sqlite")).unwrap();
}

#[tokio::test]
async fn damage_in_the_middle_of_a_running_database_stops_no_answer_and_loses_no_record() {
    let home = tempfile::tempdir().unwrap();
    let (data, backup) = (home.path().join("data"), home.path().join("backup"));
    let mut site = Site::open(calm().data_dir(&data)).await;
    let key = site.admin.create_key("known").await.key;
    let ask = async |site: &Site, id: &str| {
        let request = Request::chat("a/m", "hello", false).key(&key).header("x-request-id", id);
        site.gateway.ask(&request).await.status()
    };
    assert_eq!(ask(&site, "before").await, 200);
    site.record("before").await;
    fill_with_usage(&data);
    let path = data.join("omniroute.sqlite");
    fs::copy(&path, &backup).unwrap();

    let third = fs::metadata(&path).unwrap().len() / 4096 / 3 * 4096;
    damage(&path, third, usize::try_from(third).unwrap());
    let mut answers = Vec::new();
    for n in 0..60 {
        answers.push(ask(&site, &format!("damaged-{n}")).await);
    }
    let told = eventually(PATIENCE, async || {
        let ready = site.gateway.ask(&Request::get("/readyz")).await;
        (ready.status() == 503 && ready.text().contains("the database is damaged")).then_some(())
    });
    let told = told.await;
    let health = site.gateway.ask(&Request::get("/api/monitoring/health")).await;
    let after = ask(&site, "after").await;
    site.gateway.signal(omniroute_testkit::gateway::Signal::TERM);
    site.gateway.ended(PATIENCE).await;
    let failure = calm().data_dir(&data).try_start().await.unwrap_err();
    restore(&backup, &data);
    site.gateway.start_again().await;

    assert!(told.is_some(), "readiness never said it; the log:\n{}", site.gateway.log());
    assert!(answers.iter().all(|status| *status == 200) && after == 200, "{answers:?} {after}");
    assert!(health.text().contains("\"degraded\"") && health.text().contains("damaged"), "{}", health.text());
    assert!(failure.log.contains("omniroute.sqlite is damaged"), "{}", failure.log);
    for id in ["before", "after"] {
        site.record(id).await;
    }
}

#[tokio::test]
async fn without_its_master_key_a_store_that_holds_credentials_stops_the_start() {
    let home = used_data().await;
    let keys: Vec<_> = fs::read_dir(home.path()).unwrap().flatten().map(|entry| entry.path()).collect();
    let key = keys.iter().find(|path| path.to_string_lossy().contains("key")).expect("a generated master key");
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(key).unwrap().permissions()) & 0o777, 0o600);
    fs::remove_file(key).unwrap();

    let failure = calm().data_dir(home.path()).try_start().await.unwrap_err();

    assert!(failure.status.is_some_and(|status| !status.success()), "{}", failure.log);
    assert!(failure.log.to_lowercase().contains("master key"), "{}", failure.log);
}
