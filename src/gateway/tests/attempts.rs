//! Attempts beside each other, in each other's place, and what the ledger says of all of them.

use omniroute_actors::ids::ConnectionId;
use omniroute_actors::router::config::{HedgeAfter, Hedging};
use omniroute_actors::usage::record::AttemptRecord;

use super::*;

/// A first candidate that is slow and a second one that is not, hedged after a tenth of a second.
async fn hedged(mocks: &[&MockUpstream]) -> Rig {
    let rig = Rig::over(mocks).await;
    let after = HedgeAfter::Fixed(Duration::from_millis(100));
    let hedging = Hedging { enabled: true, after, at_least: Duration::ZERO };
    rig.plan.store(Arc::new(plan_with(&rig.handles, ComboConfig { hedging, ..ComboConfig::default() })));
    rig
}

fn outcomes(attempts: &[AttemptRecord]) -> Vec<&str> {
    attempts.iter().map(|attempt| attempt.outcome.as_str()).collect()
}

#[actix::test]
async fn the_first_content_wins_and_who_was_slower_is_cancelled_and_blamed_for_nothing() {
    let (slow, quick) = (MockUpstream::start().await, MockUpstream::start().await);
    slow.control.always("ok first_delay_ms=20000");
    let rig = hedged(&[&slow, &quick]).await;

    let (streamed, whole) = (rig.stream().await, rig.whole().await);

    assert!(streamed.as_ref().is_ok_and(|text| text.ends_with("data: [DONE]\n\n")), "{streamed:?}");
    assert!(whole.is_ok());
    assert!(slow.control.wait_until(Duration::from_secs(1), |stats| stats.total.cancelled == 2).await);
    assert_eq!((rig.in_flight(), rig.handles[0].remembered().cooldown), (0, None));
    for record in rig.records() {
        assert_eq!(outcomes(&record.attempts)[0], "hedge_lost");
        assert!(record.attempts.iter().all(|attempt| attempt.hedged && attempt.tokens.is_some()), "{record:?}");
        assert_eq!(record.attempts[0].class.as_deref(), Some("maybe_accepted"));
    }
    slow.stop().await;
    quick.stop().await;
}

#[actix::test]
async fn a_slow_first_that_answers_before_the_second_is_the_answer() {
    let (first, second) = (MockUpstream::start().await, MockUpstream::start().await);
    first.control.always("ok first_delay_ms=300");
    second.control.always("ok first_delay_ms=20000");
    let rig = hedged(&[&first, &second]).await;

    assert!(rig.whole().await.is_ok());

    assert!(second.control.wait_until(Duration::from_secs(1), |stats| stats.total.cancelled == 1).await);
    assert_eq!(rig.in_flight(), 0);
    first.stop().await;
    second.stop().await;
}

#[actix::test]
async fn a_second_attempt_that_fails_does_not_cost_the_first_its_answer() {
    let (first, second) = (MockUpstream::start().await, MockUpstream::start().await);
    first.control.always("ok first_delay_ms=400");
    second.control.always("status code=500");
    let rig = hedged(&[&first, &second]).await;

    assert!(rig.stream().await.is_ok_and(|text| text.ends_with("data: [DONE]\n\n")));

    let record = rig.records().pop().unwrap();
    assert_eq!(outcomes(&record.attempts), ["success", "server_fault"]);
    assert_eq!((record.connection.as_ref().map(ConnectionId::as_str), rig.in_flight()), (Some("c0"), 0));
    first.stop().await;
    second.stop().await;
}

#[actix::test]
async fn both_may_fail_and_the_third_is_asked() {
    let mocks = [MockUpstream::start().await, MockUpstream::start().await, MockUpstream::start().await];
    mocks[0].control.always("hang_before_head");
    mocks[1].control.always("status code=500");
    let mut rig = hedged(&[&mocks[0], &mocks[1], &mocks[2]]).await;
    rig.config.deadlines.first_content_ms = 600;

    let answered = rig.stream().await;

    assert!(answered.as_ref().is_ok_and(|text| text.ends_with("data: [DONE]\n\n")), "{answered:?}");
    let record = rig.records().pop().unwrap();
    assert_eq!(outcomes(&record.attempts), ["first_content_timeout", "server_fault", "success"]);
    assert_eq!(rig.in_flight(), 0);
    for mock in mocks {
        mock.stop().await;
    }
}

#[actix::test]
async fn without_a_budget_nobody_is_asked_beside_another_one() {
    let (slow, quick) = (MockUpstream::start().await, MockUpstream::start().await);
    slow.control.always("ok first_delay_ms=400");
    let mut rig = hedged(&[&slow, &quick]).await;
    rig.config.routing.retry_budget_floor_per_s = 0;

    assert!(rig.whole().await.is_ok());

    assert_eq!(quick.control.stats().total.started, 0);
    slow.stop().await;
    quick.stop().await;
}

#[actix::test]
async fn what_is_far_slower_than_usual_is_given_up_only_where_another_one_is_free() {
    let (first, mut second) = (MockUpstream::start().await, MockUpstream::start().await);
    let rig = Rig::over(&[&first, &second]).await;
    for _ in 0..50 {
        assert!(rig.stream().await.is_ok());
    }
    first.control.always("ok first_delay_ms=5000");

    let began = Instant::now();
    let replaced = rig.stream().await;

    assert!(replaced.is_ok_and(|text| text.ends_with("data: [DONE]\n\n")));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(outcomes(&rig.records().pop().unwrap().attempts), ["first_content_timeout", "success"]);

    second.refuse().await;
    rig.handles[1].acquire(&"m".into(), &rig.clock).unwrap().settle(Outcome::Banned);
    tokio::time::sleep(Duration::from_millis(100)).await;

    assert!(rig.stream().await.is_ok(), "the last one has the configured time");
    first.stop().await;
    second.stop().await;
}

#[actix::test]
async fn what_may_have_been_done_is_not_done_again_where_that_is_forbidden() {
    let (mute, good) = (MockUpstream::start().await, MockUpstream::start().await);
    let mut rig = Rig::over(&[&mute, &good]).await;
    rig.config.routing.retry_maybe_accepted = false;
    rig.config.deadlines.first_content_ms = 200;
    for (way, status) in [("hang_before_head", 504), ("fin_before_any_byte", 502), ("role_only_then_eof", 502)] {
        mute.control.always(way);

        assert_eq!(rig.stream().await.err(), Some(status), "{way}");

        assert_eq!(rig.records().pop().unwrap().attempts[0].class.as_deref(), Some("maybe_accepted"), "{way}");
    }
    assert_eq!(good.control.stats().total.started, 0);
    mute.control.always("status code=500");

    assert!(rig.stream().await.is_ok(), "an error is an answer");

    mute.stop().await;
    good.stop().await;
}

#[actix::test]
async fn nothing_is_sent_where_nobody_listens_and_that_is_told_apart() {
    let (mut gone, good) = (MockUpstream::start().await, MockUpstream::start().await);
    let rig = Rig::over(&[&gone, &good]).await;
    gone.refuse().await;

    assert!(rig.stream().await.is_ok());

    let record = rig.records().pop().unwrap();
    assert_eq!(outcomes(&record.attempts), ["connect_failed", "success"]);
    let [refused, answered] = record.attempts.as_slice() else { panic!("{record:?}") };
    assert_eq!((refused.class.as_deref(), refused.tokens), (Some("not_sent"), None));
    assert_eq!(answered.tokens, Some(record.tokens));
    assert!(answered.first_content_ms.is_some() && answered.connect_ms.is_some() && answered.reason.is_some());
    good.stop().await;
}

#[actix::test]
async fn a_combo_may_ask_the_same_place_once_more_but_not_for_what_may_have_been_done() {
    let (first, second) = (MockUpstream::start().await, MockUpstream::start().await);
    let mut rig = Rig::over(&[&first, &second]).await;
    rig.config.deadlines.first_content_ms = 200;
    let config = ComboConfig { max_retries: 1, retry_delay: Duration::from_millis(1), ..ComboConfig::default() };
    rig.plan.store(Arc::new(plan_with(&rig.handles, config)));
    first.control.script(["status code=500"]);

    assert!(rig.stream().await.is_ok());

    assert_eq!((first.control.stats().total.started, second.control.stats().total.started), (2, 0));
    first.control.always("hang_before_head");
    assert!(rig.stream().await.is_ok());
    assert_eq!((first.control.stats().total.started, second.control.stats().total.started), (3, 1));
    first.stop().await;
    second.stop().await;
}

#[actix::test]
async fn a_stream_that_hardly_moves_ends_as_one_that_stopped() {
    let mock = MockUpstream::start().await;
    mock.control.always("ok tokens=100 delay_ms=150");
    let mut rig = Rig::over(&[&mock]).await;
    rig.config.deadlines.idle_ms = 500;
    rig.config.deadlines.min_tokens_per_s = 50;

    let text = rig.stream().await.unwrap();

    assert!(text.contains("stream_idle_timeout") && !text.contains("[DONE]"), "{text}");
    mock.stop().await;
}
