//! Reading providers' answers and streams.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use crate::chat::{BadAnswer, Collector, Event, Part, PartKind, Stop, StreamDecoder, Truncated};
use crate::lines::LineScanner;
use crate::ollama::{Decoder, decode_answer};

const TOOLS: &str = concat!(
    r#"{"model":"m","created_at":"2026-01-02T03:04:05.678Z","message":{"role":"assistant","content":"","thinking":"hm"},"done":false}"#,
    "\n",
    r#"{"model":"m","created_at":"2026-01-02T03:04:06Z","message":{"role":"assistant","content":"Let me "},"done":false}"#,
    "\n",
    "{\"model\":\"m\",\"created_at\":\"2026-01-02T03:04:06Z\",\"message\":{\"role\":\"assistant\",\"content\":\"look\u{2028}\"},\"done\":false}",
    "\n",
    r#"{"model":"m","created_at":"2026-01-02T03:04:07Z","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a": 1}}},{"function":{"name":"f","arguments":{"a": 1}}}]},"done":false}"#,
    "\r\n",
    r#"{"model":"m","created_at":"2026-01-02T03:04:08Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":5,"prompt_eval_count":11,"eval_count":7}"#,
    "\n"
);

fn decoded(pieces: &[&[u8]]) -> (Vec<Event>, Result<(), Truncated>) {
    let (mut scanner, mut decoder, mut events) = (LineScanner::new(1 << 20), Decoder::default(), Vec::new());
    for piece in pieces {
        scanner.push(Bytes::copy_from_slice(piece));
        while let Some(line) = scanner.next_line().unwrap() {
            decoder.frame(None, &line.data, &mut events).unwrap();
        }
    }
    let end = decoder.end(&mut events);
    (events, end)
}

#[test]
fn thoughts_text_and_parallel_calls_come_out_in_order() {
    let (events, end) = decoded(&[TOOLS.as_bytes()]);

    let mut collector = Collector::default();
    events.iter().for_each(|event| collector.take(event));
    let answer = collector.finish();
    let said: Vec<String> = answer.choices[0]
        .parts
        .iter()
        .map(|part| match &part.kind {
            PartKind::Thinking(thinking) => format!("thinking {}", thinking.text),
            PartKind::Text { text, .. } => format!("text {text}"),
            PartKind::ToolCall(call) => format!("call {} {}", call.name, call.arguments),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(end, Ok(()));
    assert_eq!(said, ["thinking hm", "text Let me look\u{2028}", "call f {\"a\": 1}", "call f {\"a\": 1}"]);
    assert_eq!(answer.choices[0].stop, Stop::ToolCalls);
    let (PartKind::ToolCall(one), PartKind::ToolCall(two)) =
        (&answer.choices[0].parts[2].kind, &answer.choices[0].parts[3].kind)
    else {
        panic!()
    };
    assert_ne!(one.id, two.id);
    let usage = answer.usage.unwrap();
    assert_eq!((usage.input_fresh, usage.output_text), (11, 7));
    assert_eq!((answer.begin.model.as_deref(), answer.begin.created), (Some("m"), Some(1_767_323_045)));
}

proptest! {
    #[test]
    fn a_stream_says_the_same_however_it_is_cut(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let bytes = TOOLS.as_bytes();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).chain([0, bytes.len()]).collect();
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();

        prop_assert_eq!(decoded(&pieces), decoded(&[bytes]));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
        let (mut decoder, mut events) = (Decoder::default(), Vec::new());
        for frame in all {
            let _ = decoder.frame(None, &frame, &mut events);
        }
        let _ = decoder.end(&mut events);
    }
}

#[test]
fn a_stream_without_its_last_line_is_cut() {
    let half = TOOLS.rfind("{\"model\"").unwrap();

    let (events, end) = decoded(&[&TOOLS.as_bytes()[..half]]);

    assert_eq!(end, Err(Truncated));
    assert!(!events.iter().any(|event| matches!(event, Event::Stop { .. })));
}

#[test]
fn nothing_behind_the_last_line_is_looked_at() {
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());

    let over = decoder.frame(None, br#"{"message":{"content":"a"},"done":true}"#, &mut events);
    let length = events.len();
    let still = decoder.frame(None, br#"{"message":{"content":"b"},"done":true}"#, &mut events);

    assert_eq!((over, still, events.len()), (Ok(true), Ok(true), length));
}

#[test]
fn an_error_in_the_middle_is_an_error() {
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    decoder.frame(None, br#"{"message":{"content":"a"},"done":false}"#, &mut events).unwrap();

    let bad = decoder.frame(None, br#"{"error":"model runner has stopped"}"#, &mut events);

    assert!(matches!(bad, Err(BadAnswer::Error(error)) if error.message == "model runner has stopped"));
}

#[rstest::rstest]
#[case(json!({"message": {"content": "a"}, "done": true, "done_reason": "stop"}), Stop::Done)]
#[case(json!({"message": {"content": "a"}, "done": true, "done_reason": "length"}), Stop::Length)]
#[case(json!({"message": {"content": "a"}, "done": true, "done_reason": "odd"}), Stop::Other("odd".into()))]
#[case(json!({"response": "a", "done": true}), Stop::Done)]
#[case(json!({"message": {"content": "a", "tool_calls": null}, "done": null, "done_reason": 7, "model": 5}), Stop::Done)]
fn whole_answers_are_read(#[case] body: serde_json::Value, #[case] stop: Stop) {
    let answer = decode_answer(body.to_string().as_bytes()).unwrap();

    assert_eq!(answer.choices[0].parts, [Part::text("a")]);
    assert_eq!(answer.choices[0].stop, stop);
    assert_eq!(answer.usage, None);
}

#[test]
fn arguments_written_as_text_are_arguments() {
    let call = json!({"function": {"name": "f", "arguments": "{\"a\": 1}"}});
    let body = json!({"message": {"content": "", "tool_calls": [call, {}, {"function": {}}]}, "done": true});

    let answer = decode_answer(body.to_string().as_bytes()).unwrap();

    let [Part { kind: PartKind::ToolCall(call), .. }] = answer.choices[0].parts.as_slice() else { panic!() };
    assert_eq!(call.arguments, "{\"a\": 1}");
}

#[test]
fn what_is_no_answer_is_said_to_be_none() {
    assert_eq!(decode_answer(b""), Err(BadAnswer::NotJson));
    assert_eq!(decode_answer(b"<html>"), Err(BadAnswer::NotJson));
    assert!(matches!(decode_answer(b"{}"), Err(BadAnswer::Broken(_))));
    assert!(matches!(decode_answer(b"[]"), Err(BadAnswer::Broken(_))));
}
