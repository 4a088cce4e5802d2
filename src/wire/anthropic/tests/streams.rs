//! Reading a stream.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::super::*;
use super::telling::{assert_legal, frames, told};
use crate::chat::*;
use crate::sse::SseScanner;

const STREAM: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-4-6","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"cache_read_input_tokens":600,"cache_creation_input_tokens":0,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"hidden"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"query\":"}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"\"q\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"Hé\u2028llo"}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"citations_delta","citation":{"type":"char_location","cited_text":"w","document_index":0}}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: content_block_start
data: {"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"{\"a\": "}}

event: content_block_delta
data: {"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"1}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":4}

event: content_block_start
data: {"type":"content_block_start","index":5,"content_block":{"type":"tool_use","id":"toolu_2","name":"g","input":{}}}

event: content_block_stop
data: {"type":"content_block_stop","index":5}

event: something_new
data: {"type":"something_new","index":"odd","delta":[]}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":89,"input_tokens":0}}

event: message_stop
data: {"type":"message_stop"}

"#;

pub(super) type Heard = (Vec<Event>, Result<bool, BadAnswer>, Result<(), Truncated>);

pub(super) fn heard(chunks: impl IntoIterator<Item = Bytes>) -> Heard {
    let (mut scanner, mut decoder, mut out) = (SseScanner::new(1 << 20), Decoder::default(), Vec::new());
    let mut last = Ok(false);
    for chunk in chunks {
        scanner.push(chunk);
        while let Some(event) = scanner.next_event().unwrap() {
            let name = event.event.as_deref().and_then(|name| std::str::from_utf8(name).ok());
            last = decoder.frame(name, &event.data, &mut out);
            if last.is_err() {
                return (out, last, Ok(()));
            }
        }
    }
    let end = decoder.end(&mut out);
    (out, last, end)
}

fn heard_text(text: &str) -> Heard {
    heard([Bytes::copy_from_slice(text.as_bytes())])
}

pub(super) fn collected(events: &[Event]) -> Answer {
    let mut collector = Collector::default();
    events.iter().for_each(|event| collector.take(event));
    collector.finish()
}

#[test]
fn a_stream_is_heard_whole() {
    let (events, last, end) = heard_text(STREAM);

    let answer = collected(&events);
    let parts = &answer.choices[0].parts;
    let seal = |data: &str| Some(Seal { family: Family::Anthropic, data: data.into() });
    assert_eq!((last, end), (Ok(true), Ok(())));
    assert_eq!(
        parts[0].kind,
        PartKind::Thinking(Thinking { text: "hm".into(), seal: seal("EqQB"), ..Thinking::default() })
    );
    assert_eq!(
        parts[1].kind,
        PartKind::Thinking(Thinking { redacted: true, seal: seal("hidden"), ..Thinking::default() })
    );
    let search = json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}});
    assert_eq!(parts[2].kind, PartKind::Native(search));
    assert_eq!(parts[3].as_text(), Some("Hé\u{2028}llo"));
    let PartKind::ToolCall(call) = &parts[4].kind else { panic!() };
    assert_eq!((call.id.as_str(), call.arguments.as_str()), ("toolu_1", "{\"a\": 1}"));
    let PartKind::ToolCall(call) = &parts[5].kind else { panic!() };
    assert_eq!((call.name.as_str(), call.arguments_or_empty()), ("g", "{}"));
    assert_eq!(answer.choices[0].stop, Stop::ToolCalls);
    let usage = answer.usage.unwrap();
    assert_eq!((usage.input_fresh, usage.cache_read, usage.output_text), (25, 600, 89));
}

#[test]
fn what_was_heard_is_told_the_same() {
    let (events, ..) = heard_text(STREAM);

    let out = told(&events);

    assert_legal(&frames(&out));
    let (again, ..) = heard([out.freeze()]);
    assert_eq!(collected(&again), collected(&events));
}

#[test]
fn a_stream_without_its_end_is_truncated_and_its_blocks_are_closed() {
    let cut = STREAM.find("event: something_new").unwrap();

    let (events, _, end) = heard_text(&STREAM[..cut]);

    assert_eq!(end, Err(Truncated));
    assert!(!events.iter().any(|event| matches!(event, Event::Stop { .. })));
}

#[test]
fn a_reason_to_stop_is_an_end_even_without_the_last_event() {
    let cut = STREAM.find("event: message_stop").unwrap();

    let (_, last, end) = heard_text(&STREAM[..cut]);

    assert_eq!((last, end), (Ok(false), Ok(())));
}

#[test]
fn an_error_in_the_middle_is_the_providers() {
    let text =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";

    let (_, last, _) = heard_text(text);

    let Err(BadAnswer::Error(error)) = last else { panic!() };
    assert_eq!(error.kind.as_deref(), Some("overloaded_error"));
}

#[test]
fn a_broken_frame_ends_the_stream() {
    let (_, last, _) = heard_text("data: {\"type\":\"content_block\n\n");

    assert_eq!(last, Err(BadAnswer::NotJson));
}

#[test]
fn input_that_came_with_the_opening_and_unannounced_text_are_not_lost() {
    let text = concat!(
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n",
        "data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"name\":\"f\",\"input\":{\"a\":1}}}\n\n",
        "data: {\"type\":\"message_stop\"}\n\n",
    );

    let (events, ..) = heard_text(text);

    let answer = collected(&events);
    let PartKind::ToolCall(call) = &answer.choices[0].parts[1].kind else { panic!() };
    assert_eq!(answer.choices[0].parts[0].as_text(), Some("hi"));
    assert_eq!((call.arguments.as_str(), call.id.is_empty()), ("{\"a\":1}", false));
    assert_eq!(answer.choices[0].stop, Stop::ToolCalls);
}

#[test]
fn what_is_held_back_is_bounded() {
    let mut decoder = Decoder::default();
    let mut out = Vec::new();
    let start = br#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking"}}"#;
    decoder.frame(None, start, &mut out).unwrap();
    let piece = json!({"type": "content_block_delta", "index": 0,
        "delta": {"type": "signature_delta", "signature": "x".repeat(1 << 20)}})
    .to_string();

    let failed = (0..9).find_map(|_| decoder.frame(None, piece.as_bytes(), &mut out).err());

    assert!(matches!(failed, Some(BadAnswer::Broken(_))));
}

proptest! {
    #[test]
    fn the_same_stream_in_any_cut_gives_the_same_events(cuts in prop::collection::vec(0..STREAM.len(), 0..12)) {
        let mut cuts = cuts;
        cuts.extend([0, STREAM.len()]);
        cuts.sort_unstable();
        let bytes = Bytes::from_static(STREAM.as_bytes());

        let pieces = heard(cuts.windows(2).map(|cut| bytes.slice(cut[0]..cut[1])));

        prop_assert_eq!(pieces, heard_text(STREAM));
    }

    #[test]
    fn any_bytes_at_all_are_heard_without_harm(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8)) {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for frame in frames {
            let _ = decoder.frame(None, &frame, &mut out);
        }
        let _ = decoder.end(&mut out);
    }

    #[test]
    fn frames_in_any_order_close_what_they_open(order in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let all: Vec<&str> = STREAM.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for index in order {
            if decoder.frame(None, index.get(&all).as_bytes(), &mut out) != Ok(false) {
                break;
            }
        }
        let _ = decoder.end(&mut out);

        let count = |test: fn(&Event) -> bool| out.iter().filter(|event| test(event)).count();
        prop_assert_eq!(count(|e| matches!(e, Event::Open { .. })), count(|e| matches!(e, Event::Close { .. })));
        assert_legal(&frames(&told(&out)));
    }
}
