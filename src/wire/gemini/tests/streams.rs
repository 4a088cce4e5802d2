//! Reading providers' streams.

use bytes::Bytes;
use proptest::prelude::*;

use crate::chat::{BadAnswer, Collector, Event, PartKind, Stop, StreamDecoder, Truncated};
use crate::gemini::Decoder;
use crate::sse::{Remainder, SseScanner};

const TOOLS: &str = concat!(
    r#"data: {"candidates":[{"content":{"parts":[{"text":"**Plan**","thought":true}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":10,"totalTokenCount":10},"modelVersion":"gemini-3-pro","responseId":"r1"}"#,
    "\r\n\r\n",
    r#"data: {"candidates":[{"content":{"parts":[{"text":"Let me "}],"role":"model"},"index":0}],"modelVersion":"gemini-3-pro","responseId":"r1"}"#,
    "\r\n\r\n",
    r#"data: {"candidates":[{"content":{"parts":[{"text":"look\u2028."},{"functionCall":{"name":"f","args":{"a": 1}},"thoughtSignature":"Q2"}],"role":"model"},"index":0}],"modelVersion":"gemini-3-pro","responseId":"r1"}"#,
    "\r\n\r\n",
    r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a": 1}}}],"role":"model"},"index":0}],"modelVersion":"gemini-3-pro","responseId":"r1"}"#,
    "\r\n\r\n",
    r#"data: {"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"T9"}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":7,"thoughtsTokenCount":5,"totalTokenCount":22},"modelVersion":"gemini-3-pro","responseId":"r1"}"#,
    "\r\n\r\n"
);

fn decoded(pieces: &[&[u8]]) -> (Vec<Event>, Result<(), Truncated>) {
    let (mut scanner, mut decoder, mut events) = (SseScanner::new(1 << 20), Decoder::default(), Vec::new());
    for piece in pieces {
        scanner.push(Bytes::copy_from_slice(piece));
        while let Some(event) = scanner.next_event().unwrap() {
            decoder.frame(None, &event.data, &mut events).unwrap();
        }
    }
    if let Remainder::Event(event) = scanner.finish().unwrap() {
        decoder.frame(None, &event.data, &mut events).unwrap();
    }
    let end = decoder.end(&mut events);
    (events, end)
}

fn frames(frames: &[&str]) -> Result<Vec<Event>, BadAnswer> {
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    for frame in frames {
        decoder.frame(None, frame.as_bytes(), &mut events)?;
    }
    decoder.end(&mut events).map_err(|_| BadAnswer::Broken("truncated".into()))?;
    Ok(events)
}

#[test]
fn thoughts_text_and_parallel_calls_of_one_name_come_out_in_order() {
    let (events, end) = decoded(&[TOOLS.as_bytes()]);

    assert_eq!(end, Ok(()));
    let mut collector = Collector::default();
    events.iter().for_each(|event| collector.take(event));
    let answer = collector.finish();
    let choice = &answer.choices[0];
    let kinds: Vec<String> = choice
        .parts
        .iter()
        .map(|part| match &part.kind {
            PartKind::Thinking(thinking) => {
                format!("thinking {} {:?}", thinking.text, thinking.seal.as_ref().map(|seal| &seal.data))
            }
            PartKind::Text { text, .. } => format!("text {text}"),
            PartKind::ToolCall(call) => {
                format!("call {} {} {:?}", call.name, call.arguments, call.seal.as_ref().map(|seal| &seal.data))
            }
            other => format!("{other:?}"),
        })
        .collect();
    let expected = [
        "thinking **Plan** None",
        "text Let me look\u{2028}.",
        "call f {\"a\": 1} Some(\"Q2\")",
        "call f {\"a\": 1} None",
        "thinking  Some(\"T9\")",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(choice.stop, Stop::ToolCalls);
    let ids: Vec<&str> = choice
        .parts
        .iter()
        .filter_map(|part| match &part.kind {
            PartKind::ToolCall(call) => Some(call.id.as_str()),
            _ => None,
        })
        .collect();
    assert_ne!(ids[0], ids[1]);
    let usage = answer.usage.unwrap();
    let got = (usage.input_fresh, usage.cache_read, usage.output_text, usage.output_reasoning);
    assert_eq!(got, (6, 4, 7, 5));
    assert_eq!(answer.begin.model.as_deref(), Some("gemini-3-pro"));
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

    #[test]
    fn no_json_makes_the_decoder_fail_in_another_way_than_by_its_errors(frame in "\\{\"(candidates|usageMetadata|promptFeedback)\":(\\[(\\{\"(content|index|finishReason)\":(null|7|\\[\\]|\\{\"parts\":(\\[(null|7|\\{\"(text|functionCall|thought|x)\":(7|null|\"a\"|\\{\\}|true)\\})\\]|null|7)\\})\\}|null)\\]|null|7|\\{\\})\\}") {
        let (mut decoder, mut events) = (Decoder::default(), Vec::new());

        prop_assert_eq!(decoder.frame(None, frame.as_bytes(), &mut events), Ok(false));
    }
}

#[test]
fn every_block_is_closed_before_its_stop() {
    let (events, _) = decoded(&[TOOLS.as_bytes()]);

    let opened = events.iter().filter(|event| matches!(event, Event::Open { .. })).count();
    let stop = events.iter().position(|event| matches!(event, Event::Stop { .. })).unwrap();
    let closed = events[..stop].iter().filter(|event| matches!(event, Event::Close { .. })).count();
    assert_eq!((opened, closed), (5, 5));
}

#[test]
fn a_stream_without_a_reason_is_cut() {
    let half = TOOLS.len() / 2;

    let (events, end) = decoded(&[&TOOLS.as_bytes()[..half]]);

    assert_eq!(end, Err(Truncated));
    assert!(!events.iter().any(|event| matches!(event, Event::Stop { .. })));
    assert_eq!(decoded(&[]).1, Err(Truncated));
}

#[rstest::rstest]
#[case(r#"{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}"#)]
#[case(r#"[{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}]"#)]
fn an_error_in_the_middle_is_an_error(#[case] frame: &str) {
    let first = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#;

    let Err(BadAnswer::Error(error)) = frames(&[first, frame]) else { panic!() };

    assert_eq!((error.message.as_str(), error.kind.as_deref()), ("busy", Some("UNAVAILABLE")));
}

#[test]
fn a_reason_in_every_chunk_ends_nothing_early() {
    let chunk = |text: &str| {
        format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}},"finishReason":"STOP"}}]}}"#)
    };

    let events = frames(&[&chunk("a"), &chunk("b")]).unwrap();

    let mut collector = Collector::default();
    events.iter().for_each(|event| collector.take(event));
    assert_eq!(collector.finish().choices[0].parts[0].as_text(), Some("ab"));
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Stop { .. })).count(), 1);
}

#[test]
fn a_blocked_prompt_is_a_filtered_answer_without_words() {
    let events = frames(&[
        r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3}}"#,
    ])
    .unwrap();

    assert!(events.contains(&Event::Stop { choice: 0, stop: Stop::Filtered }));
    assert!(!events.iter().any(|event| matches!(event, Event::Open { .. })));
}

#[test]
fn too_many_candidates_are_a_breach() {
    let many: Vec<String> = (0..200).map(|n| format!("{{\"index\":{n}}}")).collect();

    let bad = frames(&[&format!("{{\"candidates\":[{}]}}", many.join(","))]);

    assert!(matches!(bad, Err(BadAnswer::Broken(_))));
}
