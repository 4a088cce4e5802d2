//! Kept answers, those that are still being made, and the items in them.

use super::bed::{Bed, beds};
use crate::store::{KeptResponse, ResponseRow, RunStatus};

const NOW: i64 = 1_000;

fn kept(id: &str, owner: &str, items: &[&str]) -> KeptResponse {
    let row = ResponseRow {
        id: id.into(),
        owner: owner.into(),
        created_at: NOW,
        expires_at: 9_000,
        body: format!("{{\"id\":\"{id}\"}}"),
        run: None,
    };
    KeptResponse { row, items: items.iter().map(ToString::to_string).collect() }
}

fn run(id: &str, status: RunStatus, until: i64) -> KeptResponse {
    let mut kept = kept(id, "me", &["in_1"]);
    kept.row.run = Some((status, until));
    kept
}

async fn status(bed: &Bed, id: &str) -> Option<RunStatus> {
    bed.store.responses().find(id, "me", NOW).await.unwrap().and_then(|row| row.run).map(|(status, _)| status)
}

#[tokio::test]
async fn an_item_is_found_in_the_newest_answer_of_its_owner_that_holds_it() {
    for bed in beds() {
        let responses = bed.store.responses();
        let mut newer = kept("resp_2", "me", &["a", "b"]);
        newer.row.created_at += 1;
        responses.insert(kept("resp_1", "me", &["a"])).await.unwrap();
        responses.insert(newer).await.unwrap();
        responses.insert(kept("resp_3", "you", &["a", "c"])).await.unwrap();

        let found =
            async |item: &str, owner: &str, now| responses.holding(item, owner, now).await.unwrap().map(|row| row.id);

        assert_eq!(found("a", "me", NOW).await.as_deref(), Some("resp_2"));
        assert_eq!((found("c", "me", NOW).await, found("a", "me", 9_000).await), (None, None));
        assert!(responses.delete("resp_2", "me").await.unwrap());
        assert_eq!(found("a", "me", NOW).await.as_deref(), Some("resp_1"));
        assert_eq!(found("b", "me", NOW).await, None);
    }
}

#[tokio::test]
async fn an_answer_that_is_kept_stays_as_it_is_with_its_items() {
    for bed in beds() {
        let responses = bed.store.responses();
        responses.insert(kept("resp_1", "me", &["a"])).await.unwrap();

        responses.insert(kept("resp_1", "you", &["b"])).await.unwrap();

        assert!(responses.find("resp_1", "you", NOW).await.unwrap().is_none());
        assert!(responses.holding("b", "you", NOW).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn more_items_than_a_statement_holds_are_kept_but_none_with_an_endless_id() {
    for bed in beds() {
        let ids: Vec<String> = (0..1_200).map(|number| format!("item_{number}")).chain(["x".repeat(300)]).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();

        bed.store.responses().insert(kept("resp_1", "me", &ids)).await.unwrap();

        assert!(bed.store.responses().holding("item_1199", "me", NOW).await.unwrap().is_some());
        assert!(bed.store.responses().holding(&"x".repeat(300), "me", NOW).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_run_goes_from_queued_over_in_progress_to_its_end() {
    for bed in beds() {
        let responses = bed.store.responses();
        responses.insert(run("resp_1", RunStatus::Queued, 5)).await.unwrap();
        assert_eq!(status(&bed, "resp_1").await, Some(RunStatus::Queued));

        assert!(responses.keep_running("resp_1", 50).await.unwrap());
        assert_eq!(status(&bed, "resp_1").await, Some(RunStatus::InProgress));
        let mut end = kept("resp_1", "me", &["out_1"]);
        end.row.body = "{\"said\":1}".into();
        assert!(responses.finish(RunStatus::Completed, end).await.unwrap());

        let row = responses.find("resp_1", "me", NOW).await.unwrap().unwrap();
        assert_eq!((row.run, row.body.as_str()), (Some((RunStatus::Completed, 50)), "{\"said\":1}"));
        assert_eq!(responses.holding("in_1", "me", NOW).await.unwrap().unwrap().id, "resp_1");
        assert_eq!(responses.holding("out_1", "me", NOW).await.unwrap().unwrap().id, "resp_1");
    }
}

#[tokio::test]
async fn of_an_end_and_a_cancellation_one_wins() {
    for bed in beds() {
        let responses = bed.store.responses();
        for id in ["resp_1", "resp_2"] {
            responses.insert(run(id, RunStatus::InProgress, 50)).await.unwrap();
        }

        assert!(!responses.cancel("resp_1", "you").await.unwrap());
        assert!(responses.cancel("resp_1", "me").await.unwrap());
        assert!(!responses.finish(RunStatus::Completed, kept("resp_1", "me", &[])).await.unwrap());
        assert!(!responses.keep_running("resp_1", 90).await.unwrap());
        assert!(responses.finish(RunStatus::Completed, kept("resp_2", "me", &[])).await.unwrap());
        assert!(!responses.cancel("resp_2", "me").await.unwrap());

        assert_eq!(status(&bed, "resp_1").await, Some(RunStatus::Cancelled));
        assert_eq!(status(&bed, "resp_2").await, Some(RunStatus::Completed));
    }
}

#[tokio::test]
async fn a_run_of_which_nobody_says_that_it_goes_on_has_failed() {
    for bed in beds() {
        let responses = bed.store.responses();
        responses.insert(run("resp_1", RunStatus::Queued, 10)).await.unwrap();
        responses.insert(run("resp_2", RunStatus::InProgress, 10)).await.unwrap();
        responses.insert(run("resp_3", RunStatus::InProgress, 90)).await.unwrap();
        responses.insert(run("resp_4", RunStatus::Completed, 10)).await.unwrap();
        responses.insert(kept("resp_5", "me", &[])).await.unwrap();

        assert_eq!(responses.fail_abandoned(50).await.unwrap(), 2);

        let all = [status(&bed, "resp_1").await, status(&bed, "resp_2").await, status(&bed, "resp_3").await];
        assert_eq!(all, [RunStatus::Failed, RunStatus::Failed, RunStatus::InProgress].map(Some));
        assert_eq!((status(&bed, "resp_4").await, status(&bed, "resp_5").await), (Some(RunStatus::Completed), None));
    }
}
