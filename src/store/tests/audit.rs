//! The audit log cannot be changed unnoticed.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::bed::{Bed, beds, vault};
use crate::store::{AuditEntry, AuditFilter, AuditVerdict, Engine};

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
        Engine::Sqlite => {
            ("DROP TRIGGER IF EXISTS audit_refuses_update; DROP TRIGGER IF EXISTS audit_refuses_delete", "")
        }
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
async fn a_cut_off_end_is_found_even_after_new_rows() {
    for bed in beds() {
        with_entries(&bed, 3).await;

        tamper(&bed, "DELETE FROM audit WHERE id = 3");
        let found = broken_at(&bed, None).await;
        with_entries(&bed, 1).await;

        assert_eq!((found, broken_at(&bed, None).await), (Some(3), Some(3)));
    }
}

#[tokio::test]
async fn a_log_that_was_emptied_altogether_is_found_by_the_noted_head() {
    for bed in beds() {
        with_entries(&bed, 3).await;
        let head = bed.store.audit().list(1).await.unwrap()[0].hash.clone();

        tamper(&bed, "DELETE FROM audit; DELETE FROM audit_anchors");
        for _ in 0..3 {
            bed.store.audit().append(entry("something else")).await.unwrap();
        }

        assert_eq!(broken_at(&bed, None).await, None);
        assert_eq!(broken_at(&bed, Some(&head)).await, Some(4));
    }
}

/// The statement that writes a row chained by a plain hash, as somebody without the gateway's key could.
fn forged(id: i64, prev_hash: &str) -> (String, String) {
    let canonical = json!((id, 1, "admin", "x", "y", "{}", prev_hash)).to_string();
    let hash = hex::encode(Sha256::digest(canonical.as_bytes()));
    let sql = format!(
        "INSERT INTO audit (id, at, actor, action, target, detail, prev_hash, hash, status) \
         VALUES ({id}, 1, 'admin', 'x', 'y', '{{}}', '{prev_hash}', '{hash}', 'success')"
    );
    (sql, hash)
}

#[tokio::test]
async fn a_log_that_was_written_anew_without_the_key_does_not_hold() {
    for bed in beds() {
        with_entries(&bed, 2).await;
        let (first, hash) = forged(1, &"0".repeat(64));

        tamper(&bed, &format!("DELETE FROM audit; {first}; {}", forged(2, &hash).0));

        assert_eq!(broken_at(&bed, None).await, Some(1));
    }
}

#[tokio::test]
async fn what_a_row_is_found_by_cannot_be_changed_either() {
    for bed in beds() {
        with_entries(&bed, 2).await;

        tamper(&bed, "UPDATE audit SET status = 'hidden' WHERE id = 2");

        assert_eq!(broken_at(&bed, None).await, Some(2));
    }
}

#[tokio::test]
async fn the_rows_of_an_older_release_are_taken_on_and_those_after_them_are_keyed() {
    for bed in beds() {
        let (first, hash) = forged(1, &"0".repeat(64));
        tamper(&bed, &format!("{first}; {}", forged(2, &hash).0));

        crate::store::audit::adopt(&mut bed.raw(), &vault()).unwrap();
        with_entries(&bed, 2).await;
        let held = broken_at(&bed, None).await;
        tamper(&bed, "UPDATE audit SET actor = 'nobody' WHERE id = 1");

        assert_eq!((held, broken_at(&bed, None).await), (None, Some(1)));
    }
}

#[tokio::test]
async fn old_rows_are_cut_away_and_the_rest_still_holds() {
    for bed in beds() {
        for at in 1..=5 {
            bed.store.audit().append(AuditEntry { at, ..entry("x") }).await.unwrap();
        }

        let cut = [bed.store.audit().cut(4, 9).await.unwrap(), bed.store.audit().cut(4, 9).await.unwrap()];
        with_entries(&bed, 1).await;

        let left: Vec<_> = bed.store.audit().list(10).await.unwrap().iter().map(|row| row.id).collect();
        assert_eq!((cut, left), ([3, 0], vec![6, 5, 4]));
        assert!(matches!(bed.store.audit().verify(None).await.unwrap(), AuditVerdict::Intact { rows: 3, .. }));
        assert!(bed.execute("DELETE FROM audit WHERE id = 4").is_err(), "what no anchor covers stays");
    }
}

#[tokio::test]
async fn a_cut_without_the_key_is_found() {
    for bed in beds() {
        with_entries(&bed, 3).await;
        let hash = bed.store.audit().list(2).await.unwrap()[1].hash.clone();

        let anchor = format!("INSERT INTO audit_anchors VALUES ('cut', 2, '{hash}', 1, '{hash}')");
        bed.execute(&format!("{anchor}; DELETE FROM audit WHERE id <= 2")).unwrap();

        assert_eq!(broken_at(&bed, None).await, Some(2));
    }
}

#[tokio::test]
async fn rows_are_found_by_what_they_tell() {
    for bed in beds() {
        let detail = json!({"status": "failed", "resourceType": "auth", "requestId": "r\u{0}1"});
        bed.store.audit().append(AuditEntry { at: 7, detail, ..entry("auth.login.failed") }).await.unwrap();
        with_entries(&bed, 2).await;
        let ids = async |filter: AuditFilter| {
            let rows = bed.store.audit().page(filter.clone(), 0, 10).await.unwrap();
            assert_eq!(bed.store.audit().count(filter, 10).await.unwrap(), rows.len());
            rows.iter().map(|row| row.id).collect::<Vec<_>>()
        };
        let none = AuditFilter::default;
        let text = |text: &str| Some(text.to_owned());

        assert_eq!(ids(AuditFilter { status: text("failed"), ..none() }).await, [1]);
        assert_eq!(
            ids(AuditFilter { resource_type: text("auth"), action: text("auth.login.failed"), ..none() }).await,
            [1]
        );
        assert_eq!(ids(AuditFilter { actor: text("admin"), target: text("connection:a"), ..none() }).await, [3, 2, 1]);
        assert_eq!(ids(AuditFilter { from: Some(5), to: Some(8), ..none() }).await, [1]);
        assert_eq!(ids(AuditFilter { before: Some(3), status: text("success"), ..none() }).await, [2]);
        assert_eq!(ids(AuditFilter { request_id: text("other"), ..none() }).await, [0_i64; 0]);
        assert_eq!(broken_at(&bed, None).await, None);
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
