//! The queue of one connection, driven through its handle.

use std::sync::Arc;
use std::time::Duration;

use actix_rt::task::JoinHandle;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::config::{ConnectionConfig, Limits};
use super::lease::{Permit, Settlement};
use super::refusal::Refusal;
use super::tests::Die;
use super::traffic::Ask;
use super::waiting::Turned;
use super::{ApplyConfig, Reset};
use crate::clock::Clock;
use crate::guard::fault;
use crate::ids::ModelName;
use crate::resilience::health::ResetScope;
use crate::resilience::learned::{Kind, Reported};
use crate::resilience::outcome::{Outcome, Terminal};
use crate::testing::{Rig, config, settle};

fn one_at_a_time() -> ConnectionConfig {
    ConnectionConfig { max_concurrent: 1, ..config("a") }
}

fn take(rig: &Rig) -> Result<Permit, Refusal> {
    rig.connection("a").acquire(&ModelName::from("m"), &rig.clock()).map_err(|refused| refused.why)
}

/// Somebody who waits, and the end of the wait.
fn wait_for(rig: &Rig, key: &'static str, within: Duration) -> JoinHandle<Turned> {
    let (handle, deadline) = (rig.connection("a"), rig.clock.now().after(within));
    actix_rt::spawn(async move {
        let model = ModelName::from("m");
        handle.wait(Ask { model: &model, tokens: 10 }, key.into(), deadline).await
    })
}

fn wait(rig: &Rig) -> JoinHandle<Turned> {
    wait_for(rig, "k", Duration::from_secs(60))
}

async fn turned(waiter: JoinHandle<Turned>) -> Result<Permit, Refusal> {
    let answered = tokio::time::timeout(Duration::from_secs(2), waiter).await.expect("is answered").unwrap();
    answered.map_err(|refused| refused.why)
}

async fn end(rig: &Rig, mut permit: Permit, settlement: impl Into<Settlement>) {
    rig.clock.advance(Duration::from_millis(1));
    permit.settle(settlement);
    drop(permit);
    settle().await;
}

#[actix::test]
async fn a_freed_slot_goes_to_the_one_that_waits_and_newcomers_do_not_overtake() {
    let rig = Rig::start(vec![one_at_a_time()]).await;
    let held = take(&rig).unwrap();
    let waiter = wait(&rig);
    settle().await;
    assert_eq!((take(&rig).unwrap_err(), rig.connection("a").queued()), (Refusal::Queued, 1));

    drop(held);
    settle().await;

    assert!(take(&rig).is_err(), "the waiter has it");
    drop(turned(waiter).await.unwrap());
    settle().await;
    assert!(take(&rig).is_ok());
    assert_eq!((rig.connection("a").queued(), rig.connection("a").in_flight()), (0, 0));
}

#[actix::test]
async fn one_that_goes_away_leaves_no_hole() {
    let rig = Rig::start(vec![one_at_a_time()]).await;
    let held = take(&rig).unwrap();
    let (gone, stays) = (wait(&rig), wait(&rig));
    settle().await;

    gone.abort();
    settle().await;
    drop(held);

    assert!(turned(stays).await.is_ok());
    settle().await;
    assert_eq!((rig.connection("a").queued(), rig.connection("a").in_flight()), (0, 0));
}

#[actix::test]
async fn a_full_queue_refuses_at_once_and_a_wait_that_would_be_too_long_as_well() {
    let limits = Limits { queue_depth: 2, ..Limits::default() };
    let rig = Rig::start(vec![ConnectionConfig { limits, ..one_at_a_time() }]).await;
    let held = take(&rig).unwrap();
    let waiters = [wait(&rig), wait(&rig)];
    settle().await;

    let third = turned(wait(&rig)).await;
    let hurried = turned(wait_for(&rig, "other", Duration::from_millis(900))).await;

    assert_eq!((third.unwrap_err(), hurried.unwrap_err()), (Refusal::QueueFull, Refusal::WaitTooLong));
    assert_eq!(rig.connection("a").expected_wait(0, rig.clock.now()), None);
    drop((held, waiters));
}

#[actix::test]
async fn one_whose_time_is_up_is_told_so() {
    let rig = Rig::start(vec![one_at_a_time()]).await;
    let held = take(&rig).unwrap();
    let waiter = wait_for(&rig, "k", Duration::from_secs(5));
    settle().await;

    rig.clock.advance(Duration::from_secs(5));
    rig.connection("a").address().unwrap().do_send(super::waiting::Turn);

    assert_eq!(turned(waiter).await.unwrap_err(), Refusal::WaitTooLong);
    drop(held);
}

#[actix::test]
async fn one_that_waits_for_the_pace_goes_when_its_time_has_come() {
    tokio::time::pause();
    let rig = Rig::start(vec![ConnectionConfig { requests_per_minute: 1, ..config("a") }]).await;
    drop({
        let mut permit = take(&rig).unwrap();
        permit.begin(Duration::ZERO);
        permit
    });
    assert_eq!(take(&rig).unwrap_err(), Refusal::LocalRateLimit);
    let waiter = wait_for(&rig, "k", Duration::from_secs(100));
    settle().await;
    assert!(!waiter.is_finished());

    rig.clock.advance(Duration::from_secs(60));
    tokio::time::sleep(Duration::from_secs(61)).await;

    assert!(turned(waiter).await.is_ok());
}

#[actix::test]
async fn a_change_of_health_answers_everybody() {
    let rig = Rig::start(vec![one_at_a_time()]).await;
    let held = take(&rig).unwrap();
    let waiters = [wait(&rig), wait(&rig)];
    settle().await;

    end(&rig, held, Outcome::CreditsExhausted).await;

    // The freed slot goes to the first; what it meets is known before the second would go.
    let mut answers = Vec::new();
    for waiter in waiters {
        answers.push(turned(waiter).await.map(drop));
    }
    assert_eq!(answers[1], Err(Refusal::Terminal(Terminal::CreditsExhausted)));
    assert_eq!(rig.connection("a").queued(), 0);
}

#[actix::test]
async fn a_larger_limit_lets_more_go_and_a_switched_off_connection_nobody() {
    let rig = Rig::start(vec![one_at_a_time()]).await;
    let held = take(&rig).unwrap();
    let [first, second] = [wait(&rig), wait(&rig)];
    settle().await;
    let address = rig.connection("a").address().unwrap();

    address.send(ApplyConfig(ConnectionConfig { max_concurrent: 2, ..config("a") })).await.unwrap().unwrap();
    let first = turned(first).await;
    assert!(first.is_ok() && !second.is_finished());
    address.send(ApplyConfig(ConnectionConfig { is_active: false, ..one_at_a_time() })).await.unwrap().unwrap();

    assert_eq!(turned(second).await.unwrap_err(), Refusal::Disabled);
    drop((held, first));
}

#[actix::test]
async fn a_panic_or_a_death_of_the_actor_answers_every_waiter_and_locks_nobody_out() {
    let rig = Rig::start(vec![one_at_a_time()]).await;
    for handler in ["Outcomes", "Turn", "Wait", ""] {
        let held = take(&rig).unwrap();
        let waiters = [wait(&rig), wait(&rig)];
        settle().await;
        fault::arm(handler);
        let address = rig.connection("a").address().unwrap();

        match handler {
            "Outcomes" => address.do_send(super::Outcomes(Vec::new())),
            "Turn" => address.do_send(super::waiting::Turn),
            "Wait" => assert_eq!(turned(wait(&rig)).await.unwrap_err(), Refusal::Queued),
            _ => address.do_send(Die),
        }

        for waiter in waiters {
            assert_eq!(turned(waiter).await.map(drop), Err(Refusal::Queued), "after a panic in {handler}");
        }
        rig.registry.send(crate::supervisor::Revive { id: "a".into(), reports: Vec::new() }).await.unwrap();
        settle().await;
        drop(held);
        settle().await;
        drop(take(&rig).unwrap_or_else(|refusal| panic!("after a panic in {handler}: {refusal:?}")));
    }
}

#[actix::test]
async fn a_refusal_while_many_run_bounds_them_and_a_reset_forgets_it() {
    let rig = Rig::start(vec![config("a")]).await;
    let mut running: Vec<_> = (0..10).map(|_| take(&rig).unwrap()).collect();
    let handle = rig.connection("a");
    let refused = Settlement { retry_after: Some(Duration::from_secs(1)), ..Outcome::RateLimited.into() };
    end(&rig, running.pop().unwrap(), refused).await;
    rig.clock.advance(Duration::from_secs(2));

    drop(running.split_off(6));
    let last = (take(&rig).is_ok(), rig.clock.advance(Duration::ZERO)).0;
    let held = take(&rig).unwrap();

    assert!(last);
    assert_eq!(take(&rig).unwrap_err(), Refusal::Saturated);
    let changes = handle.address().unwrap().send(Reset(ResetScope::Limiters)).await.unwrap().unwrap();
    assert_eq!(changes, [crate::resilience::health::Transition::LimitsForgotten]);
    assert!(take(&rig).is_ok());
    drop(held);
}

#[actix::test]
async fn what_a_provider_says_keeps_requests_at_home_and_survives_a_restart() {
    let rig = Rig::start(vec![config("a")]).await;
    let said = Reported {
        kind: Kind::Requests,
        limit: Some(50),
        remaining: Some(0),
        reset: Some(Duration::from_secs(30)),
        per_minute: true,
    };
    let mut permit = take(&rig).unwrap();
    permit.hear_limits(vec![said]);
    end(&rig, permit, Outcome::RateLimited).await;
    rig.clock.advance(Duration::from_secs(5));
    assert_eq!(take(&rig).unwrap_err(), Refusal::LocalRateLimit);
    assert_eq!(rig.connection("a").headroom(), Some(0.0));
    let stored = rig.saved.last.load_full().unwrap();

    let after = Rig::resume(vec![config("a")], vec![(*stored).clone()]).await;

    after.clock.advance(Duration::from_secs(10));
    assert_eq!(take(&after).unwrap_err(), Refusal::LocalRateLimit);
    after.clock.advance(Duration::from_secs(25));
    assert!(take(&after).is_ok());
}

#[actix::test]
async fn a_learned_limit_paces_a_paced_connection_and_no_other() {
    let said = |remaining| Reported {
        kind: Kind::Requests,
        limit: Some(2),
        remaining: Some(remaining),
        reset: Some(Duration::from_secs(1)),
        per_minute: true,
    };
    for (configured, passes) in [(100, false), (0, true)] {
        let rig = Rig::start(vec![ConnectionConfig { requests_per_minute: configured, ..config("a") }]).await;
        for remaining in [1, 1] {
            let mut permit = take(&rig).unwrap();
            permit.hear_limits(vec![said(remaining)]);
            end(&rig, permit, Outcome::Success).await;
        }
        crate::connection::report::flush();
        settle().await;
        let begun = (0..20).filter(|_| {
            take(&rig).is_ok_and(|mut permit| {
                permit.begin(Duration::ZERO);
                true
            })
        });

        assert_eq!(begun.count() == 20, passes, "configured {configured}");
    }
}

#[actix::test]
async fn a_dead_connection_is_tried_by_one_request_at_a_time_and_a_success_brings_it_back() {
    let rig = Rig::start(vec![config("a")]).await;
    let permit = take(&rig).unwrap();
    end(&rig, permit, Outcome::CreditsExhausted).await;
    rig.clock.advance(Duration::from_secs(895));
    assert_eq!(take(&rig).unwrap_err(), Refusal::Terminal(Terminal::CreditsExhausted));

    rig.clock.advance(Duration::from_secs(100));
    let probes: Vec<_> = (0..200).filter_map(|_| take(&rig).ok()).collect();
    assert!(probes.len() == 1 && probes[0].is_terminal_probe());
    for probe in probes {
        end(&rig, probe, Outcome::CreditsExhausted).await;
    }
    assert!(take(&rig).is_err(), "still out of money");
    rig.clock.advance(Duration::from_secs(1_000));
    let probe = take(&rig).unwrap();
    end(&rig, probe, Outcome::Success).await;
    crate::connection::report::flush();
    settle().await;

    assert_eq!((0..5).filter(|_| take(&rig).is_ok()).count(), 5);
}

#[actix::test]
async fn a_terminal_probe_that_was_not_made_leaves_its_place_to_the_next() {
    let rig = Rig::start(vec![config("a")]).await;
    let permit = take(&rig).unwrap();
    end(&rig, permit, Outcome::Banned).await;
    rig.clock.advance(Duration::from_secs(1_000));

    drop(take(&rig).unwrap());

    assert!(take(&rig).is_ok_and(|permit| permit.is_terminal_probe()));
}

#[actix::test]
async fn a_busy_connection_that_comes_back_gets_its_traffic_step_by_step_but_a_waiter_goes_at_once() {
    let rig = Rig::start(vec![config("a")]).await;
    for _ in 0..400 {
        take(&rig).unwrap().settle(Outcome::Success);
    }
    crate::connection::report::flush();
    settle().await;
    for _ in 0..12 {
        let permit = take(&rig).unwrap();
        end(&rig, permit, Outcome::ServerFault).await;
    }
    rig.clock.advance(Duration::from_secs(34));
    let probe = take(&rig).unwrap();
    end(&rig, probe, Outcome::Success).await;

    let passed = (0..100).filter(|_| take(&rig).is_ok()).count();
    let refused = (0..20).find_map(|_| take(&rig).err());
    let waiter = turned(wait(&rig)).await;

    assert_eq!((passed, refused), (10, Some(Refusal::Ramping)));
    assert!(waiter.is_ok());
}

#[actix::test]
async fn tokens_are_estimated_at_the_door_and_trued_up_at_the_end() {
    let limits = Limits { tokens_per_minute: 1_000, ..Limits::default() };
    let rig = Rig::start(vec![ConnectionConfig { limits, ..config("a") }]).await;
    let (handle, model) = (rig.connection("a"), ModelName::from("m"));
    let ask = |tokens| handle.acquire(Ask { model: &model, tokens }, &rig.clock()).map_err(|refused| refused.why);
    let mut large = ask(1_000).unwrap();
    assert_eq!(ask(10).unwrap_err(), Refusal::LocalRateLimit);

    large.true_up(400);
    end(&rig, large, Outcome::Success).await;
    let mut second = ask(500).unwrap();
    second.true_up(2_600);
    end(&rig, second, Outcome::Success).await;

    assert_eq!(ask(10).unwrap_err(), Refusal::LocalRateLimit);
    rig.clock.advance(Duration::from_secs(121));
    assert!(ask(10).is_ok(), "the debt is paid");
}

#[actix::test]
async fn providers_share_a_retry_budget_over_changes_of_configuration() {
    let rig =
        Rig::start(vec![config("a"), config("b"), ConnectionConfig { provider: "q".into(), ..config("c") }]).await;
    let [a, b, c] = ["a", "b", "c"].map(|id| rig.connection(id).retry_budget());

    assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
}

/// One drawn history of a connection with two slots, a pace and a small queue.
async fn history(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let limits = Limits { tokens_per_minute: 600, queue_depth: 6, ..Limits::default() };
    let bounds = ConnectionConfig { max_concurrent: 2, requests_per_minute: 120, limits, ..config("a") };
    let rig = Rig::start(vec![bounds.clone()]).await;
    let (handle, mut held, mut waiting) = (rig.connection("a"), Vec::new(), Vec::new());
    let address = handle.address().unwrap();
    for _ in 0..60 {
        match rng.random_range(0..9) {
            0..=1 => held.extend(take(&rig)),
            2..=4 => waiting.push(wait_for(&rig, ["x", "y", "z"][rng.random_range(0..3)], Duration::from_secs(30))),
            5 if !held.is_empty() => {
                let mut permit: Permit = held.swap_remove(rng.random_range(0..held.len()));
                permit.begin(Duration::ZERO);
                permit.true_up(rng.random_range(0..60));
                permit.settle(Outcome::Success);
            }
            6 if !waiting.is_empty() => {
                let gone: JoinHandle<Turned> = waiting.swap_remove(rng.random_range(0..waiting.len()));
                gone.abort();
            }
            7 => rig.clock.advance(Duration::from_millis(rng.random_range(0..4_000))),
            _ => {
                let most = rng.random_range(1..4);
                address.do_send(ApplyConfig(ConnectionConfig { max_concurrent: most, ..bounds.clone() }));
            }
        }
        tokio::task::yield_now().await;
        assert!(handle.queued() <= 6, "seed {seed}: the queue is bounded");
        let (done, still): (Vec<_>, Vec<_>) = waiting.into_iter().partition(JoinHandle::is_finished);
        waiting = still;
        for waiter in done {
            held.extend(waiter.await.unwrap());
        }
    }
    held.clear();
    for _ in 0..200 {
        rig.clock.advance(Duration::from_millis(500));
        address.do_send(super::waiting::Turn);
        settle().await;
        if waiting.iter().all(JoinHandle::is_finished) {
            break;
        }
        let (done, still): (Vec<_>, Vec<_>) = waiting.into_iter().partition(JoinHandle::is_finished);
        waiting = still;
        for waiter in done {
            drop(waiter.await.unwrap());
        }
    }
    for waiter in waiting {
        drop(turned(waiter).await);
    }
    settle().await;
    assert_eq!((handle.in_flight(), handle.queued()), (0, 0), "seed {seed}: nothing is left");
    assert!(take(&rig).is_ok(), "seed {seed}: and it serves");
}

#[actix::test]
async fn whatever_happens_every_waiter_is_answered_and_every_slot_comes_back() {
    for seed in 0..150 {
        history(seed).await;
    }
}
