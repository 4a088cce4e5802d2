//! Breakers, cooldowns and lockouts: who is spared, who is asked, and what outlives a restart.

use std::time::{Duration, Instant};

use omniroute_testkit::http::{self, HangUp, Moment, Response, open_and_hang_up};
use serde_json::json;

use crate::common::{PATIENCE, Site, alone, calm, chat, error_of, eventually, soon, touchy};

/// So many clients at once, each on a connection of its own.
async fn crowd(site: &Site, clients: usize, stream: bool) -> Vec<Response> {
    let (addr, request) = (site.gateway.addr, chat("a/m", stream));
    let ask = |_| {
        let request = request.clone();
        tokio::spawn(async move { http::request(addr, &request).await.expect("an answer") })
    };
    let tasks: Vec<_> = (0..clients).map(ask).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(soon("an answer in the crowd", task).await.unwrap());
    }
    answers
}

fn with_status(answers: &[Response], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status() == status).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_callers_on_an_open_breaker_reach_the_upstream_never() {
    let _turn = alone().await;
    let site = Site::open(touchy(60_000)).await;
    site.open_breaker_of_a().await;
    site.a.control.reset();

    let answers = crowd(&site, 200, false).await;

    assert_eq!((with_status(&answers, 503), site.a.control.stats().total.started), (200, 0));
    assert!(answers.iter().all(|answer| answer.header("retry-after").is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_callers_on_a_half_open_breaker_exactly_one_reaches_the_upstream() {
    let _turn = alone().await;
    let site = Site::open(touchy(1_000)).await;
    site.open_breaker_of_a().await;
    site.a.control.reset();
    site.a.control.always("ok first_delay_ms=1500");
    site.a_becomes("half_open").await;

    let answers = crowd(&site, 200, false).await;

    let stats = site.a.control.settled().await;
    assert_eq!((with_status(&answers, 200), with_status(&answers, 503), stats.total.started), (1, 199, 1));
    site.a_becomes("ready").await;
    assert_eq!(site.ask(false).await.status(), 200, "and its success closed the breaker");
}

#[tokio::test]
async fn a_probe_whose_client_leaves_frees_its_place_at_once() {
    let site = Site::open(touchy(1_000)).await;
    site.open_breaker_of_a().await;
    site.a.control.reset();
    site.a.control.script(["hang_before_head"]);
    site.a_becomes("half_open").await;

    let moment = Moment::AfterRequest(Duration::from_millis(200));
    open_and_hang_up(site.gateway.addr, &chat("a/m", false), moment, HangUp::Fin).await.unwrap();
    assert!(site.a.control.wait_until(PATIENCE, |stats| stats.total.cancelled == 1).await);
    let next = eventually(Duration::from_secs(2), async || Some(site.ask(false).await).filter(|a| a.status() == 200));

    assert!(next.await.is_some(), "{}", site.state_of_a().await);
}

#[tokio::test]
async fn a_probe_that_hangs_frees_its_place_after_its_lease() {
    let lease = "resilience.provider_breaker.apikey.probe_lease_ms";
    let site = Site::open(touchy(1_000).set(lease, "700")).await;
    site.open_breaker_of_a().await;
    site.a.control.reset();
    site.a.control.script(["hang_before_head"]);
    site.a_becomes("half_open").await;

    let (addr, request) = (site.gateway.addr, chat("a/m", false));
    let hanging = tokio::spawn(async move { http::request(addr, &request).await });
    assert!(site.a.control.wait_until(PATIENCE, |stats| stats.total.started == 1).await);
    let during = site.ask(false).await.status();
    let after = eventually(Duration::from_secs(3), async || Some(site.ask(false).await).filter(|a| a.status() == 200));

    assert_eq!(during, 503, "one probe at a time");
    assert!(after.await.is_some(), "{}", site.state_of_a().await);
    hanging.abort();
}

#[tokio::test]
async fn a_failed_probe_opens_the_breaker_again_for_a_time_that_grows_with_every_cycle() {
    let site = Site::open(touchy(1_000)).await;
    site.open_breaker_of_a().await;
    site.a_becomes("half_open").await;

    site.a.control.script(["status code=500"]);
    assert_eq!(site.ask(false).await.status(), 502);
    let now = site.a_becomes("open").await;
    let refused = site.ask(false).await;

    assert_eq!(refused.status(), 503, "{now}");
    let wait: u64 = refused.header("retry-after-ms").unwrap().parse().unwrap();
    // What it has grown by is jittered in full: one draw may be anywhere between once and twice the first time.
    assert!((800..=2_000).contains(&wait) && now["openCycles"] == 2, "{wait} ms: {now}");
}

#[tokio::test]
async fn a_brown_out_that_never_makes_a_run_opens_the_breaker_by_its_share() {
    let apikey = "resilience.provider_breaker.apikey";
    let builder = calm().set(&format!("{apikey}.minimum_calls"), "10");
    let site = Site::open(builder.set(&format!("{apikey}.failure_rate_percent"), "40")).await;

    for _ in 0..20 {
        site.a.control.script(["status code=500", "ok"]);
        site.ask(false).await;
        site.ask(false).await;
    }

    site.a_becomes("open").await;
}

#[tokio::test]
async fn what_is_the_clients_fault_never_cools_a_connection() {
    let site = Site::open(touchy(60_000)).await;

    for code in [413, 422, 400] {
        for stream in [false, true] {
            for _ in 0..3 {
                site.a.control.script([format!("status code={code}").as_str()]);
                assert_eq!(site.ask(stream).await.status(), code);
            }
        }
    }

    let now = site.state_of_a().await;
    assert_eq!((&now["state"], site.ask(false).await.status()), (&json!("ready"), 200), "{now}");
}

#[tokio::test]
async fn a_model_that_is_not_there_locks_that_model_and_not_the_connection() {
    let site = Site::open(touchy(60_000)).await;
    site.a.control.script(["status code=404"]);

    let missing = site.gateway.ask(&chat("a/gone", false)).await;
    let locked = site.gateway.ask(&chat("a/gone", false)).await;
    let other = site.ask(false).await;

    assert_eq!((missing.status(), other.status()), (404, 200), "{}", missing.text());
    assert_eq!(locked.status(), 429, "{}", locked.text());
    let now = site.state_of_a().await;
    assert_eq!(now["state"], "ready", "{now}");
    assert_eq!(site.a.control.settled().await.total.started, 2);
}

#[tokio::test]
async fn clients_that_hang_up_never_cool_a_connection() {
    let site = Site::open(touchy(60_000)).await;
    site.a.control.always("ok tokens=1000 delay_ms=20 first_delay_ms=100");

    for (n, how) in [HangUp::Fin, HangUp::Rst].into_iter().cycle().take(8).enumerate() {
        let moment = if n < 4 { Moment::AfterRequest(Duration::from_millis(50)) } else { Moment::AfterBytes(200) };
        open_and_hang_up(site.gateway.addr, &chat("a/m", true), moment, how).await.unwrap();
    }
    assert!(site.a.control.wait_until(PATIENCE, |stats| stats.total.cancelled == 8).await);

    site.a.control.reset();
    let now = site.state_of_a().await;
    assert_eq!((&now["state"], site.ask(false).await.status()), (&json!("ready"), 200), "{now}");
}

#[tokio::test]
async fn a_retry_after_is_obeyed_to_the_second_and_no_call_comes_before() {
    let site = Site::open(calm()).await;
    site.a.control.script(["status code=429 retry_after=2"]);
    let limited = Instant::now();
    assert_eq!(site.ask(false).await.status(), 429);

    let mut early = Vec::new();
    let (waited, answer) = loop {
        let before = limited.elapsed();
        let answer = site.ask(false).await;
        match answer.status() {
            429 => early.push((before, answer)),
            _ => break (before, answer),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };

    assert_eq!(answer.status(), 200);
    assert!(waited >= Duration::from_millis(1_950), "asked again after {waited:?}");
    assert!(waited < Duration::from_millis(3_000), "rested for {waited:?}");
    let told = early.iter().map(|(at, answer)| (at, answer.header("retry-after-ms").unwrap().parse::<u64>().unwrap()));
    for (at, wait_ms) in told {
        let until = at.as_millis() as u64 + wait_ms;
        assert!((1_900..=2_400).contains(&until), "at {at:?} the client was told {wait_ms} ms");
    }
    assert_eq!(site.a.control.settled().await.total.started, 2);
}

#[tokio::test]
async fn a_hint_in_milliseconds_a_date_and_garbage_are_understood() {
    let site = Site::open(calm()).await;
    let date = jiff::Zoned::now().in_tz("UTC").unwrap() + jiff::Span::new().seconds(30);
    let date = date.strftime("%a,+%d+%b+%Y+%H:%M:%S+GMT").to_string();
    let cases = [
        ("retry_after_ms=2500".to_owned(), 2_000..=3_000),
        (format!("retry_after={date}"), 27_000..=34_000),
        ("retry_after=soon".to_owned(), 2_000..=3_700),
        ("retry_after=1000000000".to_owned(), 3_590_000..=3_960_000),
    ];

    for (hint, expected) in cases {
        site.a.control.script([format!("status code=429 {hint}").as_str()]);
        assert_eq!(site.ask(false).await.status(), 429);
        site.a_becomes("cooling_down").await;
        let wait: u64 = site.ask(false).await.header("retry-after-ms").unwrap().parse().unwrap();

        assert!(expected.contains(&wait), "{hint}: {wait} ms");
        site.admin.reset(&json!({"scope": "all"})).await;
    }
}

#[tokio::test]
async fn a_first_target_that_refuses_or_is_rate_limited_is_invisible_while_another_lives() {
    let mut site = Site::open(calm()).await;

    site.a.control.script(["status code=429 retry_after=60"]);
    let limited = site.ask_team(false).await;
    let spared = site.ask_team(true).await;
    site.admin.reset(&json!({"scope": "all"})).await;
    site.a.refuse().await;
    let refused = site.ask_team(true).await;

    assert_eq!([limited.status(), spared.status(), refused.status()], [200; 3]);
    assert_eq!(spared.header("x-omniroute-attempts"), Some("1"), "a resting account is passed over, not tried");
    assert_eq!(site.a.control.stats().total.started, 1);
    assert_eq!(site.b.control.settled().await.total.answered, 3);
}

#[tokio::test]
async fn of_two_accounts_at_one_provider_the_one_that_rests_is_passed_over() {
    let site = Site::open(calm()).await;
    let second = json!({"provider": site.at_a.node, "name": "second", "apiKey": "sk-second", "priority": 2});
    let second = site.admin.create_connection_with(&second).await;
    site.a.control.account("sk-a").script(["status code=429 retry_after=60"]);

    let first = site.ask(false).await;
    let next = site.ask(true).await;

    assert_eq!((first.status(), first.header("x-omniroute-attempts")), (200, Some("2")));
    assert_eq!((next.status(), next.header("x-omniroute-attempts")), (200, Some("1")));
    assert_eq!(next.header("x-omniroute-connection"), Some(second.as_str()));
    let counts =
        (site.a.control.account("sk-a").counts().started, site.a.control.account("sk-second").counts().started);
    assert_eq!(counts, (1, 2));
}

#[tokio::test]
async fn a_request_waits_for_a_short_cooldown_when_nobody_else_is_there() {
    let wait = "resilience.wait_for_cooldown";
    let builder = calm().set(&format!("{wait}.enabled"), "true").set(&format!("{wait}.max_retry_wait_sec"), "5");
    let site = Site::open(builder).await;
    site.a.control.script(["status code=429 retry_after=1"]);
    assert_eq!(site.ask(false).await.status(), 429, "the one that met the limit is told");

    let waited = soon("the wait for a cooldown of a second", site.ask(false)).await;

    assert_eq!((waited.status(), site.a.control.settled().await.total.started), (200, 2));
}

#[tokio::test]
async fn a_refused_key_is_terminal_after_the_second_refusal_and_only_the_other_account_serves() {
    let site = Site::open(calm().set("resilience.connection_cooldown.apikey.base_cooldown_ms", "0")).await;
    site.a.control.always("status code=401");

    site.ask(false).await;
    site.a_becomes("cooling_down").await;
    site.a_becomes("ready").await;
    site.ask(false).await;
    let now = site.a_becomes("expired").await;
    let refused = site.ask(false).await;
    let other = site.ask_team(false).await;

    assert_eq!((refused.status(), &error_of(&refused)["code"]), (503, &json!("no_usable_connection")), "{now}");
    assert_eq!(other.status(), 200);
    assert_eq!(site.a.control.stats().total.started, 2);
}

#[tokio::test]
async fn an_exhausted_account_stays_out_until_somebody_acts() {
    let site = Site::open(calm()).await;
    site.a.control.script(["status code=402"]);
    site.ask(false).await;

    site.a_becomes("credits_exhausted").await;
    site.admin.reset(&json!(null)).await;
    let after_breakers = site.ask(false).await.status();
    site.admin.reset(&json!({"scope": "all"})).await;
    let after_all = site.ask(false).await.status();

    assert_eq!((after_breakers, after_all), (503, 200));
}

#[tokio::test]
async fn a_restart_keeps_cooldowns_terminal_states_lockouts_and_open_breakers() {
    let mut site = Site::open(touchy(300_000)).await;
    site.open_breaker_of_a().await;
    site.b.control.script(["status code=429 retry_after=600"]);
    site.gateway.ask(&chat("b/m", false)).await;
    let broke = site.admin.create_connection(&site.at_b.node, "broke", "sk-broke").await;
    site.b.control.account("sk-broke").script(["status code=402"]);
    site.gateway.ask(&chat("b/m", false).header("x-omniroute-connection", &broke)).await;
    let picky = site.admin.create_connection(&site.at_b.node, "picky", "sk-picky").await;
    site.b.control.account("sk-picky").script(["status code=404"]);
    site.gateway.ask(&chat("b/gone", false).header("x-omniroute-connection", &picky)).await;
    site.a_becomes("open").await;
    // The state is written within a quarter of a second; a SIGTERM flushes what is left.
    let before = states(&site, &broke, &picky).await;

    site.gateway.restart().await;
    site.admin = site.gateway.admin().await;
    let after = states(&site, &broke, &picky).await;

    assert_eq!(before[..3], ["open", "cooling_down", "credits_exhausted"]);
    assert_eq!(after, before);
    site.a.control.reset();
    assert_eq!((site.ask(false).await.status(), site.a.control.stats().total.started), (503, 0));
}

/// The states of `a`, `b`, `broke`, and the lockouts of `picky`.
async fn states(site: &Site, broke: &str, picky: &str) -> [String; 4] {
    let state = async |id: &str| crate::common::state_of(&site.admin, id).await;
    let word = |entry: serde_json::Value| entry["state"].as_str().unwrap_or_default().to_owned();
    let locked = state(picky).await["lockouts"].as_array().cloned().unwrap_or_default();
    [
        word(site.state_of_a().await),
        word(state(&site.at_b.connections[0]).await),
        word(state(broke).await),
        locked.iter().map(|lockout| lockout["model"].as_str().unwrap_or_default().to_owned()).collect(),
    ]
}
