use serde_json::json;

use super::bed::{Bed, postgres, sqlite};
use super::nouns::connection;
use crate::store::{Contents, StoreError, Take};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

async fn filled() -> Bed {
    let bed = sqlite();
    bed.store.connections().insert(&connection("c1")).await.unwrap();
    bed.store.settings().put("general", json!(1), None, 1).await.unwrap();
    bed.store.settings().put("admin_password", json!("old"), None, 1).await.unwrap();
    bed
}

async fn copied(bed: &Bed) -> std::path::PathBuf {
    let path = bed.dir.path().join("copy.sqlite");
    bed.store.backups().copy_to(path.clone()).await.unwrap();
    path
}

fn change(path: &std::path::Path, sql: &str) {
    SqliteConnection::establish(&path.to_string_lossy()).unwrap().batch_execute(sql).unwrap();
}

#[tokio::test]
async fn what_was_copied_comes_back_and_what_was_made_since_is_gone() {
    let bed = filled().await;
    let path = copied(&bed).await;
    bed.store.connections().delete("c1").await.unwrap();
    bed.store.connections().insert(&connection("c2")).await.unwrap();

    let contents = bed.store.backups().make_ready(path.clone()).await.unwrap();
    bed.store.backups().put_back(path, Take::All).await.unwrap();

    assert_eq!(contents, Contents { connections: 1, ..Contents::default() });
    let ids: Vec<_> = bed.store.connections().list().await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(ids, ["c1"]);
}

#[tokio::test]
async fn a_copy_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bed = filled().await;

    let path = copied(&bed).await;

    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn what_somebody_else_may_have_made_says_nothing_about_who_may_sign_in() {
    let bed = filled().await;
    let path = copied(&bed).await;
    bed.store.settings().put("admin_password", json!("new"), None, 2).await.unwrap();
    bed.store.settings().put("general", json!(2), None, 2).await.unwrap();

    bed.store.backups().put_back(path, Take::ButAccess).await.unwrap();

    let value = async |key| bed.store.settings().get(key).await.unwrap().unwrap().value;
    assert_eq!((value("admin_password").await, value("general").await), (json!("new"), json!(1)));
}

#[tokio::test]
async fn a_copy_that_runs_something_of_its_own_is_refused() {
    let bed = filled().await;
    for foreign in [
        "CREATE TRIGGER evil AFTER DELETE ON combos BEGIN DELETE FROM settings; END",
        "CREATE VIEW evil AS SELECT * FROM connections",
        "CREATE VIRTUAL TABLE evil USING fts5(a)",
        "DROP TRIGGER audit_refuses_delete; CREATE TRIGGER audit_refuses_delete BEFORE DELETE ON audit BEGIN SELECT 1; END",
        "CREATE TABLE extra (id TEXT)",
        "ALTER TABLE combos ADD COLUMN extra TEXT",
    ] {
        let path = copied(&bed).await;
        change(&path, foreign);

        let refused = bed.store.backups().make_ready(path.clone()).await.unwrap_err();

        assert!(
            matches!(&refused, StoreError::Invalid(why) if why.contains("cannot be taken")),
            "{foreign}: {refused}"
        );
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn what_is_no_database_a_damaged_one_and_one_of_another_master_key_are_refused() {
    let bed = filled().await;
    let path = copied(&bed).await;
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[4096..8192].fill(0x5a);
    change(&path, "UPDATE meta SET value = 'other' WHERE key = 'vault'");
    let foreign = std::fs::read(&path).unwrap();

    for (what, bytes) in
        [("text", b"hello".to_vec()), ("empty", Vec::new()), ("damaged", damaged), ("foreign", foreign)]
    {
        std::fs::write(&path, bytes).unwrap();

        let refused = bed.store.backups().make_ready(path.clone()).await.unwrap_err();

        assert!(matches!(refused, StoreError::Invalid(_)), "{what}: {refused:?}");
    }
    assert!(bed.store.damage().is_none(), "the database itself is sound");
}

#[tokio::test]
async fn rows_that_cannot_be_taken_change_nothing() {
    let bed = filled().await;
    let path = copied(&bed).await;
    change(&path, "DROP TABLE settings");
    bed.store.connections().insert(&connection("c2")).await.unwrap();

    let refused = bed.store.backups().put_back(path, Take::All).await;

    assert!(refused.is_err());
    assert_eq!(bed.store.connections().list().await.unwrap().len(), 2);
    bed.store.connections().delete("c2").await.expect("and the writer goes on");
}

#[tokio::test]
async fn a_server_is_not_copied_and_says_what_to_use() {
    let Some(bed) = postgres() else { return };

    let refused = bed.store.backups().copy_to(bed.dir.path().join("x")).await.unwrap_err();

    assert!(refused.to_string().contains("pg_dump"), "{refused}");
}
