use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::event_stream::*;
use super::super::*;
use crate::chat::*;

fn header(out: &mut BytesMut, name: &str, value: &str) {
    out.put_u8(u8::try_from(name.len()).unwrap());
    out.put_slice(name.as_bytes());
    out.put_u8(7);
    out.put_u16(u16::try_from(value.len()).unwrap());
    out.put_slice(value.as_bytes());
}

fn framed(headers: &[u8], payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u32(u32::try_from(16 + headers.len() + payload.len()).unwrap());
    out.put_u32(u32::try_from(headers.len()).unwrap());
    out.put_u32(crc32fast::hash(&out));
    out.put_slice(headers);
    out.put_slice(payload);
    out.put_u32(crc32fast::hash(&out));
    out.freeze()
}

fn message(kind: &str, label: &str, name: &str, payload: &Value) -> Bytes {
    let mut headers = BytesMut::new();
    header(&mut headers, label, name);
    // A timestamp, a flag and a number that nobody needs.
    headers.put_slice(b"\x01t\x08\0\0\0\0\0\0\0\0\x01f\x00\x01n\x04\0\0\0\0");
    header(&mut headers, ":content-type", "application/json");
    header(&mut headers, ":message-type", kind);
    framed(&headers, payload.to_string().as_bytes())
}

fn event(name: &str, payload: &Value) -> Bytes {
    message("event", ":event-type", name, payload)
}

fn stream() -> Bytes {
    let delta =
        |index: u64, delta: Value| event("contentBlockDelta", &json!({"contentBlockIndex": index, "delta": delta}));
    let stop = |index: u64| event("contentBlockStop", &json!({"contentBlockIndex": index}));
    let start = |index: u64, id: &str| {
        let tool = json!({"toolUse": {"toolUseId": id, "name": "f"}});
        event("contentBlockStart", &json!({"contentBlockIndex": index, "start": tool}))
    };
    [
        event("messageStart", &json!({"role": "assistant"})),
        delta(0, json!({"reasoningContent": {"text": "h"}})),
        delta(0, json!({"reasoningContent": {"text": "m"}})),
        delta(0, json!({"reasoningContent": {"signature": "sig"}})),
        stop(0),
        delta(1, json!({"reasoningContent": {"redactedContent": "cg=="}})),
        stop(1),
        delta(2, json!({"text": "Hé"})),
        delta(2, json!({"text": "llo", "p": "abcd"})),
        stop(2),
        start(3, "t1"),
        start(4, "t2"),
        delta(3, json!({"toolUse": {"input": "{\"a\":"}})),
        delta(4, json!({"toolUse": {"input": "{}"}})),
        delta(3, json!({"toolUse": {"input": " 1}"}})),
        stop(3),
        stop(4),
        event("somethingNew", &json!({"contentBlockIndex": "odd"})),
        event("messageStop", &json!({"stopReason": "tool_use"})),
        event("metadata", &json!({"usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}, "metrics": {}})),
    ]
    .concat()
    .into()
}

fn scanned(chunks: impl IntoIterator<Item = Bytes>) -> (Vec<EventMessage>, Result<Remainder, EventStreamError>) {
    let (mut scanner, mut messages) = (EventStreamScanner::default(), Vec::new());
    for chunk in chunks {
        scanner.push(chunk);
        while let Ok(Some(message)) = scanner.next_message() {
            messages.push(message);
        }
    }
    (messages, scanner.finish())
}

fn heard(messages: &[EventMessage]) -> (Vec<Event>, Result<bool, BadAnswer>, Result<(), Truncated>) {
    let (mut decoder, mut out, mut last) = (Decoder::default(), Vec::new(), Ok(false));
    for message in messages {
        last = decoder.frame(Some(&message.name), &message.payload, &mut out);
        if last.is_err() {
            break;
        }
    }
    let end = decoder.end(&mut out);
    (out, last, end)
}

#[test]
fn a_stream_is_heard_whole() {
    let (messages, remainder) = scanned([stream()]);
    let (events, last, end) = heard(&messages);

    let mut collector = Collector::default();
    events.iter().for_each(|event| collector.take(event));
    let answer = collector.finish();
    let parts = &answer.choices[0].parts;
    let seal = |data: &str| Some(Seal { family: Family::Anthropic, data: data.into() });
    assert_eq!((remainder, last, end), (Ok(Remainder::Nothing), Ok(true), Ok(())));
    assert_eq!(
        parts[0].kind,
        PartKind::Thinking(Thinking { text: "hm".into(), seal: seal("sig"), ..Thinking::default() })
    );
    assert_eq!(
        parts[1].kind,
        PartKind::Thinking(Thinking { redacted: true, seal: seal("cg=="), ..Thinking::default() })
    );
    assert_eq!(parts[2].as_text(), Some("Héllo"));
    let arguments = |at: usize| match &parts[at].kind {
        PartKind::ToolCall(call) => (call.id.as_str(), call.arguments.as_str()),
        _ => panic!(),
    };
    assert_eq!((arguments(3), arguments(4)), (("t1", "{\"a\": 1}"), ("t2", "{}")));
    assert_eq!(answer.choices[0].stop, Stop::ToolCalls);
    assert_eq!(answer.usage.unwrap().output_text, 4);
}

#[test]
fn a_stream_without_its_end_is_truncated() {
    let (mut messages, _) = scanned([stream()]);
    messages.truncate(8);

    let (events, _, end) = heard(&messages);

    let count = |test: fn(&Event) -> bool| events.iter().filter(|event| test(event)).count();
    assert_eq!(end, Err(Truncated));
    assert_eq!(count(|e| matches!(e, Event::Open { .. })), count(|e| matches!(e, Event::Close { .. })));
}

#[test]
fn an_exception_in_the_middle_is_the_providers() {
    let thrown = message("exception", ":exception-type", "throttlingException", &json!({"message": "slow down"}));

    let (messages, _) = scanned([thrown]);
    let (_, last, _) = heard(&messages);

    let Err(BadAnswer::Error(error)) = last else { panic!() };
    assert!(messages[0].failed);
    assert_eq!((error.message.as_str(), error.kind.as_deref()), ("slow down", Some("throttlingException")));
}

#[test]
fn an_error_of_the_service_is_told_by_its_headers() {
    let mut headers = BytesMut::new();
    header(&mut headers, ":message-type", "error");
    header(&mut headers, ":error-code", "InternalFailure");
    header(&mut headers, ":error-message", "broken");

    let (messages, _) = scanned([framed(&headers, b"")]);
    let (_, last, _) = heard(&messages);

    let Err(BadAnswer::Error(error)) = last else { panic!() };
    assert_eq!((error.message.as_str(), error.kind.as_deref()), ("broken", Some("InternalFailureException")));
}

#[test]
fn damage_is_noticed_and_remembered() {
    for at in [0, 9, 30, 60] {
        let mut bytes = event("messageStart", &json!({"role": "assistant"})).to_vec();
        bytes[at] ^= 1;
        let mut scanner = EventStreamScanner::default();
        scanner.push(bytes.into());

        let first = scanner.next_message();

        assert_eq!(first, Err(EventStreamError::Damaged));
        scanner.push(stream());
        assert_eq!(scanner.next_message(), first);
        assert_eq!(scanner.finish(), Err(EventStreamError::Damaged));
    }
}

#[test]
fn a_message_beyond_the_cap_or_of_impossible_lengths_is_refused_at_its_head() {
    let head = |total: u32, headers: u32| {
        let mut out = BytesMut::new();
        out.put_u32(total);
        out.put_u32(headers);
        out.put_u32(crc32fast::hash(&out));
        let mut scanner = EventStreamScanner::default();
        scanner.push(out.freeze());
        scanner.next_message()
    };

    assert_eq!(head(u32::MAX, 0), Err(EventStreamError::TooLarge(MAX_MESSAGE_BYTES)));
    assert_eq!(head(15, 0), Err(EventStreamError::Malformed));
    assert_eq!(head(100, 100), Err(EventStreamError::Malformed));
    assert_eq!(head(100, 10), Ok(None));
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_messages(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let bytes = stream();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();

        let pieces = scanned(cuts.windows(2).map(|cut| bytes.slice(cut[0]..cut[1])));

        prop_assert_eq!(pieces, scanned([bytes]));
    }

    #[test]
    fn garbage_harms_nobody(bytes in prop::collection::vec(any::<u8>(), 0..200), headers in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = scanned([Bytes::from(bytes.clone())]);
        let (messages, _) = scanned([framed(&headers, &bytes)]);
        let _ = heard(&messages);
    }

    #[test]
    fn a_stream_that_is_cut_off_says_so(at in prop_oneof![any::<usize>(), any::<prop::sample::Index>().prop_map(|index| { let all: Vec<usize> = ends(&stream()).collect(); *index.get(&all) })]) {
        let bytes = stream();
        let at = at % bytes.len();

        let (messages, remainder) = scanned([bytes.slice(..at)]);

        let between = ends(&bytes).position(|end| end == at);
        prop_assert_eq!(remainder == Ok(Remainder::Nothing), between.is_some());
        prop_assert!(between.is_none_or(|place| messages.len() == place));
    }

    #[test]
    fn frames_in_any_order_close_what_they_open(order in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let (all, _) = scanned([stream()]);
        let picked: Vec<EventMessage> = order.iter().map(|index| index.get(&all).clone()).collect();

        let (events, ..) = heard(&picked);

        let count = |test: fn(&Event) -> bool| events.iter().filter(|event| test(event)).count();
        prop_assert_eq!(count(|e| matches!(e, Event::Open { .. })), count(|e| matches!(e, Event::Close { .. })));
    }
}

/// Where messages end, by their own lengths; the beginning is the first end.
fn ends(bytes: &Bytes) -> impl Iterator<Item = usize> {
    let next = |at: &usize| {
        let length = bytes.get(*at..*at + 4)?;
        Some(*at + u32::from_be_bytes(length.try_into().unwrap()) as usize)
    };
    std::iter::successors(Some(0), next)
}
