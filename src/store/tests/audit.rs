//! The audit log cannot be changed unnoticed.

use serde_json::json;

use super::bed::{Bed, beds};
use crate::store::{AuditEntry, AuditVerdict, Engine};

fn entry(action: &str) -> AuditEntry {
    AuditEntry {
        at: 1,
        actor: "admin".into(),
        action: action.into(),
        target: "connection:a".into(),
        detail: json!({"from": 1, "to": "ä\"|"}),
    }
}

async fn with_entries(bed: &Bed, count: usize) {
    for number in 0..count {
        bed.store.audit().append(entry(&format!("action {number}"))).await.unwrap();
    }
}

/// What somebody with the database's own password could do.
fn tamper(bed: &Bed, sql: &str) {
    let (off, on) = match bed.engine() {
        Engine::Sqlite => ("DROP TRIGGER audit_refuses_update; DROP TRIGGER audit_refuses_delete", ""),
        Engine::Postgres => ("ALTER TABLE audit DISABLE TRIGGER USER", "ALTER TABLE audit ENABLE TRIGGER USER"),
    };
    bed.execute(&format!("{off}; {sql}; {on}")).unwrap();
}

async fn broken_at(bed: &Bed, head: Option<&str>) -> Option<i64> {
    match bed.store.audit().verify(head).await.unwrap() {
        AuditVerdict::Broken { id, .. } => Some(id),
        AuditVerdict::Intact { .. } => None,
    }
}

#[tokio::test]
async fn an_untouched_log_verifies_and_reads_newest_first() {
    for bed in beds() {
        with_entries(&bed, 3).await;
        let newest = bed.store.audit().list(2).await.unwrap();

        let verdict = bed.store.audit().verify(Some(&newest[1].hash)).await.unwrap();

        assert_eq!(newest.iter().map(|row| row.id).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(newest[0].detail, entry("").detail);
        assert_eq!(newest[0].prev_hash, newest[1].hash);
        assert_eq!(verdict, AuditVerdict::Intact { rows: 3, head: newest[0].hash.clone() });
    }
}

#[tokio::test]
async fn an_empty_log_verifies() {
    for bed in beds() {
        assert_eq!(broken_at(&bed, None).await, None);
    }
}

#[tokio::test]
async fn a_long_log_is_verified_to_its_end() {
    for bed in beds() {
        with_entries(&bed, 1_001).await;
        assert_eq!(broken_at(&bed, None).await, None);

        tamper(&bed, "UPDATE audit SET actor = 'nobody' WHERE id = 1001");

        assert_eq!(broken_at(&bed, None).await, Some(1_001));
    }
}

#[tokio::test]
async fn rows_cannot_be_changed_or_deleted() {
    for bed in beds() {
        with_entries(&bed, 1).await;

        for sql in ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"] {
            let refused = bed.execute(sql).unwrap_err();
            assert!(refused.to_string().contains("append-only"), "{refused}");
        }
        assert_eq!(broken_at(&bed, None).await, None);
    }
}

#[tokio::test]
async fn an_edited_a_deleted_and_a_reordered_row_are_named() {
    for (sql, wrong) in [
        ("UPDATE audit SET detail = '{}' WHERE id = 2", 2),
        ("UPDATE audit SET at = 99 WHERE id = 3", 3),
        ("DELETE FROM audit WHERE id = 2", 2),
        ("DELETE FROM audit WHERE id = 1", 1),
        (
            "UPDATE audit SET id = 9 WHERE id = 1; UPDATE audit SET id = 1 WHERE id = 2; UPDATE audit SET id = 2 WHERE id = 9",
            1,
        ),
    ] {
        for bed in beds() {
            with_entries(&bed, 4).await;

            tamper(&bed, sql);

            assert_eq!(broken_at(&bed, None).await, Some(wrong), "{sql}");
        }
    }
}

#[tokio::test]
async fn a_cut_off_end_is_found_by_the_noted_head() {
    for bed in beds() {
        with_entries(&bed, 3).await;
        let head = bed.store.audit().list(1).await.unwrap()[0].hash.clone();

        tamper(&bed, "DELETE FROM audit WHERE id = 3");

        assert_eq!(broken_at(&bed, None).await, None);
        assert_eq!(broken_at(&bed, Some(&head)).await, Some(3));
    }
}

#[tokio::test]
async fn instances_that_append_at_once_keep_one_chain() {
    for bed in beds() {
        let stores: Vec<_> = (0..4).map(|_| bed.reopen().unwrap()).collect();
        let appends =
            stores.iter().flat_map(|store| (0..10).map(move |_| async { store.audit().append(entry("x")).await }));

        let rows = futures_util::future::join_all(appends).await;

        assert!(rows.iter().all(Result::is_ok), "{rows:?}");
        assert_eq!(broken_at(&bed, None).await, None);
        assert_eq!(bed.store.audit().list(100).await.unwrap().len(), 40);
    }
}
