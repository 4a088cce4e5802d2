//! Fixtures with bytes changed, through every reader and writer.
//!
//! An execution reads one changed input and writes what came of it for one other format. It must not panic, and what is written
//! must not outgrow what was read. `scripts/fuzz` runs many; each has a number that makes it happen again
//! (`FUZZ_START=number FUZZ_EXECUTIONS=1`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::formats::{CLIENTS, Client, PROVIDERS, Provider};
use super::mutate::{Random, mutated};
use super::relay::{Framing, framed_message, heard, told};
use crate::chat::{Original, Reply, WayBack, arbitrary};

/// Executions of the test that always runs.
const FEW: u64 = 2_000;

/// The most that may be written for so many bytes. A byte of text may become six, a stream repeats its text in every closing
/// frame, and each frame has a head that is larger than the shortest frame that can be read.
const fn allowed(read: usize) -> usize {
    64 * read + 64 * 1024
}

/// What all executions share.
struct Fuzz {
    streams: Vec<Bytes>,
    /// Bedrock's messages before they are framed.
    messages: Vec<(String, Vec<u8>)>,
    replies: Vec<Reply>,
}

impl Fuzz {
    fn new() -> Self {
        let streams = PROVIDERS.iter().map(Provider::stream).collect();
        let with_request = |client: &Client| {
            let request = (client.decode)(client.fixture).unwrap();
            Reply { request: request.into(), ..arbitrary::reply(client.format) }
        };
        let list = include_bytes!("fixtures/streams/bedrock.json");
        let list: Vec<(String, serde_json::Value)> = serde_json::from_slice(list).unwrap();
        let messages = list.into_iter().map(|(name, payload)| (name, payload.to_string().into_bytes())).collect();
        Self { streams, messages, replies: CLIENTS.iter().map(with_request).collect() }
    }

    /// One execution: whether something was written, or what is wrong.
    fn execute(&self, number: u64) -> Result<bool, String> {
        let run = || match number % 4 {
            0 => self.request(&mut Random::new(number)),
            1 => self.answer(&mut Random::new(number)),
            _ => self.stream(&mut Random::new(number)),
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok((read, written)) if written <= allowed(read) => Ok(written > 0),
            Ok((read, written)) => Err(format!("execution {number}: {read} bytes became {written}")),
            Err(_) => Err(format!("execution {number}: a panic")),
        }
    }

    fn request(&self, random: &mut Random) -> (usize, usize) {
        let (client, provider) = (random.pick(&CLIENTS), random.pick(&PROVIDERS));
        let body = mutated(client.fixture, random.pick(&CLIENTS).fixture, random);
        let request = (client.decode)(&body);
        let encoded = request.ok().and_then(|request| provider.encoded(&request).ok());
        (body.len(), encoded.map_or(0, |encoded| encoded.body.len()))
    }

    fn answer(&self, random: &mut Random) -> (usize, usize) {
        let (provider, client) = (random.pick(&PROVIDERS), random.below(CLIENTS.len()));
        let body = mutated(provider.answer, random.pick(&PROVIDERS).answer, random);
        let reply = &self.replies[client];
        let way_back = disguises(random);
        let answer = (provider.decode_answer)(&body).map(|answer| way_back.restore(answer));
        let written = answer.map_or(0, |answer| (CLIENTS[client].encode_answer)(&answer, reply).len());
        (body.len() + CLIENTS[client].fixture.len(), written)
    }

    fn stream(&self, random: &mut Random) -> (usize, usize) {
        let (at, client) = (random.below(PROVIDERS.len()), random.below(CLIENTS.len()));
        let bytes = self.changed_stream(at, random);
        let read = bytes.len();
        let mut stream = heard(&PROVIDERS[at], pieces(bytes, random));
        assert!(stream.events.len() <= read + 64, "{} events of {read} bytes", stream.events.len());
        let (mut restorer, mut events) = (disguises(random).for_stream(), Vec::new());
        stream.events.drain(..).for_each(|event| restorer.restore(event, &mut events));
        stream.events = events;
        let written = told(&CLIENTS[client], &stream, &self.replies[client]);
        // The request is repeated in the first frames and the last one.
        (read + 4 * CLIENTS[client].fixture.len(), written.len())
    }

    fn changed_stream(&self, at: usize, random: &mut Random) -> Bytes {
        let other = random.pick(&self.streams).clone();
        match PROVIDERS[at].framing {
            // Broken checksums end it at once, so mostly the payloads are changed.
            Framing::Messages if random.below(4) > 0 => self.changed_messages(&other, random),
            _ => mutated(&self.streams[at], &other, random).into(),
        }
    }

    /// The messages of the fixture, some of them changed, left out, or said twice.
    fn changed_messages(&self, other: &[u8], random: &mut Random) -> Bytes {
        let mut out = Vec::new();
        for (name, payload) in &self.messages {
            match random.below(12) {
                0 => {}
                1 => out.extend_from_slice(&framed_message(name, &mutated(payload, other, random))),
                2 => out.extend_from_slice(&framed_message(&random.pick(&self.messages).0, payload)),
                3 => out.extend_from_slice(&framed_message(name, payload).repeat(2)),
                _ => out.extend_from_slice(&framed_message(name, payload)),
            }
        }
        out.into()
    }
}

/// The fixtures' tools under other names, or not.
fn disguises(random: &mut Random) -> WayBack {
    let mut way_back = WayBack::default();
    if random.below(2) == 0 {
        let (name, namespace) = ("a tool".to_owned(), Some("files".to_owned()));
        way_back.renamed("look", Original { name, namespace, custom: random.below(2) == 0 });
    }
    if random.below(4) == 0 {
        way_back.answered_by("find");
    }
    way_back
}

/// The bytes in up to eight pieces.
fn pieces(bytes: Bytes, random: &mut Random) -> Vec<Bytes> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for _ in 0..random.below(8) {
        let place = random.below(rest.len() + 1);
        pieces.push(rest.split_to(place));
    }
    pieces.push(rest);
    pieces
}

#[test]
fn a_changed_fixture_makes_no_codec_panic_or_grow_out_of_bounds() {
    let fuzz = Fuzz::new();

    let wrong: Vec<String> = (0..FEW).filter_map(|number| fuzz.execute(number).err()).collect();

    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A number of the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(otherwise)
}

#[test]
#[ignore = "scripts/fuzz runs it, for as long as is asked"]
fn very_many_changed_fixtures_make_no_codec_panic_or_grow_out_of_bounds() {
    let (start, count) = (setting("FUZZ_START", 0), setting("FUZZ_EXECUTIONS", 100_000));
    let (next, done, written) = (AtomicU64::new(start), AtomicU64::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);

    let work = || {
        let fuzz = Fuzz::new();
        let mut wrong = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= start + count || wrong.len() >= 5 {
                return wrong;
            }
            match fuzz.execute(number) {
                Ok(something) => drop(written.fetch_add(something.into(), Ordering::Relaxed)),
                Err(what) => wrong.push(what),
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });

    let (done, written) = (done.load(Ordering::Relaxed), written.load(Ordering::Relaxed));
    println!("executions: {done}; so many were read and written: {written}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
