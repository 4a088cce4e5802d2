//! Every provider's answer for every client.

use super::formats::{CLIENTS, PROVIDERS};
use super::relay::heard;
use super::{pretty, stored};
use crate::chat::{Collector, arbitrary};

#[test]
fn every_answer_is_written_for_every_client_as_it_was_reviewed() {
    for provider in PROVIDERS {
        let answer = (provider.decode_answer)(provider.answer).unwrap();

        for client in CLIENTS {
            let body = (client.encode_answer)(&answer, &arbitrary::reply(client.format));
            stored(&format!("answer_{}_to_{}", provider.name, client.name), &pretty(&body));
        }
    }
}

#[test]
fn an_answer_that_was_streamed_is_the_same_answer() {
    for provider in PROVIDERS {
        let whole = (provider.decode_answer)(provider.answer).unwrap();
        let stream = heard(&provider, [provider.stream()]);

        let mut collector = Collector::default();
        stream.events.iter().for_each(|event| collector.take(event));
        let collected = collector.finish();

        assert_eq!(stream.whole, Ok(()), "{provider:?}");
        assert_eq!(collected, whole, "{provider:?}");
    }
}

#[test]
fn the_class_of_service_that_everybody_gets_is_called_default() {
    let answer = (PROVIDERS[2].decode_answer)(PROVIDERS[2].answer).unwrap();

    let body = (CLIENTS[0].encode_answer)(&answer, &arbitrary::reply(CLIENTS[0].format));

    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["service_tier"], "default");
}
