//! Streams of providers, the sloppy ones above all.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Decoder;
use super::{collected, read};
use crate::chat::*;

fn chunk(delta: Value, finish: Value) -> String {
    json!({"id": "c1", "created": 5, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        .to_string()
}

fn says(delta: Value) -> String {
    chunk(delta, Value::Null)
}

fn ends(reason: &str) -> String {
    chunk(json!({}), reason.into())
}

fn answer(frames: &[String]) -> Answer {
    let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
    let events = read(&frames).unwrap();
    legal(&events);
    collected(&events)
}

/// Deltas only between opening and closing, everything closed before the stop.
fn legal(events: &[Event]) {
    let mut open = Vec::new();
    for event in events {
        match event {
            Event::Open { block, choice, .. } => open.push((*block, *choice)),
            Event::Delta { block, .. } => assert!(open.iter().any(|one| one.0 == *block)),
            Event::Close { block } => {
                assert!(open.iter().any(|one| one.0 == *block));
                open.retain(|one| one.0 != *block);
            }
            Event::Stop { choice, .. } => assert!(open.iter().all(|one| one.1 != *choice)),
            _ => {}
        }
    }
    assert!(open.is_empty());
}

fn calls(answer: &Answer) -> Vec<(String, String, String)> {
    let call = |part: &Part| match &part.kind {
        PartKind::ToolCall(call) => Some((call.id.clone(), call.name.clone(), call.arguments.clone())),
        _ => None,
    };
    answer.choices[0].parts.iter().filter_map(call).collect()
}

fn call(id: &str, name: &str, arguments: &str) -> (String, String, String) {
    (id.into(), name.into(), arguments.into())
}

fn fragment(index: Value, id: Value, name: Value, arguments: &str) -> Value {
    json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn tool_calls(fragments: &[Value]) -> String {
    says(json!({"tool_calls": fragments}))
}

#[test]
fn a_stream_as_openai_writes_it_is_read_whole() {
    let answer = answer(&[
        says(json!({"role": "assistant", "content": ""})),
        says(json!({"content": "He"})),
        says(json!({"content": "y"})),
        ends("stop"),
        json!({"id": "c1", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}).to_string(),
        "[DONE]".into(),
    ]);

    assert_eq!(answer.choices[0].parts, [Part::text("Hey")]);
    assert_eq!((answer.choices[0].stop.clone(), answer.usage.unwrap().input_fresh), (Stop::Done, 9));
    assert_eq!((answer.begin.id.as_deref(), answer.begin.created), (Some("c1"), Some(5)));
}

#[rstest::rstest]
#[case::by_index(vec![
    tool_calls(&[fragment(json!(0), json!("a"), json!("f"), "")]), tool_calls(&[fragment(json!(1), json!("b"), json!("g"), "")]),
    tool_calls(&[fragment(json!(0), json!(null), json!(null), "{\"x\"")]), tool_calls(&[fragment(json!(1), json!(null), json!(null), "{\"y\"")]),
    tool_calls(&[fragment(json!(0), json!(null), json!(null), ":1}"), fragment(json!(1), json!(null), json!(null), ":2}")])])]
#[case::index_always_zero(vec![
    tool_calls(&[fragment(json!(0), json!("a"), json!("f"), "{\"x\"")]), tool_calls(&[fragment(json!(0), json!(""), json!(""), ":1}")]),
    tool_calls(&[fragment(json!(0), json!("b"), json!("g"), "{\"y\":2}")])])]
#[case::no_index(vec![
    tool_calls(&[fragment(json!(null), json!("a"), json!("f"), "{\"x\":")]), tool_calls(&[fragment(json!(null), json!(null), json!(null), "1}")]),
    tool_calls(&[fragment(json!(null), json!("b"), json!("g"), "")]), tool_calls(&[fragment(json!(null), json!("b"), json!("g"), "{\"y\":2}")])])]
#[case::said_once_more_at_the_end(vec![
    tool_calls(&[fragment(json!(0), json!("a"), json!("f"), "{\"x\":")]), tool_calls(&[fragment(json!(0), json!(null), json!(null), "1}")]),
    tool_calls(&[fragment(json!(1), json!("b"), json!("g"), "{\"y\":2}")]),
    tool_calls(&[fragment(json!(0), json!("a"), json!("f"), "{\"x\":1}"), fragment(json!(1), json!("b"), json!("g"), "{\"y\": 2}")])])]
#[case::name_later(vec![
    tool_calls(&[fragment(json!(0), json!("a"), json!(""), "")]), tool_calls(&[fragment(json!(0), json!(null), json!("f"), "{\"x\":1}")]),
    tool_calls(&[fragment(json!(1), json!("b"), json!(null), "{\"y\":")]), tool_calls(&[fragment(json!(1), json!(null), json!("g"), "2}")])])]
#[case::placeholder_first(vec![
    tool_calls(&[fragment(json!(0), json!("a"), json!("f"), "{}")]), tool_calls(&[fragment(json!(0), json!(null), json!(null), "{\"x\":1}")]),
    tool_calls(&[fragment(json!(1), json!("b"), json!("g"), "{\"y\":2}")])])]
#[case::a_new_id_with_each_fragment(vec![
    tool_calls(&[fragment(json!(0), json!("a"), json!("f"), "{\"x\"")]), tool_calls(&[fragment(json!(0), json!("zz"), json!(null), ":1}")]),
    tool_calls(&[fragment(json!(1), json!("b"), json!("g"), "{\"y\":2}")])])]
#[case::name_and_id_in_every_fragment(vec![
    tool_calls(&[fragment(json!(0), json!("a"), json!("f"), "{\"x\"")]), tool_calls(&[fragment(json!(0), json!("a"), json!("f"), ":1}")]),
    tool_calls(&[fragment(json!(1), json!("b"), json!("g"), "{\"y\":2}")])])]
fn two_calls_are_told_apart_however_they_are_numbered(#[case] mut frames: Vec<String>) {
    frames.push(ends("stop"));

    let answer = answer(&frames);

    let strip = |(id, name, arguments): (String, String, String)| (id, name, arguments.replace(' ', ""));
    let found: Vec<_> = calls(&answer).into_iter().map(strip).collect();
    assert_eq!(found, [call("a", "f", "{\"x\":1}"), call("b", "g", "{\"y\":2}")]);
    assert_eq!(answer.choices[0].stop, Stop::ToolCalls);
}

#[test]
fn calls_without_ids_get_ids_that_differ_and_stay() {
    let frames = [
        tool_calls(&[fragment(json!(0), json!(""), json!("f"), "{\"x\":1}")]),
        tool_calls(&[fragment(json!(0), json!(""), json!("f"), "{\"x\":2}")]),
        ends("stop"),
    ];

    let (once, again) = (calls(&answer(&frames)), calls(&answer(&frames)));

    assert_eq!(once, again);
    assert_eq!((once.len(), once[0].0 != once[1].0), (2, true));
}

#[test]
fn usage_on_every_chunk_before_zeros_and_beside_the_finish_is_the_last_real_one() {
    let with_usage = |usage: Value, finish: Value| {
        json!({"id": "c", "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": finish}], "usage": usage}).to_string()
    };

    let answer = answer(&[
        with_usage(json!({"prompt_tokens": 0, "completion_tokens": 0}), Value::Null),
        with_usage(json!({"prompt_tokens": 7, "completion_tokens": 1}), "stop".into()),
        with_usage(json!({"prompt_tokens": 7, "completion_tokens": 2}), "stop".into()),
        json!({"id": "c", "choices": null, "usage": {"prompt_tokens": 0, "completion_tokens": 0}}).to_string(),
    ]);

    assert_eq!(answer.usage.unwrap().output_text, 2);
    assert_eq!(answer.choices[0].parts, [Part::text("xxx")]);
}

#[rstest::rstest]
#[case::empty_choices_first(r#"{"id":"","model":"","choices":[],"prompt_filter_results":[]}"#)]
#[case::null_choices(r#"{"id":"c","choices":null}"#)]
#[case::missing_choices(r#"{"id":"c"}"#)]
#[case::null_delta(r#"{"id":"c","choices":[{"index":0,"delta":null,"finish_reason":""}]}"#)]
#[case::odd_shapes(r#"{"id":7,"choices":[{"index":"0","delta":{"content":{},"tool_calls":null,"reasoning_details":[]},"logprobs":null}]}"#)]
#[case::role_again(r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}],"obfuscation":"x"}"#)]
#[case::empty("")]
fn chunks_that_say_nothing_change_nothing(#[case] nothing: &str) {
    let frames = [
        nothing.to_owned(),
        says(json!({"content": "a"})),
        nothing.to_owned(),
        says(json!({"content": "b"})),
        ends("stop"),
    ];

    assert_eq!(answer(&frames).choices[0].parts, [Part::text("ab")]);
}

#[rstest::rstest]
#[case(json!({"reasoning_content": "hm"}))]
#[case(json!({"reasoning": "hm"}))]
#[case(json!({"reasoning": "hm", "reasoning_content": "hm"}))]
#[case(json!({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm", "index": 0}]}))]
#[case(json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}))]
fn thoughts_are_read_under_every_name_once(#[case] delta: Value) {
    let answer = answer(&[says(delta), says(json!({"content": "so"})), ends("stop")]);

    let thought = PartKind::Thinking(Thinking { text: "hm".into(), ..Thinking::default() });
    assert_eq!(answer.choices[0].parts, [Part::new(thought), Part::text("so")]);
}

#[test]
fn seals_of_thoughts_and_calls_are_kept() {
    let answer = answer(&[
        says(
            json!({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm", "index": 0, "format": "anthropic-claude-v1"}]}),
        ),
        says(
            json!({"reasoning_details": [{"type": "reasoning.text", "signature": "s", "index": 0, "format": "anthropic-claude-v1"}]}),
        ),
        says(
            json!({"reasoning_details": [{"type": "reasoning.encrypted", "data": "e", "id": "call_2", "format": "google-gemini-v1"}]}),
        ),
        tool_calls(&[
            json!({"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "g"}}}),
        ]),
        tool_calls(&[fragment(json!(1), json!("call_2"), json!("f"), "{}")]),
        ends("tool_calls"),
    ]);

    let seals: Vec<Option<String>> = answer.choices[0]
        .parts
        .iter()
        .map(|part| match &part.kind {
            PartKind::Thinking(thought) => thought.seal.clone().map(|seal| seal.data),
            PartKind::ToolCall(call) => call.seal.clone().map(|seal| seal.data),
            _ => None,
        })
        .collect();
    assert_eq!(seals, [Some("s".into()), Some("g".into()), Some("e".into())]);
}

#[test]
fn choices_that_come_by_turns_are_kept_apart() {
    let says = |index: u32, text: &str, finish: Value| {
        json!({"id": "c", "choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}]})
            .to_string()
    };

    let answer = answer(&[
        says(0, "a", Value::Null),
        says(1, "x", Value::Null),
        says(0, "b", "stop".into()),
        says(1, "y", "length".into()),
        "[DONE]".into(),
    ]);

    assert_eq!(
        (&answer.choices[0].parts, &answer.choices[1].parts),
        (&vec![Part::text("ab")], &vec![Part::text("xy")])
    );
    assert_eq!(answer.choices[1].stop, Stop::Length);
}

#[rstest::rstest]
#[case("stop", Stop::Done)]
#[case("length", Stop::Length)]
#[case("content_filter", Stop::Filtered)]
#[case("tool_calls", Stop::Done)]
#[case("function_call", Stop::Done)]
#[case("brownout", Stop::Other("brownout".into()))]
fn a_finish_reason_means_what_it_says_given_the_calls(#[case] reason: &str, #[case] stop: Stop) {
    assert_eq!(answer(&[says(json!({"content": "a"})), ends(reason)]).choices[0].stop, stop);
}

#[test]
fn a_refusal_a_stop_sequence_sound_and_sources_are_told() {
    let refused = answer(&[says(json!({"refusal": "I "})), says(json!({"refusal": "won't"})), ends("stop")]);
    let stopped = answer(&[
        json!({"id": "c", "choices": [{"delta": {"content": "a"}, "finish_reason": "stop", "stop_reason": "END"}]})
            .to_string(),
    ]);
    let heard = answer(&[
        says(json!({"audio": {"id": "au", "transcript": "hi"}})),
        says(json!({"audio": {"data": "AAAA"}})),
        says(json!({"audio": {"data": "AQ=="}})),
        ends("stop"),
    ]);
    let cited = answer(&[
        says(json!({"content": "a"})),
        says(
            json!({"annotations": [{"type": "url_citation", "url_citation": {"url": "https://x", "title": "t", "start_index": 0, "end_index": 1}}]}),
        ),
        ends("stop"),
    ]);

    assert_eq!(
        (&refused.choices[0].parts, &refused.choices[0].stop),
        (&vec![Part::new(PartKind::Refusal("I won't".into()))], &Stop::Refused)
    );
    assert_eq!(stopped.choices[0].stop, Stop::Sequence(Some("END".into())));
    let source = Source::Base64 { mime: "audio/wav".into(), data: "AAAAAQ==".into() };
    assert_eq!(
        heard.choices[0].parts,
        [Part::text("hi"), Part::new(PartKind::Audio(Media { source, detail: None, name: Some("au".into()) }))]
    );
    let PartKind::Text { citations, .. } = &cited.choices[0].parts[0].kind else { panic!() };
    assert_eq!((citations[0].url.as_deref(), citations[0].span), (Some("https://x"), Some((0, 1))));
}

#[rstest::rstest]
#[case(json!("stop"))]
#[case(json!(""))]
#[case(json!(null))]
#[case(json!(151_645))]
fn a_stop_reason_that_is_no_stop_sequence_is_passed_over(#[case] told: Value) {
    let frame =
        json!({"id": "c", "choices": [{"delta": {"content": "a"}, "finish_reason": "stop", "stop_reason": told}]});

    assert_eq!(answer(&[frame.to_string()]).choices[0].stop, Stop::Done);
}

#[test]
fn a_stream_that_only_stops_is_truncated_but_its_usage_is_told() {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    let frame = json!({"id": "c", "choices": [{"delta": {"content": "a"}}], "usage": {"prompt_tokens": 3}}).to_string();
    decoder.frame(None, frame.as_bytes(), &mut out).unwrap();

    assert_eq!(decoder.end(&mut out), Err(Truncated));
    assert!(matches!(out.last(), Some(Event::Usage(_))));
}

#[rstest::rstest]
#[case(r#"{"error":{"message":"no","code":"x"}}"#)]
#[case(r#"{"id":"c","choices":[{"delta":{},"finish_reason":"error","error":{"message":"no"}}]}"#)]
#[case(r#"[{"error":{"message":"no"}}]"#)]
#[case(r#"{"message":"no"}"#)]
fn an_error_in_the_stream_is_an_error(#[case] frame: &str) {
    let told = read(&[&says(json!({"content": "a"})), frame]).unwrap_err();

    assert!(matches!(&told, BadAnswer::Error(error) if error.message == "no"), "{told:?}");
}

#[test]
fn the_other_ways_to_fail_are_named() {
    let mut decoder = Decoder::default();

    assert!(matches!(decoder.frame(Some("error"), b"no", &mut Vec::new()), Err(BadAnswer::Error(_))));
    assert_eq!(read(&["{\"id\""]), Err(BadAnswer::NotJson));
    assert!(matches!(read(&["[DONE]"]), Err(BadAnswer::Broken(_))));
    assert!(matches!(read(&["7"]), Err(BadAnswer::Broken(_))));
    let nameless = tool_calls(&[fragment(json!(0), json!("a"), json!(null), "{\"x\":1}")]);
    assert!(matches!(read(&[&nameless, "[DONE]"]), Err(BadAnswer::Broken(_))));
    let endless = tool_calls(&[fragment(json!(0), json!("a"), json!("f"), &"x".repeat(1 << 20))]);
    assert!(matches!(read(&[endless.as_str(); 9]), Err(BadAnswer::Broken(_))));
}

#[test]
fn the_same_stream_in_any_cut_gives_the_same_events() {
    let frames = [
        says(json!({"content": "Gr\u{fc}\u{2028}"})),
        tool_calls(&[fragment(json!(0), json!("a"), json!("f"), "{}")]),
        ends("stop"),
    ];
    let wire: String = frames.iter().map(|frame| format!("data: {frame}\r\n\r\n")).collect();
    let whole = read(&frames.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();

    for cut in 1..wire.len() {
        let mut scanner = crate::sse::SseScanner::new(1 << 20);
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for piece in [&wire.as_bytes()[..cut], &wire.as_bytes()[cut..]] {
            scanner.push(bytes::Bytes::copy_from_slice(piece));
            while let Some(event) = scanner.next_event().unwrap() {
                decoder.frame(None, &event.data, &mut out).unwrap();
            }
        }
        decoder.end(&mut out).unwrap();
        assert_eq!(out, whole);
    }
}

proptest! {
    #[test]
    fn random_bytes_never_make_the_decoder_panic(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for frame in frames {
            let _ = decoder.frame(None, &frame, &mut out);
        }
        let _ = decoder.end(&mut out);
    }

    #[test]
    fn fragments_in_any_disorder_give_legal_events(picks in prop::collection::vec((0..3_u8, 0..3_u8, 0..3_u8, 0..4_usize), 0..12)) {
        let pieces = ["", "{}", "{\"a\":", "1}"];
        let mut frames: Vec<String> = picks.iter().map(|(index, id, name, piece)| {
            let id = ["", "a", "b"][usize::from(*id)];
            let index = if *index == 2 { Value::Null } else { json!(index) };
            let name = ["", "f", "g"][usize::from(*name)];
            tool_calls(&[fragment(index, json!(id), json!(name), pieces[*piece])])
        }).collect();
        frames.push(ends("stop"));

        if let Ok(events) = read(&frames.iter().map(String::as_str).collect::<Vec<_>>()) {
            legal(&events);
        }
    }
}
