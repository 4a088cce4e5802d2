//! More calls than the gateway takes on: the others are refused at once, and a key that floods it is refused first.

use std::time::{Duration, Instant};

use omniroute_testkit::http::{self, Request, Response};

use crate::common::{KEY, PATIENCE, Site, alone, calm, chat, error_of, soon};

const MOST: usize = 20;

async fn full(site: &Site, calls: usize) -> Vec<tokio::task::JoinHandle<Response>> {
    site.a.control.always("ok first_delay_ms=3000");
    let addr = site.gateway.addr;
    let calls = (0..calls)
        .map(|_| tokio::spawn(async move { http::request(addr, &chat("a/m", false)).await.expect("an answer") }));
    let calls = calls.collect();
    let arrived = site.a.control.wait_until(PATIENCE, |stats| stats.total.started >= 16).await;
    assert!(arrived, "the first calls reach the provider");
    calls
}

fn with_key(key: &str) -> Request {
    Request::chat("a/m", "hello", false).key(key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_what_it_takes_on_calls_are_refused_at_once_and_those_let_in_end_well() {
    let _turn = alone().await;
    let site = Site::open(calm().set("overload.max_in_flight", &MOST.to_string())).await;

    let calls = full(&site, MOST).await;
    let (mut times, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let begin = Instant::now();
        refused.push(site.ask(false).await);
        times.push(begin.elapsed());
    }
    times.sort();

    for answer in &refused {
        assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
        assert_eq!(error_of(answer)["code"], "gateway_overloaded");
    }
    assert!(times[10] < Duration::from_millis(50), "{times:?}");
    for call in calls {
        assert_eq!(soon("a call that was let in", call).await.unwrap().status(), 200);
    }
    assert_eq!(site.a.control.stats().total.started, MOST as u64, "nothing refused has reached the provider");
    assert_eq!(site.ask(false).await.status(), 200, "and there is room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_floods_the_gateway_does_not_keep_another_one_out() {
    let _turn = alone().await;
    let site = Site::open(calm().set("overload.max_in_flight", &MOST.to_string())).await;
    let quiet = site.admin.create_key("quiet").await.key;

    let _calls = full(&site, MOST).await;
    let noisy = site.gateway.ask(&with_key(KEY)).await;
    let addr = site.gateway.addr;
    let asked = tokio::spawn(async move { http::request(addr, &with_key(&quiet)).await.expect("an answer") });
    site.a.control.wait_until(PATIENCE, |stats| stats.total.started > MOST as u64).await;
    let noisy_again = site.gateway.ask(&with_key(KEY)).await;

    assert_eq!(soon("the quiet key's call", asked).await.unwrap().status(), 200);
    assert_eq!((noisy.status(), noisy_again.status()), (503, 429));
    assert_eq!(error_of(&noisy_again)["code"], "key_share_exceeded");
    let page = site.admin.send(Request::get("/metrics")).await.text();
    assert!(page.contains(r#"omniroute_shed_requests_total{reason="key_share"} 1"#), "{page}");
}
