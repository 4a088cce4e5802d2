//! Names whose addresses change between two looks: what is checked is what is connected to.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::server::{answer, in_ms, post_to, settings};
use crate::upstream::{ClientFactory, Lookup, Outside, SendErrorKind as Kind, UpstreamSettings, send};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const METADATA: &str = "169.254.169.254";

/// A name server without a memory, which gives these answers in turn and the last one for ever.
fn names(answers: &[&[&str]]) -> (Lookup, Arc<AtomicUsize>) {
    let parsed = |list: &&[&str]| list.iter().map(|text| text.parse::<IpAddr>().unwrap()).collect::<Vec<_>>();
    let (answers, asked): (Vec<_>, Arc<AtomicUsize>) = (answers.iter().map(parsed).collect(), Arc::default());
    let count = Arc::clone(&asked);
    let lookup = move |_: &str| {
        let turn = count.fetch_add(1, Ordering::SeqCst);
        Ok(answers.get(turn).or(answers.last()).cloned().unwrap_or_default())
    };
    (Arc::new(lookup), asked)
}

fn factory(exceptions: &[&str], lookup: Lookup) -> ClientFactory {
    let settings = UpstreamSettings { dns_cache: Duration::ZERO, dns_stale: Duration::ZERO, ..settings(exceptions) };
    ClientFactory::with_outside(settings, Outside { lookup, ..Outside::default() }).unwrap()
}

#[actix_rt::test]
async fn a_name_is_looked_up_once_for_a_connection_so_nothing_can_change_behind_the_check() {
    let server = answer(ANSWER).await;
    let (lookup, asked) = names(&[&["127.0.0.1"], &[METADATA]]);
    let factory = factory(&["rebinding.test:*"], lookup);
    let url = format!("http://rebinding.test:{}/", server.address.port());

    let first = send(&factory.client(), post_to(&url), in_ms(5_000)).await;
    let second = send(&factory.client(), post_to(&url), in_ms(5_000)).await.unwrap_err();

    assert!(first.is_ok(), "{first:?}");
    assert!(matches!(second.kind, Kind::Refused(_)), "even a listed name must not lead to the metadata: {second:?}");
    assert_eq!((asked.load(Ordering::SeqCst), server.accepted.get()), (2, 1));
}

#[actix_rt::test]
async fn a_name_that_turns_inside_is_refused_although_its_url_was_fine() {
    let url = "https://rebinding.test/v1";

    for inside in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "10.0.0.1", METADATA, "fd00:ec2::254"] {
        let factory = factory(&[], names(&[&[inside]]).0);
        let request = post_to(url);
        assert!(factory.policy().check_url(&request.url).is_ok(), "nothing is wrong with the name itself");

        let refused = send(&factory.client(), request, in_ms(5_000)).await.unwrap_err();

        assert!(matches!(refused.kind, Kind::Refused(_)), "{inside}: {refused:?}");
        assert!(!refused.request_sent(), "{inside}");
    }
}

#[actix_rt::test]
async fn of_several_addresses_only_those_outside_or_listed_are_tried() {
    let server = answer(ANSWER).await;
    let (lookup, _) = names(&[&[METADATA, "127.0.0.1", "fe80::1"]]);
    let factory = factory(&["rebinding.test:*"], lookup);
    let url = format!("http://rebinding.test:{}/", server.address.port());

    let answered = send(&factory.client(), post_to(&url), in_ms(5_000)).await;

    assert!(answered.is_ok(), "{answered:?}");
    assert_eq!(server.accepted.get(), 1);
}
