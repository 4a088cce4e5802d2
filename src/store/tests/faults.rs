//! What happens when the database does not do its part.

use std::sync::mpsc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use serde_json::json;

use super::bed::{Bed, beds, options, postgres, sqlite};
use super::nouns::{node, usage};
use crate::store::db::{Access, Db, Target, check_sqlite_file};
use crate::store::{NodeRow, Store, StoreError, Timing, migrate};

/// Of an SQLite file.
const PAGE: usize = 4096;
const IMPATIENT: Timing = Timing {
    busy_timeout: Duration::from_millis(50),
    pool_wait: Duration::from_millis(50),
    call_timeout: Duration::from_secs(10),
};

#[tokio::test]
async fn eight_instances_that_read_and_then_write_are_never_refused() {
    for bed in beds() {
        let stores: Vec<Store> = (0..8).map(|_| bed.reopen().unwrap()).collect();
        let loops = stores.iter().map(|store| async move {
            for _ in 0..25 {
                store.settings().put("resilience", json!(1), None, 1).await?;
            }
            Ok::<(), StoreError>(())
        });

        let results = futures_util::future::join_all(loops).await;

        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(bed.store.settings().get("resilience").await.unwrap().unwrap().version, 200);
    }
}

#[tokio::test]
async fn a_file_locked_by_another_process_is_busy_and_still_readable() {
    let bed = sqlite();
    let store = Store::open_with(&bed.options, IMPATIENT).unwrap();
    let mut other = bed.raw();
    other.batch_execute("BEGIN EXCLUSIVE").unwrap();

    let refused = store.nodes().insert(&node("a", "a")).await;
    assert!(matches!(refused, Err(StoreError::Busy(_))), "{refused:?}");
    assert!(store.nodes().list().await.unwrap().is_empty());

    other.batch_execute("ROLLBACK").unwrap();
    store.nodes().insert(&node("a", "a")).await.unwrap();
}

async fn fill(store: &Store) -> (usize, StoreError) {
    for number in 0..10_000 {
        let id = number.to_string();
        let row = NodeRow { base_url: "x".repeat(20_000), ..node(&id, &id) };
        if let Err(error) = store.nodes().insert(&row).await {
            return (number, error);
        }
    }
    panic!("the limit did not hold");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_keeps_reads_and_heals_itself() {
    let bed = sqlite();
    let Target::Sqlite { path, busy_timeout, .. } = bed.target() else { unreachable!() };
    let target = Target::Sqlite { path, busy_timeout, max_pages: Some(150) };
    let store = Store::open_target(target, &bed.options, Timing::default()).unwrap();

    let (stored, refused) = fill(&store).await;
    assert!(matches!(refused, StoreError::Full(_)), "{refused:?}");
    assert!(stored > 0);
    assert_eq!(store.nodes().list().await.unwrap().len(), stored);
    let another = NodeRow { base_url: "x".repeat(20_000), ..node("another", "another") };
    assert!(matches!(store.nodes().insert(&another).await, Err(StoreError::Full(_))));

    store.nodes().delete("0").await.unwrap();
    store.nodes().insert(&node("after", "after")).await.unwrap();
}

/// A closed database with a few rows in it.
fn closed_database(dir: &tempfile::TempDir) -> std::path::PathBuf {
    let path = dir.path().join("test.db");
    let target = Target::Sqlite { path: path.clone(), busy_timeout: Duration::from_secs(1), max_pages: None };
    let mut db = target.connect(Access::Write).unwrap();
    migrate::run(&mut db).unwrap();
    for number in 0..200 {
        db.batch_execute(&format!("INSERT INTO settings VALUES ('{number}', '{}', 1, 1)", "x".repeat(500))).unwrap();
    }
    path
}

#[test]
fn a_corrupt_file_is_refused_with_advice_and_left_untouched() {
    for (offset, length) in [(0, 100), (16 * 4096, 4096), (40 * 4096 + 50, 4096)] {
        let dir = tempfile::tempdir().unwrap();
        let path = closed_database(&dir);
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len().min(offset + length);
        bytes[offset..end].fill(0x5a);
        std::fs::write(&path, &bytes).unwrap();

        let refused = Store::open(&options(&dir, "test.db")).unwrap_err();

        assert!(matches!(refused, StoreError::Corrupt(_)), "{refused:?}");
        let text = refused.to_string();
        assert!(text.contains(path.to_str().unwrap()) && text.contains("restore a backup"), "{text}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn damage_on_any_page_of_a_table_or_an_index_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = closed_database(&dir);
    let whole = std::fs::read(&path).unwrap();
    let pages = whole.len() / PAGE;
    assert!(pages > 40, "{pages}");

    let overlooked: Vec<usize> = (0..pages)
        .filter(|page| {
            let mut bytes = whole.clone();
            bytes[page * PAGE..(page + 1) * PAGE].fill(0x5a);
            std::fs::write(&path, &bytes).unwrap();
            !matches!(check_sqlite_file(&path), Err(StoreError::Corrupt(_)))
        })
        .collect();

    assert_eq!(overlooked, Vec::<usize>::new());
}

#[tokio::test]
async fn damage_met_while_running_is_remembered_and_stops_every_write() {
    let bed = sqlite();
    let path = bed.dir.path().join("test.db");
    let rows: Vec<_> = (0..4_000).map(|number| usage(&format!("r{number:05}"), number)).collect();
    bed.store.usage().insert_batch(rows.clone()).await.unwrap();
    let target = Target::Sqlite { path: path.clone(), busy_timeout: Duration::from_secs(5), max_pages: None };
    target.connect(Access::Write).unwrap().batch_execute("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let (before, mut bytes) = (bed.store.damage(), std::fs::read(&path).unwrap());
    let third = bytes.len() / PAGE / 3 * PAGE;
    bytes[third..2 * third].fill(0x5a);
    std::fs::write(&path, &bytes).unwrap();

    let met = bed.store.usage().list(10_000).await.unwrap_err();
    let ready = bed.store.clone().ping().await;
    let write = bed.store.nodes().insert(&node("late", "late")).await;

    assert!(before.is_none() && matches!(met, StoreError::Corrupt(_)), "{met:?}");
    assert!(matches!(ready, Err(StoreError::Corrupt(_))), "{ready:?}");
    assert!(matches!(write, Err(StoreError::Corrupt(_))), "{write:?}");
    assert!(bed.store.settings().get("any").await.is_ok(), "what is whole can be read");
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_untouched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("test.db"), "a letter to a friend").unwrap();

    let refused = Store::open(&options(&dir, "test.db")).unwrap_err();

    assert!(matches!(refused, StoreError::Corrupt(_)), "{refused:?}");
    assert_eq!(std::fs::read_to_string(dir.path().join("test.db")).unwrap(), "a letter to a friend");
}

#[tokio::test]
async fn what_was_acknowledged_before_a_crash_is_there_after_it() {
    let bed = sqlite();
    bed.store.usage().insert_batch(vec![usage("r", 1)]).await.unwrap();
    let after = tempfile::tempdir().unwrap();
    for name in ["test.db", "test.db-wal"] {
        std::fs::copy(bed.dir.path().join(name), after.path().join(name)).unwrap();
    }

    let store = Store::open(&options(&after, "test.db")).unwrap();

    assert_eq!(store.usage().get("r").await.unwrap(), usage("r", 1));
}

#[tokio::test]
async fn sqlite_runs_with_the_settings_that_make_it_durable() {
    #[derive(QueryableByName)]
    struct Pragmas {
        #[diesel(sql_type = diesel::sql_types::Text)]
        journal: String,
        #[diesel(sql_type = diesel::sql_types::Integer)]
        sync: i32,
        #[diesel(sql_type = diesel::sql_types::Integer)]
        fk: i32,
        #[diesel(sql_type = diesel::sql_types::Integer)]
        busy: i32,
    }
    let query = "SELECT j.journal_mode AS journal, s.synchronous AS sync, f.foreign_keys AS fk, b.timeout AS busy \
                 FROM pragma_journal_mode j, pragma_synchronous s, pragma_foreign_keys f, pragma_busy_timeout b";
    let bed = sqlite();

    let set: Pragmas = bed.store.write(move |db| Ok(diesel::sql_query(query).get_result(db)?)).await.unwrap();

    assert_eq!((set.journal.as_str(), set.sync, set.fk, set.busy), ("wal", 2, 1, 5000));
}

#[tokio::test]
async fn a_job_that_panics_costs_only_its_caller() {
    for bed in beds() {
        let written = bed.store.write(|db| {
            db.batch_execute("INSERT INTO settings VALUES ('k', '1', 1, 1)")?;
            panic!("a bug in a write job")
        });
        let written: Result<(), StoreError> = written.await;
        let read: Result<(), StoreError> = bed.store.read(|_| panic!("a bug in a read job")).await;

        assert!(matches!(written, Err(StoreError::Other(_))) && matches!(read, Err(StoreError::Other(_))));
        assert_eq!(bed.store.settings().get("general").await.unwrap(), None);
        bed.store.nodes().insert(&node("a", "a")).await.unwrap();
        bed.store.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_failed_job_leaves_nothing_behind() {
    for bed in beds() {
        let failed = bed.store.write(|db| {
            db.batch_execute("INSERT INTO settings VALUES ('k', '1', 1, 1)")?;
            Err::<(), _>(StoreError::Invalid("no".into()))
        });

        assert!(matches!(failed.await, Err(StoreError::Invalid(_))));
        assert_eq!(bed.store.settings().get("general").await.unwrap(), None);
    }
}

#[tokio::test]
async fn readers_cannot_write() {
    for bed in beds() {
        let refused = bed.store.read(|db| Ok(db.batch_execute("DELETE FROM nodes")?)).await;

        assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_reader_that_hangs_does_not_make_the_others_wait_for_ever() {
    let bed = sqlite();
    let mut options = bed.options.clone();
    options.readers = 1;
    let store = Store::open_with(&options, IMPATIENT).unwrap();
    let (release, held) = mpsc::channel::<()>();
    let (started, running) = tokio::sync::oneshot::channel();
    let other = store.clone();
    let hanging = tokio::spawn(async move {
        let job = move |_: &mut Db| {
            started.send(()).unwrap();
            Ok(held.recv().is_ok())
        };
        other.read(job).await
    });
    running.await.unwrap();

    let refused = store.ping().await;

    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    release.send(()).unwrap();
    assert!(hanging.await.unwrap().unwrap());
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_write_nobody_waits_for_any_more_does_not_begin() {
    let bed = sqlite();
    let (release, held) = mpsc::channel::<()>();
    let blocker = bed.store.clone();
    let blocking = tokio::spawn(async move { blocker.write(move |_| Ok(held.recv().is_ok())).await });
    tokio::task::yield_now().await;

    let row = node("a", "a");
    let nodes = bed.store.nodes();
    let abandoned = tokio::time::timeout(Duration::from_millis(20), nodes.insert(&row)).await;
    release.send(()).unwrap();
    assert!(blocking.await.unwrap().unwrap());
    bed.store.flush().await.unwrap();

    assert!(abandoned.is_err());
    assert!(bed.store.nodes().list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_restarted_server_is_dialled_again_without_a_lost_call() {
    let Some(bed) = postgres() else { return };
    bed.store.nodes().insert(&node("a", "a")).await.unwrap();

    bed.cut_server_connections();

    bed.store.nodes().insert(&node("b", "b")).await.unwrap();
    bed.cut_server_connections();
    assert_eq!(bed.store.nodes().list().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_connection_lost_inside_a_transaction_is_reported_and_replaced() {
    let Some(bed) = postgres() else { return };

    let lost = bed.store.write(|db| {
        db.batch_execute("INSERT INTO settings VALUES ('k', '1', 1, 1)")?;
        Ok(db.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())")?)
    });

    let lost = lost.await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    assert_eq!(bed.store.settings().get("general").await.unwrap(), None);
    bed.store.nodes().insert(&node("a", "a")).await.unwrap();
}

#[test]
fn a_server_that_is_not_there_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();

    let refused = Store::open(&options(&dir, "postgres://user:canary@127.0.0.1:1/x")).unwrap_err();

    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(!format!("{refused:?}").contains("canary"));
}

#[test]
fn urls_that_name_no_durable_place_are_refused() {
    let dir = tempfile::tempdir().unwrap();

    for url in ["", "sqlite:", "sqlite::memory:", ":memory:", "mysql://x/y"] {
        let refused = Store::open(&options(&dir, url)).unwrap_err();
        assert!(matches!(refused, StoreError::Invalid(_)), "{url}: {refused:?}");
    }
}

#[tokio::test]
async fn every_form_of_a_path_leads_to_the_same_file() {
    let bed: Bed = sqlite();
    bed.store.nodes().insert(&node("a", "a")).await.unwrap();

    for url in ["test.db".to_owned(), "sqlite://test.db".to_owned(), format!("sqlite:{}", bed.file().display())] {
        let store = Store::open(&options(&bed.dir, "x").with_url(&url, bed.dir.path())).unwrap();
        assert_eq!(store.nodes().list().await.unwrap().len(), 1, "{url}");
    }
}

impl crate::store::StoreOptions {
    fn with_url(mut self, url: &str, data_dir: &std::path::Path) -> Self {
        self.url = url.to_owned();
        self.data_dir = data_dir.to_owned();
        self
    }
}
