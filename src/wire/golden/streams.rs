//! Every provider's stream for every client, cut anywhere.

use bytes::Bytes;
use proptest::prelude::*;

use super::formats::{CLIENTS, PROVIDERS};
use super::relay::{heard, told};
use super::stored;
use crate::chat::arbitrary;

#[test]
fn every_stream_is_written_for_every_client_as_it_was_reviewed() {
    for provider in PROVIDERS {
        let stream = heard(&provider, [provider.stream()]);
        assert_eq!(stream.whole, Ok(()), "{provider:?}");

        for client in CLIENTS {
            let text = told(&client, &stream, &arbitrary::reply(client.format));
            let name = format!("stream_{}_to_{}", provider.name, client.name);
            stored(&name, std::str::from_utf8(&text).unwrap());
        }
    }
}

/// The bytes in pieces that end at these places.
fn cut(bytes: &Bytes, mut places: Vec<usize>) -> Vec<Bytes> {
    places.sort_unstable();
    let mut rest = bytes.clone();
    let mut pieces = Vec::new();
    let mut done = 0;
    for place in places {
        pieces.push(rest.split_to(place - done));
        done = place;
    }
    pieces.push(rest);
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn where_a_stream_is_cut_changes_nothing(
        provider in prop::sample::select(PROVIDERS.to_vec()),
        client in prop::sample::select(CLIENTS.to_vec()),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let (bytes, reply) = (provider.stream(), arbitrary::reply(client.format));
        let whole = told(&client, &heard(&provider, [bytes.clone()]), &reply);

        let places = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
        let pieces = told(&client, &heard(&provider, cut(&bytes, places)), &reply);

        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn byte_by_byte_is_as_good_as_all_at_once(provider in prop::sample::select(PROVIDERS.to_vec())) {
        let bytes = provider.stream();
        let whole = heard(&provider, [bytes.clone()]);

        let drops = heard(&provider, bytes.iter().map(|byte| Bytes::copy_from_slice(&[*byte])));

        prop_assert_eq!((drops.events, drops.whole), (whole.events, whole.whole));
    }
}
