//! Writing clients' answers and streams.

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::json;
use crate::chat::{
    Answer, Begin, Choice, Citation, Event, Family, Format, Media, Part, PartKind, Reply, Seal, Source, Stop,
    StreamEncoder, Thinking, ToolCall, arbitrary,
};
use crate::gemini::{Encoder, decode_answer, encode_answer};
use crate::openai_error::ErrorBody;
use crate::usage::Usage;

fn reply(as_array: bool) -> Reply {
    Reply { as_array, ..arbitrary::reply(Format::Gemini) }
}

fn call(arguments: &str) -> Part {
    let (id, name, seal) = ("c1".into(), "f".into(), Some(Seal { family: Family::Google, data: "Q".into() }));
    let arguments = arguments.into();
    Part::new(PartKind::ToolCall(ToolCall { id, name, namespace: None, arguments, custom: false, seal }))
}

fn answer(parts: Vec<Part>, stop: Stop) -> Answer {
    let usage = Usage { input_fresh: 6, cache_read: 4, output_text: 7, output_reasoning: 5, ..Usage::default() };
    let choice = Choice { index: 0, parts, stop, logprobs: None };
    Answer {
        begin: Begin { id: Some("r".into()), ..Begin::default() },
        choices: vec![choice],
        usage: Some(usage),
        took: None,
    }
}

fn rich() -> Answer {
    let seal = Some(Seal { family: Family::Anthropic, data: "S".into() });
    let thinking = PartKind::Thinking(Thinking { text: "hm".into(), seal, ..Thinking::default() });
    let image =
        Media { source: Source::Base64 { mime: "image/png".into(), data: "AA==".into() }, detail: None, name: None };
    let cited =
        Citation { url: Some("https://a".into()), title: Some("A".into()), span: Some((0, 1)), ..Citation::default() };
    let text = PartKind::Text { text: "é\n".into(), citations: vec![cited] };
    answer(
        vec![Part::new(thinking), Part::new(text), Part::new(PartKind::Image(image)), call("{\"a\":\n 1.50}")],
        Stop::ToolCalls,
    )
}

fn streamed(events: &[Event], as_array: bool) -> String {
    let (mut encoder, mut out) = (Encoder::new(&reply(as_array)), BytesMut::new());
    for event in events {
        encoder.event(event, &mut out);
        out.extend_from_slice(&encoder.heartbeat());
    }
    encoder.finish(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

/// As a client reads events: blank lines are passed over, every other line is `data: ` and JSON.
fn chunks(stream: &str) -> Vec<Value> {
    let lines = stream.split(['\r', '\n']).filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

/// All parts of all chunks, texts joined.
fn parts(chunks: &[Value]) -> Vec<Value> {
    let all = chunks.iter().flat_map(|chunk| chunk["candidates"][0]["content"]["parts"].as_array().unwrap().clone());
    all.filter(|part| part != &json!({"text": ""})).collect()
}

#[test]
fn a_whole_answer_is_written_as_google_writes_it() {
    let body = json(&encode_answer(&rich(), &reply(false)));

    let expected = json!({
        "candidates": [{
            "content": {"parts": [
                {"text": "hm", "thought": true, "thoughtSignature": "b21yMS5hbnRocm9waWMuUw=="},
                {"text": "é\n"},
                {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
                {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1.5}}, "thoughtSignature": "Q"},
            ], "role": "model"},
            "finishReason": "STOP", "index": 0,
            "groundingMetadata": {
                "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}],
                "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 2, "text": "é"}, "groundingChunkIndices": [0]}],
            },
        }],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 7, "totalTokenCount": 22, "cachedContentTokenCount": 4, "thoughtsTokenCount": 5},
        "modelVersion": "a-model", "responseId": "r",
    });
    assert_eq!(body, expected);
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let mut whole = json(&encode_answer(&rich(), &reply(false)));

    let events = chunks(&streamed(&rich().events(), false));
    let array = json(streamed(&rich().events(), true).as_bytes());

    let mut said = parts(&events);
    assert_eq!(said.remove(1), json!({"text": "", "thought": true, "thoughtSignature": "b21yMS5hbnRocm9waWMuUw=="}));
    let all = whole["candidates"][0]["content"]["parts"].as_array_mut().unwrap();
    all[0].as_object_mut().unwrap().shift_remove("thoughtSignature");
    assert_eq!(&said, all);
    let last = events.last().unwrap();
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    assert_eq!(last["candidates"][0]["groundingMetadata"], whole["candidates"][0]["groundingMetadata"]);
    assert_eq!(last["usageMetadata"], whole["usageMetadata"]);
    assert!(events.iter().rev().skip(1).all(|chunk| chunk["candidates"][0].get("finishReason").is_none()));
    assert_eq!(array, Value::Array(events));
}

#[test]
fn what_is_written_is_read_as_the_same_answer() {
    let answer = rich();

    let again = decode_answer(&encode_answer(&answer, &reply(false))).unwrap();

    assert_eq!(again.usage, answer.usage);
    let (again, first) = (&again.choices[0], &answer.choices[0]);
    assert_eq!((&again.stop, &again.parts[1..3]), (&first.stop, &first.parts[1..3]));
    assert_eq!(again.parts.len(), first.parts.len());
}

#[rstest::rstest]
#[case(Stop::Done, "STOP")]
#[case(Stop::Sequence(Some("x".into())), "STOP")]
#[case(Stop::Length, "MAX_TOKENS")]
#[case(Stop::ContextFull, "MAX_TOKENS")]
#[case(Stop::ToolCalls, "STOP")]
#[case(Stop::Filtered, "SAFETY")]
#[case(Stop::Refused, "SAFETY")]
#[case(Stop::Paused, "STOP")]
#[case(Stop::MalformedCall, "MALFORMED_FUNCTION_CALL")]
#[case(Stop::Other("LANGUAGE".into()), "LANGUAGE")]
#[case(Stop::Other("eos".into()), "OTHER")]
fn every_stop_has_its_word(#[case] stop: Stop, #[case] word: &str) {
    let answer = answer(vec![Part::text("a")], stop);

    let whole = json(&encode_answer(&answer, &reply(false)));
    let stream = chunks(&streamed(&answer.events(), false));

    assert_eq!(whole["candidates"][0]["finishReason"], word);
    assert_eq!(stream.last().unwrap()["candidates"][0]["finishReason"], word);
}

#[rstest::rstest]
#[case("{\"a\":")]
#[case("[1]")]
#[case("words")]
fn arguments_that_are_no_object_make_the_call_malformed(#[case] arguments: &str) {
    let answer = answer(vec![call(arguments)], Stop::ToolCalls);

    let whole = json(&encode_answer(&answer, &reply(false)));
    let stream = chunks(&streamed(&answer.events(), false));

    assert_eq!(whole["candidates"][0]["finishReason"], "MALFORMED_FUNCTION_CALL");
    assert_eq!(stream[0]["candidates"][0]["finishReason"], "MALFORMED_FUNCTION_CALL");
    assert_eq!(parts(&stream), [] as [Value; 0]);
}

#[test]
fn an_empty_answer_is_still_one() {
    let stream = chunks(&streamed(&[], false));

    assert_eq!(stream[0]["candidates"][0]["finishReason"], "STOP");
    assert_eq!(json(streamed(&[], true).as_bytes()).as_array().unwrap().len(), 1);
}

#[rstest::rstest]
#[case(false)]
#[case(true)]
fn an_error_ends_a_stream_that_a_client_still_reads(#[case] as_array: bool) {
    let (mut encoder, mut out) = (Encoder::new(&reply(as_array)), BytesMut::new());
    let events = answer(vec![Part::text("a")], Stop::Done).events();
    events[..3].iter().for_each(|event| encoder.event(event, &mut out));
    let error = ErrorBody { message: "cut".into(), kind: "overloaded_error".into(), param: None, code: None };

    encoder.fail(&error, &mut out);
    encoder.finish(&mut out);

    let text = String::from_utf8(out.to_vec()).unwrap();
    let all = if as_array { json(text.as_bytes()).as_array().unwrap().clone() } else { chunks(&text) };
    assert_eq!(all.len(), 2);
    assert_eq!(all[1], json!({"error": {"code": 503, "message": "cut", "status": "UNAVAILABLE"}}));
}

proptest! {
    #[test]
    fn events_in_any_order_make_a_legal_stream(events in arbitrary::events()) {
        let stream = chunks(&streamed(&events, false));
        let array = json(streamed(&events, true).as_bytes());

        prop_assert!(stream.iter().rev().skip(1).all(|chunk| chunk["candidates"][0].get("finishReason").is_none()));
        prop_assert!(stream.last().unwrap()["candidates"][0]["finishReason"].is_string());
        prop_assert_eq!(array, Value::Array(stream));
    }
}
