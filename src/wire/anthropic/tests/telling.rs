//! Writing a stream.

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;
use super::answers::reply;
use super::streams::{collected, heard};
use crate::chat::*;
use crate::openai_error::ErrorBody;
use crate::usage::Usage;

pub(super) fn frames(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    let data = |frame: &str| {
        let (event, data) = frame.split_once('\n').unwrap();
        let json: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(event.strip_prefix("event: ").unwrap(), json["type"].as_str().unwrap());
        json
    };
    text.split("\n\n").filter(|frame| !frame.is_empty()).map(data).collect()
}

pub(super) fn told(events: &[Event]) -> BytesMut {
    let (mut encoder, mut out) = (Encoder::new(&reply()), BytesMut::new());
    events.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.finish(&mut out);
    out
}

/// The order that clients insist on.
pub(super) fn assert_legal(frames: &[Value]) {
    let kinds: Vec<&str> = frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.first(), Some(&"message_start"));
    assert_eq!(&kinds[kinds.len() - 2..], ["message_delta", "message_stop"]);
    let (mut open, mut next) = (None, 0);
    for frame in &frames[1..frames.len() - 2] {
        let index = frame["index"].as_u64().unwrap();
        match frame["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!((open, index), (None, next));
                open = Some(index);
                next += 1;
            }
            "content_block_delta" => assert_eq!(open, Some(index)),
            "content_block_stop" => assert_eq!(open.take(), Some(index)),
            other => panic!("{other}"),
        }
    }
    assert_eq!(open, None);
    assert!(next > 0);
}

#[test]
fn an_empty_answer_is_one_empty_text() {
    let out = told(&[]);

    let frames = frames(&out);
    assert_legal(&frames);
    assert_eq!(frames[1]["content_block"], json!({"type": "text", "text": ""}));
    assert_eq!(frames[3]["delta"]["stop_reason"], "end_turn");
}

#[test]
fn calls_that_alternate_are_told_one_after_the_other() {
    let call = |block: u32| Event::Open {
        block,
        choice: 0,
        what: Opening::ToolCall { id: format!("c{block}"), name: "f".into(), namespace: None, custom: false },
    };
    let grow = |block, more: &str| Event::Delta { block, delta: Delta::Arguments(more.into()) };
    let events = [
        call(0),
        call(1),
        grow(0, "{"),
        grow(1, "{\"b\""),
        grow(0, "}"),
        grow(1, ":1}"),
        Event::Close { block: 0 },
        Event::Close { block: 1 },
        Event::Stop { choice: 0, stop: Stop::Done },
    ];

    let out = told(&events);

    assert_legal(&frames(&out));
    let (again, ..) = heard([out.freeze()]);
    let answer = collected(&again);
    let arguments = |at: usize| match &answer.choices[0].parts[at].kind {
        PartKind::ToolCall(call) => call.arguments.clone(),
        _ => panic!(),
    };
    assert_eq!((arguments(0).as_str(), arguments(1).as_str()), ("{}", "{\"b\":1}"));
    assert_eq!(answer.choices[0].stop, Stop::ToolCalls);
}

#[test]
fn the_proof_of_a_call_stands_before_it() {
    let what = Opening::ToolCall { id: "c".into(), name: "f".into(), namespace: None, custom: false };
    let events = [
        Event::Open { block: 0, choice: 0, what },
        Event::Delta { block: 0, delta: Delta::Arguments("{\"a\":1}".into()) },
        Event::Delta { block: 0, delta: Delta::Seal(Seal { family: Family::Google, data: "Q2".into() }) },
        Event::Close { block: 0 },
    ];

    let frames = frames(&told(&events));

    assert_legal(&frames);
    assert_eq!(frames[2]["delta"], json!({"type": "signature_delta", "signature": "omr1.google.Q2"}));
    assert_eq!(frames[4]["content_block"]["type"], "tool_use");
    assert_eq!(frames[5]["delta"]["partial_json"], "{\"a\":1}");
}

#[test]
fn an_error_ends_the_stream_and_nothing_follows() {
    let (mut encoder, mut out) = (Encoder::new(&reply()), BytesMut::new());
    encoder.event(&Event::Begin(Begin::default()), &mut out);
    let error = ErrorBody {
        message: "gone".into(),
        kind: "server_error".into(),
        param: None,
        code: Some("gateway_timeout".into()),
    };

    encoder.fail(&error, &mut out);
    encoder.finish(&mut out);

    let frames = frames(&out);
    assert_eq!(frames[0]["message"]["id"], "msg_r1");
    assert_eq!(frames[1], json!({"type": "error", "error": {"type": "timeout_error", "message": "gone"}}));
    assert_eq!(frames.len(), 2);
}

#[test]
fn usage_is_told_at_the_end() {
    let usage = Usage { input_fresh: 5, cache_read: 3, output_text: 2, ..Usage::default() };

    let frames = frames(&told(&[Event::Begin(Begin::default()), Event::Usage(usage)]));

    let told = &frames[3]["usage"];
    assert_eq!((told["input_tokens"].as_u64(), told["cache_read_input_tokens"].as_u64()), (Some(5), Some(3)));
    assert_eq!(told["output_tokens"], 2);
}

proptest! {
    #[test]
    fn any_events_at_all_are_told_legally(events in arbitrary::events()) {
        assert_legal(&frames(&told(&events)));
    }
}
