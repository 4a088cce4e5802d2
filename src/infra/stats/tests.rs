//! What is kept is counted once, bounded, and never in the way of a request.

use omniroute_actors::clock::{ManualClock, Moment, UnixMillis};
use omniroute_actors::usage::record::{AttemptRecord, Tokens, UsageRecord};
use serde_json::{Value, json};

use super::*;

fn attempt(provider: &str, outcome: &str, took_ms: u64) -> AttemptRecord {
    AttemptRecord {
        connection: format!("{provider}-1").into(),
        provider: provider.into(),
        model: "m".into(),
        outcome: outcome.into(),
        status: 200,
        started_ms: 0,
        took_ms,
        ..AttemptRecord::default()
    }
}

fn finished(combo: Option<&str>, outcome: &str, attempts: Vec<AttemptRecord>) -> Finished {
    let last = attempts.last().filter(|_| outcome == "success").cloned();
    let record = UsageRecord {
        request_id: "r".into(),
        at: UnixMillis(0),
        key_id: Some("key".into()),
        connection: last.as_ref().map(|attempt| attempt.connection.clone()),
        provider: last.as_ref().map(|attempt| attempt.provider.clone()),
        model: last.map(|attempt| attempt.model),
        requested_model: "team".into(),
        combo: combo.map(Into::into),
        status: 200,
        outcome: outcome.into(),
        streamed: false,
        tokens: Tokens::default(),
        first_content_ms: Some(40),
        total_ms: attempts.iter().map(|attempt| attempt.took_ms).sum(),
        session: None,
        attempts,
    };
    Finished::of(&record, 2)
}

fn of_session(key: Option<&str>, session: &str, outcome: &str) -> Finished {
    let finished = finished(None, outcome, vec![attempt("a", outcome, 1)]);
    Finished { key: key.map(Into::into), session: Some(SessionName::Named(session.into())), ..finished }
}

fn kept(heard: &[Finished], now: i64) -> Kept {
    let mut kept = Kept::default();
    heard.iter().for_each(|finished| kept.hear(finished, now));
    kept
}

fn combo(kept: &Kept, name: &str) -> Value {
    kept.combos.to_json(|_| Some("priority".into())).remove(name).unwrap()
}

#[test]
fn a_combo_counts_requests_fallbacks_and_how_they_ended() {
    let failed = vec![attempt("a", "server_fault", 10), attempt("b", "success", 30)];
    let heard = [
        finished(Some("team"), "success", failed),
        finished(Some("team"), "server_fault", vec![attempt("a", "server_fault", 20)]),
        finished(Some("team"), "client_gone", vec![attempt("b", "client_gone", 5)]),
        finished(None, "success", vec![attempt("a", "success", 1)]),
    ];

    let team = combo(&kept(&heard, 1_000), "team");

    let numbers =
        ["totalRequests", "totalSuccesses", "totalFailures", "totalCancelled", "totalFallbacks", "totalLatencyMs"];
    assert_eq!(numbers.map(|name| team[name].as_u64().unwrap()), [3, 1, 1, 1, 1, 65]);
    assert_eq!(
        (&team["successRate"], &team["avgLatencyMs"], &team["fallbackRate"]),
        (&json!(33), &json!(21), &json!(33))
    );
    let a = &team["byModel"]["a/m"];
    assert_eq!((&a["requests"], &a["failures"], &a["lastStatus"]), (&json!(2), &json!(2), &json!("error")));
    assert_eq!(team["byModel"]["b/m"]["lastStatus"], json!("cancelled"));
    assert_eq!(team["lastUsedAt"], json!("1970-01-01T00:00:01Z"));
}

#[test]
fn a_target_is_counted_by_its_way_through_the_steps() {
    let one = finished(Some("team"), "success", vec![attempt("a", "success", 1)]);
    let heard = [Finished { target: Some("outer>inner".into()), ..one }];

    assert_eq!(combo(&kept(&heard, 1), "team")["byTarget"]["outer>inner"]["requests"], json!(1));
}

#[test]
fn however_many_combos_and_targets_there_are_the_numbers_stay_bounded() {
    let mut kept = Kept::default();
    for n in 0..1_500 {
        kept.hear(&finished(Some(&format!("c{n}")), "success", vec![]), 1);
        kept.hear(&finished(Some("c0"), "success", vec![attempt(&format!("p{n}"), "success", 1)]), 1);
    }

    let shown = kept.combos.to_json(|_| None);

    assert_eq!((shown.len(), shown["c0"]["byModel"].as_object().unwrap().len()), (1_000, 501));
    assert_eq!(shown["c0"]["byModel"]["other"]["requests"], json!(1_000));
    assert_eq!((kept.combos.forget(Some("c0")), kept.combos.forget(Some("c0")), kept.combos.forget(None)), (1, 0, 999));
}

#[test]
fn telemetry_looks_back_as_far_as_it_is_asked() {
    let mut kept = kept(&[finished(None, "success", vec![attempt("old", "success", 9_000)])], 0);
    kept.hear(&finished(None, "success", vec![attempt("a", "success", 100)]), 10_000);
    kept.hear(&finished(None, "server_fault", vec![attempt("a", "server_fault", 300)]), 10_000);

    let lately = kept.telemetry.summary(5_000, 10_000);
    let all = kept.telemetry.summary(60_000, 10_000);

    assert_eq!((&lately["count"], &lately["p50"], &lately["errorRate"]), (&json!(2), &json!(100), &json!(0.5)));
    assert_eq!((&lately["providers"]["a"]["p99"], &lately["providers"]["a"]["count"]), (&json!(300), &json!(2)));
    assert!(lately["providers"].get("old").is_none() && all["providers"].get("old").is_some());
    assert_eq!(lately["phaseBreakdown"]["gateway"]["p95"], json!(2));
    assert_eq!(lately["phaseBreakdown"]["upstream"]["p95"], json!(298));
    assert_eq!(kept.telemetry.summary(1, 9_999_999)["p50"], json!(0));
}

#[test]
fn a_session_belongs_to_its_key_and_stays_where_it_was_answered() {
    let heard = [
        of_session(Some("k1"), "ext:s", "success"),
        of_session(Some("k1"), "ext:s", "server_fault"),
        of_session(Some("k2"), "ext:s", "server_fault"),
        of_session(None, "ext:t", "success"),
    ];

    let shown = kept(&heard, 5_000).sessions.to_json(6_000, 10);

    assert_eq!((&shown["count"], &shown["byApiKey"]), (&json!(3), &json!({"": 1, "k1": 1, "k2": 1})));
    let of = |key: &str| {
        let all = shown["sessions"].as_array().unwrap();
        all.iter().find(|session| session["apiKeyId"] == json!(key)).unwrap().clone()
    };
    assert_eq!((&of("k1")["requestCount"], &of("k1")["connectionId"]), (&json!(2), &json!("a-1")));
    assert_eq!((&of("k2")["connectionId"], &of("k2")["ageMs"]), (&Value::Null, &json!(1_000)));
}

#[test]
fn idle_sessions_end_and_too_many_give_way() {
    let idle = i64::try_from(sessions::IDLE.as_millis()).unwrap();
    let mut kept = kept(&[of_session(None, "old", "success")], 0);

    assert_eq!((kept.sessions.alive(idle - 1), kept.sessions.alive(idle)), (1, 0));
    kept.sessions.forget_idle(idle);
    for n in 0..sessions::MOST + 50 {
        kept.hear(&of_session(None, &format!("s{n}"), "success"), idle);
    }
    assert_eq!(kept.sessions.alive(idle), sessions::MOST);
    kept.sessions.forget_idle(idle * 3);
    assert_eq!(kept.sessions.to_json(idle * 3, 10)["count"], json!(0));
}

fn event(connection: &str, at: i64) -> events::Event {
    events::Event {
        at,
        connection: connection.into(),
        name: "n".into(),
        provider: "p".into(),
        kind: "breaker_opened",
        change: "breaker closed -> open".into(),
        cause: Some("server_fault"),
    }
}

#[test]
fn the_last_fifty_transitions_of_a_connection_are_kept_newest_first() {
    let mut events = events::Events::default();
    (0..80).for_each(|at| events.hear(event("a", at)));
    events.hear(event("b", 40));

    let of_a: Vec<_> = events.newest(Some("a"), 100).iter().map(|event| event.at).collect();
    let all = events.newest(None, 3);

    assert_eq!((of_a.len(), of_a[0], of_a[49]), (events::PER_CONNECTION, 79, 30));
    assert_eq!(all.iter().map(|event| event.at).collect::<Vec<_>>(), [79, 78, 77]);
}

#[tokio::test]
async fn a_question_is_answered_with_everything_that_happened_before_it() {
    let clock = Arc::new(ManualClock::at(Moment::from_millis(10_000)));
    let (stats, keeper) = Stats::new(clock, None);
    tokio::spawn(keeper.run());
    (0..100).for_each(|_| stats.finished(finished(Some("team"), "success", vec![attempt("a", "success", 1)])));

    let shown = stats.ask(|kept| kept.combos.to_json(|_| None)).await.unwrap();

    assert_eq!((&shown["team"]["totalRequests"], stats.lost()), (&json!(100), 0));
}

#[test]
fn a_keeper_that_does_not_look_delays_nobody_and_what_is_lost_is_counted() {
    let clock = Arc::new(ManualClock::at(Moment::from_millis(10_000)));
    let (stats, _keeper) = Stats::new(clock, None);
    let one = finished(Some("team"), "success", vec![]);

    (0..QUEUE + 7).for_each(|_| stats.finished(one.clone()));

    assert_eq!(stats.lost(), 7);
}

#[tokio::test]
async fn without_a_keeper_there_is_no_answer() {
    let clock = Arc::new(ManualClock::at(Moment::from_millis(1)));
    let (stats, keeper) = Stats::new(clock, None);
    drop(keeper);

    assert!(stats.ask(|_| ()).await.is_none());
}
