//! Copies of the database: when they are made by themselves, and how many stay.

use std::time::Duration;

use serde_json::json;

use crate::routes::testing::signed_in;

#[actix_web::test]
async fn a_backup_is_made_by_itself_when_one_is_due_and_the_oldest_go() {
    let site = signed_in().await;
    let shelf = site.bed.management.backups.clone();

    let mut counts = Vec::new();
    for hours in [0, 23, 1, 24, 25] {
        site.bed.clock.advance(Duration::from_secs(hours * 3_600));
        shelf.keep_up().await;
        counts.push(shelf.list().await.unwrap().len());
    }
    let kept = shelf.prune(2, 0).await.unwrap();

    assert_eq!((counts, kept), (vec![1, 1, 2, 3, 4], 2));
    assert!(shelf.list().await.unwrap().iter().all(|backup| backup.reason == "scheduled"));
}

#[actix_web::test]
async fn what_is_too_old_goes_but_never_the_newest() {
    let site = signed_in().await;
    let shelf = site.bed.management.backups.clone();
    shelf.create("manual").await.unwrap();
    site.bed.clock.advance(Duration::from_secs(3 * 86_400));
    let newest = shelf.create("manual").await.unwrap();
    site.bed.clock.advance(Duration::from_secs(9 * 86_400));

    shelf.prune(20, 7).await.unwrap();

    assert_eq!(shelf.list().await.unwrap(), [newest]);
}

#[actix_web::test]
async fn an_id_is_looked_up_and_is_never_a_path() {
    let site = signed_in().await;
    site.ok("PUT", "/api/db-backups", None).await;

    for id in ["../test.db", "/etc/passwd", "db_../x.sqlite", "db_20260101T000000000Z_manual.sqlite", "test.db"] {
        let answer = site.ask("POST", "/api/db-backups", Some(json!({"backupId": id}))).await;
        assert_eq!(answer.status, 404, "{id}");
    }
    assert_eq!(site.ask("POST", "/api/db-backups", Some(json!({}))).await.status, 400);
}
