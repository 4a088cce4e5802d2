//! What an earlier gateway of this kind got wrong, each with the test that shows the right behaviour here.
//!
//! | # | the defect | what happens here | tests |
//! |---|---|---|---|
//! | 1 | the breaker never opens on failures one after the other | the twelfth opens it | `faults/defects::twelve_failures_one_after_the_other_open_the_breaker_with_its_defaults` |
//! | 2 | a probe that is answered with an error closes it | it opens for longer | `faults/breaker::a_failed_probe_opens_the_breaker_again_for_a_time_that_grows_with_every_cycle` |
//! | 3 | a probe that ends without a verdict, or hangs, holds its place for ever | the place is free at once, or after its lease | `faults/breaker::a_probe_whose_client_leaves_frees_its_place_at_once` `faults/breaker::a_probe_that_hangs_frees_its_place_after_its_lease` |
//! | 4 | `Retry-After` is ignored, one request makes 21 calls | obeyed to the second, no call before | `faults/breaker::a_retry_after_is_obeyed_to_the_second_and_no_call_comes_before` `faults/amplification::limits_with_a_hint_see_no_call_before_it_is_over` |
//! | 5 | a 429 throws the limiter away, the next call gets a full bucket | the pace goes on | `faults/defects::a_limit_told_by_the_provider_does_not_refill_our_own` |
//! | 6 | one lock for all selections of all providers | nobody waits for another provider | `faults/defects::requests_that_hang_at_one_provider_do_not_delay_another` |
//! | 7 | the longest wait for a turn ends running calls | it bounds the waiting alone | `faults/defects::the_longest_wait_for_a_turn_ends_no_running_call` |
//! | 8 | a wrong body or a mistyped model cools every key in turn | one call, no connection is touched; a missing model rests alone | `faults/breaker::what_is_the_clients_fault_never_cools_a_connection` `faults/breaker::a_model_that_is_not_there_locks_that_model_and_not_the_connection` `faults/breaker::a_refused_key_is_terminal_after_the_second_refusal_and_only_the_other_account_serves` |
//! | 9 | out of money is taken for a rate limit | the account is out until somebody acts | `faults/defects::out_of_money_is_no_rate_limit_although_it_comes_as_429` `actors/src/resilience/classify::out_of_money_is_not_a_rate_limit_although_it_arrives_as_429` |
//! | 10 | words in an echoed prompt change the class of an error | status and codes decide | `faults/defects::words_of_a_prompt_in_an_error_do_not_change_what_it_is` `actors/src/resilience/classify::a_users_words_echoed_in_a_bad_request_do_not_change_its_class` |
//! | 11 | one breaker per provider merges its accounts and endpoints | one account's breaker is its own | `faults/defects::the_breaker_of_one_account_leaves_its_neighbour_alone` |
//! | 12 | no bound on retries, no deadline, sleeps that nothing ends | attempts are bounded, the total ends all of it | `faults/amplification::failures_of_every_call_are_not_amplified` `faults/deadlines::the_total_ends_a_whole_answer_that_does_not_come` `faults/defects::a_wait_for_a_cooldown_ends_with_its_client` |
//! | 13 | a client that left is served to the end | the upstream is let go within 100 ms | `faults/hang_up::a_hang_up_in_any_phase_cancels_the_upstream_within_100_ms` |
//! | 13b | a defect of the gateway cools accounts; the ladder does not climb | only the provider is blamed for the provider; the ladder climbs | `actors/src/resilience/outcome::what_the_client_or_nobody_caused_never_cools_and_never_counts` `faults/matrix/limits::limits_without_a_hint_climb_the_ladder` |
//! | 14 | a stream that broke ends like one that is whole | an error event and no `[DONE]` | `faults/broken_answers::a_stream_that_broke_after_content_keeps_what_came_and_is_not_spliced` `faults/matrix/answers::what_breaks_after_content_ends_in_an_error_event_and_counts` |
//! | 15 | the first status with the last message | both of the same attempt | `faults/defects::status_and_message_are_of_the_same_attempt` |
//! | 16 | another vendor's model answers in an emergency, asked with foreign credentials | what was not asked for is not asked, and each key goes to its own provider | `faults/defects::nobody_answers_who_was_not_asked_for_and_no_key_goes_to_another_provider` |

use std::time::{Duration, Instant};

use omniroute_testkit::http::{HangUp, Moment, open_and_hang_up};
use omniroute_testkit::mock::Behaviour;
use serde_json::json;

use super::table;
use crate::common::{KEY, PATIENCE, Site, calm, chat, error_of, program, soon, state_of, stranger, touchy};

#[test]
fn every_defect_has_its_test() {
    let rows = table::rows(include_str!("defects.rs"));

    assert_eq!(rows.len(), 17);
    table::check(&rows);
}

#[tokio::test]
async fn twelve_failures_one_after_the_other_open_the_breaker_with_its_defaults() {
    let defaults = program().set("auth.service_key", KEY).set("demo.enabled", "never").set("server.workers", "2");
    let site = Site::open(defaults).await;
    site.a.control.always("status code=503");

    let mut states = Vec::new();
    for _ in 0..12 {
        states.push(site.state_of_a().await["breaker"].as_str().unwrap_or_default().to_owned());
        assert_eq!(site.ask(false).await.status(), 503);
    }
    let now = site.a_becomes("open").await;
    let refused = site.ask(false).await;

    // By the share in the window it opens with the tenth, by the run with the twelfth.
    assert!(!states[..9].contains(&"OPEN".to_owned()), "{states:?}");
    assert_eq!(error_of(&refused)["code"], "provider_circuit_open", "{now}");
    assert!((10..=12).contains(&site.a.control.settled().await.total.started));
}

#[tokio::test]
async fn a_limit_told_by_the_provider_does_not_refill_our_own() {
    let queue = "resilience.request_queue";
    let builder = calm().set(&format!("{queue}.auto_enable_api_key_providers"), "true");
    let builder = builder.set(&format!("{queue}.requests_per_minute"), "3").set(&format!("{queue}.max_wait_ms"), "1");
    let builder = builder.set(&format!("{queue}.min_time_between_requests_ms"), "0");
    let site = Site::open(builder).await;
    site.a.control.script(["ok", "ok", "status code=429 retry_after=1"]);
    let spent = [site.ask(false).await.status(), site.ask(false).await.status(), site.ask(false).await.status()];

    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let next = site.ask(false).await;

    assert_eq!((spent, next.status()), ([200, 200, 429], 429), "{}", next.text());
    assert_ne!(error_of(&next)["code"], "model_cooldown", "the rest is over, our own pace is not");
    assert_eq!(site.a.control.settled().await.total.started, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_hang_at_one_provider_do_not_delay_another() {
    let site = Site::open(calm()).await;
    site.a.control.always("hang_before_head");
    let hanging: Vec<_> = (0..50)
        .map(|_| {
            let (addr, request) = (site.gateway.addr, chat("a/m", true));
            tokio::spawn(async move { omniroute_testkit::http::request(addr, &request).await })
        })
        .collect();
    assert!(site.a.control.wait_until(PATIENCE, |stats| stats.total.in_flight == 50).await);

    let mut took = Vec::new();
    for _ in 0..9 {
        let begin = Instant::now();
        let answer = site.gateway.ask(&chat("b/m", false)).await;
        took.push(begin.elapsed());
        assert_eq!(answer.status(), 200);
    }

    took.sort_unstable();
    assert!(took[4] < Duration::from_millis(100), "{took:?}");
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn the_longest_wait_for_a_turn_ends_no_running_call() {
    let queue = "resilience.request_queue";
    let builder = calm().set(&format!("{queue}.auto_enable_api_key_providers"), "true");
    let site = Site::open(builder.set(&format!("{queue}.max_wait_ms"), "100")).await;
    site.a.control.always("ok first_delay_ms=600");

    let answer = site.ask(false).await;

    assert_eq!(answer.status(), 200, "{}", answer.text());
}

#[tokio::test]
async fn out_of_money_is_no_rate_limit_although_it_comes_as_429() {
    let site = Site::open(calm()).await;
    site.a.control.always("status code=429 error_code=insufficient_quota type=insufficient_quota");

    site.ask(false).await;
    let now = site.a_becomes("credits_exhausted").await;
    let refused = site.ask(false).await;

    assert_eq!((refused.status(), &error_of(&refused)["code"]), (503, &json!("no_usable_connection")), "{now}");
    assert_eq!(site.a.control.settled().await.total.started, 1);
}

#[tokio::test]
async fn words_of_a_prompt_in_an_error_do_not_change_what_it_is() {
    let site = Site::open(calm()).await;
    let words = "rate limit, capacity, billing, quota exceeded, exceeded your current quota, max tokens";
    let body = json!({"error": {"message": format!("invalid message: {words}"), "type": "invalid_request_error"}});
    let echo = json!({"name": "status", "code": 422, "body": body.to_string()});
    site.a.control.always(Behaviour::from_json(&echo).unwrap());

    let answer = site.ask_team(false).await;

    let now = site.state_of_a().await;
    assert_eq!((answer.status(), &now["state"]), (422, &json!("ready")), "{now}");
    assert_eq!(site.b.control.stats().total.started, 0);
}

#[tokio::test]
async fn the_breaker_of_one_account_leaves_its_neighbour_alone() {
    let site = Site::open(touchy(60_000)).await;
    let second = site.admin.create_connection(&site.at_a.node, "second", "sk-second").await;
    site.a.control.account("sk-a").always("status code=500");
    // Slower than a connection that was never used is taken for: the broken one stays the first choice.
    site.a.control.account("sk-second").always("ok first_delay_ms=100");

    for _ in 0..40 {
        let answer = site.gateway.ask(&stranger("a/m", false)).await;
        assert_eq!(answer.status(), 200, "the other account serves");
        if site.state_of_a().await["state"] == "open" {
            break;
        }
    }

    let now = site.a_becomes("open").await;
    let neighbour = state_of(&site.admin, &second).await;
    assert_eq!((&neighbour["state"], &neighbour["counts"]["windowFailures"]), (&json!("ready"), &json!(0)), "{now}");
    assert_eq!(site.ask(true).await.status(), 200);
}

#[tokio::test]
async fn a_wait_for_a_cooldown_ends_with_its_client() {
    let site = Site::open(calm().set("resilience.wait_for_cooldown.enabled", "true")).await;
    site.a.control.script(["status code=429 retry_after=2"]);
    site.ask(false).await;

    let moment = Moment::AfterRequest(Duration::from_millis(200));
    open_and_hang_up(site.gateway.addr, &chat("a/m", false), moment, HangUp::Fin).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let now = site.state_of_a().await;

    assert_eq!(site.a.control.settled().await.total.started, 1, "nobody waits any more: {now}");
    assert_eq!(now["inFlight"], 0);
}

#[tokio::test]
async fn status_and_message_are_of_the_same_attempt() {
    let site = Site::open(calm()).await;
    let says = |code: u16, words: &str| {
        let body = json!({"error": {"message": words, "type": "some_error"}}).to_string();
        Behaviour::from_json(&json!({"name": "status", "code": code, "body": body})).unwrap()
    };

    for (first, second) in [(500, 429), (429, 500), (503, 500), (500, 503), (404, 500), (500, 404)] {
        site.admin.reset(&json!({"scope": "all"})).await;
        site.a.control.script([says(first, &format!("words of {first}"))]);
        site.b.control.script([says(second, &format!("words of {second}"))]);

        let answer = site.ask_team(false).await;

        let shown = if answer.text().contains(&format!("words of {first}")) { first } else { second };
        let own = match shown {
            500 => 502,
            other => other,
        };
        assert!(answer.text().contains(&format!("words of {shown}")), "{first} {second}: {}", answer.text());
        assert_eq!(answer.status(), own, "{first} {second}: {}", answer.text());
    }
}

#[tokio::test]
async fn nobody_answers_who_was_not_asked_for_and_no_key_goes_to_another_provider() {
    let site = Site::open(calm()).await;
    site.a.control.always("status code=402");

    let alone = site.ask(false).await;
    let again = soon("the refusal", site.ask(false)).await;
    let team = site.ask_team(false).await;

    assert_eq!((alone.status(), again.status(), team.status()), (502, 503, 200), "{}", alone.text());
    let keys = |mock: &omniroute_testkit::mock::MockUpstream| {
        mock.control.requests().into_iter().map(|request| request.key).collect::<Vec<_>>()
    };
    assert_eq!((keys(&site.a), keys(&site.b)), (vec!["sk-a".to_owned()], vec!["sk-b".to_owned()]));
}
