//! One actor, driven through its handle as a router and a handler drive it.

use std::time::Duration;

use super::*;
use crate::connection::lease::{Permit, Settlement};
use crate::connection::refusal::Refusal;
use crate::guard::fault;
use crate::resilience::health::ConnectionState;
use crate::resilience::outcome::{Outcome, Terminal};
use crate::supervisor::GetSnapshots;
use crate::testing::{Rig, config, settle};

fn take(rig: &Rig, id: &str) -> Result<Permit, Refusal> {
    rig.connection(id).acquire(&"m".into(), &rig.clock()).map_err(|refused| refused.why)
}

async fn end(rig: &Rig, outcome: Outcome, hint: Option<u64>) {
    let mut permit = take(rig, "a").unwrap();
    rig.clock.advance(Duration::from_millis(1));
    permit.settle(Settlement { retry_after: hint.map(Duration::from_secs), ..outcome.into() });
    drop(permit);
    settle().await;
}

async fn open(rig: &Rig) {
    for _ in 0..12 {
        let Ok(mut permit) = take(rig, "a") else { return };
        permit.settle(Outcome::ServerFault);
        drop(permit);
        settle().await;
    }
}

#[actix::test]
async fn an_open_breaker_spares_the_provider_and_then_admits_one_probe_of_two_hundred() {
    let rig = Rig::start(vec![config("a")]).await;
    open(&rig).await;

    let early = (0..200).filter(|_| take(&rig, "a").is_ok()).count();
    rig.clock.advance(Duration::from_secs(34));
    let later: Vec<_> = (0..200).filter_map(|_| take(&rig, "a").ok()).collect();

    assert_eq!((early, later.len()), (0, 1));
    assert!(later[0].is_probe());
    assert_eq!(take(&rig, "a").unwrap_err(), Refusal::Probing);
}

#[actix::test]
async fn an_abandoned_probe_frees_its_place_without_the_actor() {
    let rig = Rig::start(vec![config("a")]).await;
    open(&rig).await;
    rig.clock.advance(Duration::from_secs(34));

    drop(take(&rig, "a").unwrap());

    assert!(take(&rig, "a").is_ok_and(|permit| permit.is_probe()));
}

#[actix::test]
async fn a_successful_probe_closes_the_breaker() {
    let rig = Rig::start(vec![config("a")]).await;
    open(&rig).await;
    rig.clock.advance(Duration::from_secs(34));

    end(&rig, Outcome::Success, None).await;

    assert_eq!(rig.connection("a").gate().view().state, BreakerState::Closed);
}

#[actix::test]
async fn a_retry_after_is_obeyed_to_the_second() {
    let rig = Rig::start(vec![config("a")]).await;

    end(&rig, Outcome::RateLimited, Some(20)).await;

    rig.clock.advance(Duration::from_millis(19_990));
    assert!(matches!(take(&rig, "a"), Err(Refusal::CoolingDown(Some(Outcome::RateLimited)))));
    rig.clock.advance(Duration::from_millis(2_011));
    assert!(take(&rig, "a").is_ok(), "at most a tenth of jitter on top");
}

#[actix::test]
async fn what_a_client_caused_never_cools_a_connection() {
    let rig = Rig::start(vec![config("a")]).await;

    for outcome in [Outcome::ClientFault, Outcome::ClientGone, Outcome::ContextTooLong, Outcome::DeadlineExceeded] {
        for _ in 0..30 {
            end(&rig, outcome, None).await;
        }
    }

    assert!(take(&rig, "a").is_ok());
    assert_eq!(rig.saved.count.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[actix::test]
async fn slots_are_bounded_and_come_back() {
    let rig = Rig::start(vec![ConnectionConfig { max_concurrent: 2, ..config("a") }]).await;
    let held = (take(&rig, "a").unwrap(), take(&rig, "a").unwrap());

    assert_eq!(take(&rig, "a").unwrap_err(), Refusal::Saturated);
    drop(held);

    assert!(take(&rig, "a").is_ok());
    assert_eq!(rig.connection("a").in_flight(), 0);
}

#[actix::test]
async fn a_refusal_by_the_limiter_says_when_to_come_back() {
    let rig = Rig::start(vec![ConnectionConfig { requests_per_minute: 2, ..config("a") }]).await;
    let handle = rig.connection("a");
    (0..2).for_each(|_| handle.acquire(&"m".into(), &rig.clock()).unwrap().begin(Duration::ZERO));

    let refused = handle.acquire(&"m".into(), &rig.clock()).unwrap_err();

    assert_eq!(refused.why, Refusal::LocalRateLimit);
    assert!(refused.retry_at.is_some());
    assert_eq!(handle.in_flight(), 0);
}

#[actix::test]
async fn a_reset_takes_effect_before_it_answers() {
    let rig = Rig::start(vec![config("a")]).await;
    open(&rig).await;
    let address = rig.connection("a").address().unwrap();

    let changes = address.send(Reset(ResetScope::Breakers)).await.unwrap().unwrap();

    assert_eq!(changes.len(), 1);
    assert!(take(&rig, "a").is_ok());
}

#[actix::test]
async fn a_late_result_from_before_a_reset_changes_nothing() {
    let rig = Rig::start(vec![config("a")]).await;
    let mut early: Vec<_> = (0..20).map(|_| take(&rig, "a").unwrap()).collect();
    open(&rig).await;
    rig.connection("a").address().unwrap().send(Reset(ResetScope::All)).await.unwrap().unwrap();

    early.iter_mut().for_each(|permit| permit.settle(Outcome::ServerFault));
    drop(early);
    settle().await;

    assert_eq!(rig.connection("a").gate().view().state, BreakerState::Closed);
}

#[actix::test]
async fn a_new_credential_ends_what_the_old_one_was_blamed_for() {
    let rig = Rig::start(vec![config("a")]).await;
    end(&rig, Outcome::CreditsExhausted, None).await;
    assert_eq!(take(&rig, "a").unwrap_err(), Refusal::Terminal(Terminal::CreditsExhausted));

    let renewed = ConnectionConfig { credential_version: 2, ..config("a") };
    rig.connection("a").address().unwrap().send(ApplyConfig(renewed)).await.unwrap().unwrap();

    assert!(take(&rig, "a").is_ok());
}

#[actix::test]
async fn a_restart_keeps_what_is_still_in_force() {
    let rig = Rig::start(vec![config("a")]).await;
    end(&rig, Outcome::ModelFault, None).await;
    rig.clock.advance(Duration::from_secs(1));
    let mut other = rig.connection("a").acquire(&"n".into(), &rig.clock()).unwrap();
    other.settle(Settlement { retry_after: Some(Duration::from_secs(60)), ..Outcome::RateLimited.into() });
    drop(other);
    settle().await;
    let stored = rig.saved.last.load_full().unwrap();

    let after = Rig::resume(vec![config("a")], vec![(*stored).clone()]).await;

    assert!(matches!(take(&after, "a"), Err(Refusal::CoolingDown(_))));
    after.clock.advance(Duration::from_secs(70));
    assert_eq!(take(&after, "a").unwrap_err(), Refusal::ModelLocked);
    after.clock.advance(Duration::from_secs(60));
    assert!(take(&after, "a").is_ok());
}

#[actix::test]
async fn an_open_breaker_and_a_terminal_state_survive_a_restart() {
    let rig = Rig::start(vec![config("a")]).await;
    open(&rig).await;
    let stored = rig.saved.last.load_full().unwrap();
    let after = Rig::resume(vec![config("a")], vec![(*stored).clone()]).await;
    assert_eq!(take(&after, "a").unwrap_err(), Refusal::Open);

    let banned = StateRecord { terminal: Some(Terminal::Banned), ..(*stored).clone() };
    let after = Rig::resume(vec![config("a")], vec![banned]).await;

    assert_eq!(take(&after, "a").unwrap_err(), Refusal::Terminal(Terminal::Banned));
}

#[actix::test]
async fn a_panic_in_any_handler_loses_one_message_and_keeps_the_state() {
    let rig = Rig::start(vec![config("a")]).await;
    open(&rig).await;
    let address = rig.connection("a").address().unwrap();

    for handler in ["Outcomes", "Reset", "SetCooldown", "ApplyConfig", "GetSnapshot"] {
        fault::arm(handler);
        match handler {
            "Outcomes" => address.send(Outcomes(Vec::new())).await.unwrap(),
            "Reset" => assert!(address.send(Reset(ResetScope::All)).await.unwrap().is_err()),
            "SetCooldown" => assert!(address.send(SetCooldown(None)).await.unwrap().is_err()),
            "ApplyConfig" => assert!(address.send(ApplyConfig(config("a"))).await.unwrap().is_err()),
            _ => assert!(address.send(GetSnapshot).await.unwrap().is_err()),
        }
        let asked = tokio::time::timeout(Duration::from_millis(100), address.send(GetSnapshot)).await;
        let snapshot = asked.expect("answers again within 100 ms").unwrap().unwrap();
        assert_eq!(snapshot.state, ConnectionState::Breaker(BreakerState::Open), "after a panic in {handler}");
    }
}

#[actix::test]
async fn an_actor_that_died_is_created_again_and_hears_what_it_missed() {
    let rig = Rig::start(vec![config("a")]).await;
    let handle = rig.connection("a");
    handle.address().unwrap().do_send(Die);
    settle().await;
    assert!(handle.address().is_none());

    end(&rig, Outcome::RateLimited, Some(60)).await;

    assert!(handle.address().is_some());
    assert!(matches!(take(&rig, "a"), Err(Refusal::CoolingDown(_))));
}

#[actix::test]
async fn a_silent_actor_is_shown_as_it_last_published_itself() {
    let rig = Rig::start(vec![config("a"), config("b")]).await;
    open(&rig).await;
    rig.connection("a").address().unwrap().do_send(Die);
    settle().await;

    let snapshots = rig.registry.send(GetSnapshots { of: vec!["a".into(), "b".into()] }).await.unwrap();

    assert_eq!(snapshots.iter().map(|snapshot| snapshot.stale).collect::<Vec<_>>(), [true, false]);
    assert_eq!(snapshots[0].state, ConnectionState::Breaker(BreakerState::Open));
}

/// Kills the actor outright: a panic that no guard catches.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Die;

impl Handler<Die> for Connection {
    type Result = ();

    fn handle(&mut self, _: Die, _: &mut Self::Context) {
        panic!("injected outside the guard");
    }
}

#[actix::test]
async fn the_time_in_which_our_own_thread_stood_still_is_not_the_providers() {
    let rig = Rig::start(vec![config("a")]).await;
    let mut permit = take(&rig, "a").unwrap();
    let ms = Duration::from_millis;

    permit.begin(ms(500));
    rig.clock.advance(ms(900));
    let first_content = permit.provider_time(ms(900), ms(1_300));
    rig.clock.advance(ms(100));
    permit.settle_after(Settlement { first_content: Some(first_content), ..Outcome::Success.into() }, ms(1_350));
    drop(permit);

    assert_eq!(first_content, ms(100));
    let handle = rig.connection("a");
    assert_eq!(handle.traffic.stats().service_time(), Some(ms(150)));
    assert!((handle.latency().millis() - 100.0).abs() < 0.01, "{}", handle.latency().millis());
}
