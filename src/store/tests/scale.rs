//! What makes large tables bearable: counts of changes, and pages.

use serde_json::json;

use super::bed::{Bed, beds};
use super::nouns::api_key;
use crate::store::{ConnectionRow, KeyPage, Noun, Revisions, SettingRow};

async fn counted(bed: &Bed) -> Revisions {
    bed.store.revisions().await.unwrap()
}

#[tokio::test]
async fn each_change_counts_for_its_own_noun_and_for_no_other() {
    for bed in beds() {
        let begun = counted(&bed).await;
        let mut connection = ConnectionRow::blank("c1".into(), 1);
        bed.store.connections().insert(&connection).await.unwrap();
        let one = counted(&bed).await;
        connection.name = "renamed".into();
        bed.store.connections().update(&connection).await.unwrap();
        let two = counted(&bed).await;
        bed.store.connections().delete("c1").await.unwrap();
        let three = counted(&bed).await;

        for (before, after) in [(&begun, &one), (&one, &two), (&two, &three)] {
            assert!(after.moved(before, Noun::Connections) && after.is_next(before, Noun::Connections));
            assert!(!after.moved(before, Noun::Keys) && !after.moved(before, Noun::Settings));
        }
        assert!(!three.is_next(&one, Noun::Connections), "two changes are not one");
        let SettingRow { version, .. } = bed.store.settings().put("ipFilter", json!(1), None, 1).await.unwrap();
        assert_eq!(version, 1);
        assert!(counted(&bed).await.moved(&three, Noun::Settings) && counted(&bed).await.is_ahead_of(&three));
    }
}

#[tokio::test]
async fn the_use_of_a_key_is_no_change_of_it() {
    for bed in beds() {
        bed.store.api_keys().insert(&api_key("k", "hash")).await.unwrap();
        let before = counted(&bed).await;

        bed.store.api_keys().touch_last_used(&[("k".into(), 50)]).await.unwrap();
        let used = counted(&bed).await;
        bed.store.api_keys().delete("k").await.unwrap();

        assert_eq!(used, before);
        assert!(counted(&bed).await.is_next(&before, Noun::Keys));
        assert!(!counted(&bed).await.is_ahead_of(&before), "keys are counted apart");
    }
}

#[tokio::test]
async fn pages_hold_every_key_once_in_the_order_of_their_making() {
    for bed in beds() {
        for n in 0..7_i64 {
            // Two were made at the same moment.
            let mut row = api_key(&format!("k{n}"), &format!("hash {n}"));
            (row.name, row.created_at) = (format!("Team {n}%"), n.min(5));
            bed.store.api_keys().insert(&row).await.unwrap();
        }
        let keys = bed.store.api_keys();
        let page = async |wish: KeyPage| {
            let (rows, total) = keys.page(wish).await.unwrap();
            (rows.into_iter().map(|row| row.id).collect::<Vec<_>>(), total)
        };
        let wish = |search: Option<&str>, after: Option<(i64, &str)>, offset| KeyPage {
            search: search.map(str::to_owned),
            after: after.map(|(at, id)| (at, id.to_owned())),
            offset,
            limit: 3,
        };

        assert_eq!(page(wish(None, None, 0)).await, (vec!["k0".into(), "k1".into(), "k2".into()], 7));
        assert_eq!(page(wish(None, Some((2, "k2")), 0)).await.0, ["k3", "k4", "k5"]);
        assert_eq!(page(wish(None, Some((5, "k5")), 0)).await.0, ["k6"]);
        assert_eq!(page(wish(None, None, 5)).await.0, ["k5", "k6"]);
        assert_eq!(
            page(wish(Some("tEAM"), Some((2, "k2")), 1)).await,
            (vec!["k4".into(), "k5".into(), "k6".into()], 7)
        );
        assert_eq!(page(wish(Some("3%"), None, 0)).await, (vec!["k3".into()], 1));
        assert_eq!(page(wish(Some("T_am"), None, 0)).await, (vec![], 0), "it is searched for as it is written");
    }
}
