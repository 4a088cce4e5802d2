//! Accounts that are signed in, and models beside those of the catalogue.

use secrecy::ExposeSecret;
use serde_json::json;

use super::bed::beds;
use super::nouns::connection;
use crate::store::*;

fn tokens(connection: &str, grant: &str) -> OauthTokenRow {
    OauthTokenRow {
        connection_id: connection.into(),
        grant_id: grant.into(),
        secrets: "canary-token".into(),
        about: json!({"email": "a@b.example"}),
        version: 1,
        obtained_at: 5,
        expires_at: Some(6),
        renewable: true,
        failure: None,
        failed_at: None,
    }
}

fn wish(owner: &str, now: i64) -> LeaseWish {
    LeaseWish { owner: owner.into(), now, until: now + 100 }
}

fn login(hash: &str, expires_at: i64) -> OauthLoginRow {
    OauthLoginRow {
        id_hash: hash.into(),
        provider: "acme".into(),
        caller: "me".into(),
        kind: "device_code".into(),
        particulars: "canary-verifier".into(),
        expires_at,
        ask_after: 10,
        ask_every_ms: 5,
    }
}

fn key(hash: &str, caller: &str, now: i64) -> LoginKey {
    LoginKey { id_hash: hash.into(), provider: "acme".into(), caller: caller.into(), kind: "device_code", now }
}

#[tokio::test]
async fn one_at_a_time_renews_and_a_lease_ends_by_itself() {
    for bed in beds() {
        let all = bed.store.oauth_tokens();
        all.sign_in(&connection("c"), &tokens("c", "g"), true).await.unwrap();

        let first = all.lease("c", wish("one", 1_000)).await.unwrap();
        let second = all.lease("c", wish("two", 1_050)).await.unwrap();
        let again = all.lease("c", wish("one", 1_050)).await.unwrap();
        let late = all.lease("c", wish("two", 1_200)).await.unwrap();
        all.give_back("c", "one", None).await.unwrap();
        let not_his = all.lease("c", wish("one", 1_210)).await.unwrap();
        all.give_back("c", "two", Some(("invalid_grant".into(), 7))).await.unwrap();
        let free = all.lease("c", wish("one", 1_220)).await.unwrap();

        let Leased::Taken(row) = first else { panic!("{first:?}") };
        assert_eq!(row.secrets.expose_secret(), "canary-token");
        assert!(matches!((second, again, late), (Leased::Busy, Leased::Taken(_), Leased::Taken(_))));
        assert!(matches!((not_his, free), (Leased::Busy, Leased::Taken(_))));
        assert!(matches!(all.lease("none", wish("one", 1)).await.unwrap(), Leased::Gone));
        assert_eq!(all.summaries(None).await.unwrap()[0].failure.as_deref(), Some("invalid_grant"));
    }
}

#[tokio::test]
async fn an_older_answer_is_never_laid_over_a_newer_one() {
    for bed in beds() {
        let all = bed.store.oauth_tokens();
        all.sign_in(&connection("c"), &tokens("c", "g"), true).await.unwrap();
        let read = tokens("c", "g");

        let first = all.renewed(&OauthTokenRow { secrets: "second".into(), ..read.clone() }).await.unwrap();
        let stale = all.renewed(&OauthTokenRow { secrets: "stale".into(), ..read.clone() }).await.unwrap();
        all.sign_in(&connection("c"), &tokens("c", "other"), false).await.unwrap();
        let foreign = all.renewed(&OauthTokenRow { secrets: "foreign".into(), ..read }).await.unwrap();

        assert_eq!((first, stale, foreign), (true, false, false));
        let Leased::Taken(row) = all.lease("c", wish("x", 1)).await.unwrap() else { panic!("no row") };
        assert_eq!((row.grant_id.as_str(), row.secrets.expose_secret()), ("other", "canary-token"));
    }
}

#[tokio::test]
async fn a_sign_in_is_stored_with_its_connection_or_not_at_all_and_goes_with_it() {
    for bed in beds() {
        let (all, store) = (bed.store.oauth_tokens(), &bed.store);
        all.sign_in(&connection("c"), &tokens("c", "g"), true).await.unwrap();

        let nobody = all.sign_in(&connection("gone"), &tokens("gone", "g"), false).await;
        let twice = all.sign_in(&connection("c"), &tokens("c", "h"), true).await;
        let kept = all.summaries(None).await.unwrap().len();
        let cleared = ConnectionRow { credential: None, ..connection("c") };
        store.connections().update(&cleared).await.unwrap();
        let after_clearing = all.summaries(None).await.unwrap().len();
        all.sign_in(&connection("c"), &tokens("c", "i"), false).await.unwrap();
        store.connections().delete("c").await.unwrap();

        assert!(nobody.is_err() && twice.is_err());
        assert_eq!((kept, after_clearing, all.summaries(None).await.unwrap().len()), (1, 0, 0));
    }
}

#[tokio::test]
async fn a_sign_in_on_its_way_is_ended_once_by_who_began_it_in_time() {
    for bed in beds() {
        let logins = bed.store.oauth_logins();
        logins.insert(&login("h", 100), 1).await.unwrap();
        logins.insert(&login("void", 100), 1).await.unwrap();

        let stranger = logins.take(key("h", "somebody", 50)).await.unwrap();
        let mine = logins.take(key("h", "me", 50)).await.unwrap();
        let again = logins.take(key("h", "me", 50)).await.unwrap();
        let late = logins.take(key("void", "me", 100)).await.unwrap();

        assert_eq!(mine.unwrap().particulars.expose_secret(), "canary-verifier");
        assert!(stranger.is_none() && again.is_none() && late.is_none());
    }
}

#[tokio::test]
async fn a_server_is_not_asked_more_often_than_it_wants() {
    for bed in beds() {
        let logins = bed.store.oauth_logins();
        logins.insert(&login("h", 10_000), 1).await.unwrap();

        let early = logins.turn(key("h", "me", 9)).await.unwrap();
        let now = logins.turn(key("h", "me", 10)).await.unwrap();
        let at_once = logins.turn(key("h", "me", 14)).await.unwrap();
        let later = logins.turn(key("h", "me", 15)).await.unwrap();
        logins.slow_down("h", 1_000, 1_015).await.unwrap();
        let slower = logins.turn(key("h", "me", 500)).await.unwrap();

        assert!(matches!((early, now), (Turn::TooEarly, Turn::Now(_))));
        assert!(matches!((at_once, later, slower), (Turn::TooEarly, Turn::Now(_), Turn::TooEarly)));
        assert!(matches!(logins.turn(key("none", "me", 1)).await.unwrap(), Turn::Gone));
    }
}

#[tokio::test]
async fn models_are_kept_by_provider_and_what_was_told_goes_with_its_connection() {
    for bed in beds() {
        let models = bed.store.provider_models();
        let row = |model: &str, data| ProviderModelRow {
            provider: "openai".into(),
            model: model.into(),
            data,
            created_at: 1,
            updated_at: 2,
        };
        bed.store.connections().insert(&connection("c")).await.unwrap();

        models.put(vec![row("a", json!({"x": 1})), row("b", json!({}))]).await.unwrap();
        models.put(vec![row("a", json!({"x": 2}))]).await.unwrap();
        let told = SyncedModelsRow { connection_id: "c".into(), models: json!(["m", "n"]), synced_at: 9 };
        models.sync(told.clone()).await.unwrap();
        models.sync(told.clone()).await.unwrap();
        let (kept, synced) = (models.list().await.unwrap(), models.synced().await.unwrap());
        bed.store.connections().delete("c").await.unwrap();

        assert_eq!(kept, [row("a", json!({"x": 2})), row("b", json!({}))]);
        assert_eq!((synced[0].names().collect::<Vec<_>>(), synced.len()), (vec!["m", "n"], 1));
        assert!(models.synced().await.unwrap().is_empty());
        assert!(models.delete("openai", "a").await.unwrap() && !models.delete("openai", "a").await.unwrap());
        assert_eq!(models.delete_all("openai").await.unwrap(), 1);
    }
}
