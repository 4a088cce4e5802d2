//! Writing clients' answers, streams, errors and lists.

use std::time::Duration;

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::json;
use crate::chat::{
    Answer, Begin, Choice, Event, Format, Part, PartKind, Stop, StreamEncoder, Thinking, Took, ToolCall, arbitrary,
};
use crate::model_facts::ModelFacts;
use crate::ollama::{
    Encoder, decode_answer, encode_answer, encode_generate, error_body, ps_body, show_body, tags_body, version_body,
};
use crate::openai_error::ErrorBody;
use crate::usage::Usage;

fn call(arguments: &str) -> Part {
    let (id, name, arguments) = ("c1".into(), "f".into(), arguments.into());
    Part::new(PartKind::ToolCall(ToolCall { id, name, namespace: None, arguments, custom: false, seal: None }))
}

fn rich(parts: Vec<Part>, stop: Stop) -> Answer {
    let thinking = PartKind::Thinking(Thinking { text: "hm".into(), ..Thinking::default() });
    let usage = Usage { input_fresh: 6, cache_read: 4, output_text: 7, output_reasoning: 5, ..Usage::default() };
    let parts = [Part::new(thinking), Part::text("a\u{2028}b")].into_iter().chain(parts).collect();
    let choice = Choice { index: 0, parts, stop, logprobs: None };
    Answer { begin: Begin::default(), choices: vec![choice], usage: Some(usage), took: None }
}

fn streamed(mut encoder: Encoder, events: &[Event]) -> Vec<Value> {
    let mut out = BytesMut::new();
    for event in events {
        encoder.event(event, &mut out);
        out.extend_from_slice(&encoder.heartbeat());
    }
    encoder.finish(&mut out);
    lines(&out)
}

/// As Python's client cuts lines.
fn lines(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    assert!(!text.contains(['\r', '\u{2028}', '\u{2029}', '\u{85}', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e']));
    text.strip_suffix('\n').unwrap().split('\n').map(|line| serde_json::from_str(line).unwrap()).collect()
}

const COUNTS: &str = r#""total_duration":0,"load_duration":0,"prompt_eval_count":10,"prompt_eval_duration":0,"eval_count":12,"eval_duration":0"#;

#[test]
fn a_whole_answer_is_written_as_ollama_writes_it() {
    let answer = rich(vec![call("{\"a\":\n 1.50}")], Stop::ToolCalls);

    let body = encode_answer(&answer, &arbitrary::reply(Format::Ollama));

    let message = r#"{"role":"assistant","content":"a\u2028b","thinking":"hm","tool_calls":[{"id":"c1","function":{"index":0,"name":"f","arguments":{"a":  1.50}}}]}"#;
    let expected = format!(
        r#"{{"model":"a-model","created_at":"2023-11-14T22:13:20Z","message":{message},"done":true,"done_reason":"stop",{COUNTS}}}"#
    );
    assert_eq!(body, expected);
    assert_eq!(decode_answer(&body).unwrap().choices[0].stop, Stop::ToolCalls);
}

#[test]
fn the_answer_to_a_prompt_is_a_text() {
    let answer = rich(vec![], Stop::Length);
    let reply = arbitrary::reply(Format::Ollama);

    let body = json(&encode_generate(&answer, &reply));
    let stream = streamed(Encoder::generate(&reply), &answer.events());

    assert_eq!((&body["response"], &body["thinking"]), (&json!("a\u{2028}b"), &json!("hm")));
    assert_eq!((&body["done_reason"], body.get("message")), (&json!("length"), None));
    let texts: String = stream.iter().map(|line| line["response"].as_str().unwrap()).collect();
    assert_eq!(texts, "a\u{2028}b");
    assert_eq!(stream.last().unwrap()["done_reason"], "length");
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let answer = rich(vec![call("{\"a\":1}")], Stop::ToolCalls);
    let encoder = Encoder::new(&arbitrary::reply(Format::Ollama));

    let stream = streamed(encoder, &answer.events());

    let (last, others) = stream.split_last().unwrap();
    let joined = |name: &str| -> String { others.iter().filter_map(|line| line["message"][name].as_str()).collect() };
    let calls: Vec<&Value> = others.iter().filter_map(|line| line["message"].get("tool_calls")).collect();
    assert_eq!((joined("thinking").as_str(), joined("content").as_str()), ("hm", "a\u{2028}b"));
    assert_eq!(calls, [&json!([{"id": "c1", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}])]);
    assert!(others.iter().all(|line| line["done"] == false));
    assert_eq!(
        (&last["done"], &last["prompt_eval_count"], &last["total_duration"]),
        (&json!(true), &json!(10), &json!(0))
    );
}

#[test]
fn half_a_call_is_never_given_to_a_client() {
    let answer = rich(vec![call("{\"a\":")], Stop::ToolCalls);
    let reply = arbitrary::reply(Format::Ollama);

    let whole = json(&encode_answer(&answer, &reply));
    let stream = streamed(Encoder::new(&reply), &answer.events());

    assert_eq!(whole["message"].get("tool_calls"), None);
    assert!(stream.iter().all(|line| line["message"].get("tool_calls").is_none()));
}

#[rstest::rstest]
#[case(Stop::Done, "stop")]
#[case(Stop::Sequence(None), "stop")]
#[case(Stop::ToolCalls, "stop")]
#[case(Stop::Length, "length")]
#[case(Stop::ContextFull, "length")]
#[case(Stop::Filtered, "stop")]
#[case(Stop::Refused, "stop")]
#[case(Stop::Other("odd".into()), "stop")]
fn every_stop_has_its_word(#[case] stop: Stop, #[case] word: &str) {
    let body = json(&encode_answer(&rich(vec![], stop), &arbitrary::reply(Format::Ollama)));

    assert_eq!(body["done_reason"], word);
}

#[test]
fn an_error_ends_a_stream_and_is_its_words() {
    let error = ErrorBody { message: "it\nbroke".into(), kind: "x".into(), param: None, code: None };
    let (mut encoder, mut out) = (Encoder::new(&arbitrary::reply(Format::Ollama)), BytesMut::new());

    encoder.fail(&error, &mut out);
    encoder.finish(&mut out);

    assert_eq!(lines(&out), [json!({"error": "it\nbroke"})]);
    assert_eq!(error_body(&error, 400, Some("r")), "{\"error\":\"it\\nbroke\"}");
}

proptest! {
    #[test]
    fn events_in_any_order_make_a_legal_stream(events in arbitrary::events(), generate in any::<bool>()) {
        let reply = arbitrary::reply(Format::Ollama);
        let encoder = if generate { Encoder::generate(&reply) } else { Encoder::new(&reply) };

        let stream = streamed(encoder, &events);

        let done: Vec<bool> = stream.iter().map(|line| line["done"] == true).collect();
        prop_assert_eq!(done.iter().filter(|done| **done).count(), 1);
        prop_assert_eq!(done.last(), Some(&true));
    }
}

#[test]
fn models_are_listed_and_described() {
    let facts = ModelFacts {
        id: "openai/gpt-5".into(),
        input_limit: Some(8),
        thinking: true,
        tools: true,
        ..ModelFacts::default()
    };

    let tags = json(&tags_body(std::slice::from_ref(&facts)));
    let running = json(&ps_body(std::slice::from_ref(&facts)));
    let shown = json(&show_body(&facts));

    assert_eq!(
        (&tags["models"][0]["name"], &tags["models"][0]["modified_at"]),
        (&json!("openai/gpt-5"), &json!("1970-01-01T00:00:00Z"))
    );
    assert_eq!(tags["models"][0]["digest"].as_str().unwrap().len(), 64);
    assert_eq!(running["models"][0]["context_length"], 8);
    assert_eq!(shown["capabilities"], json!(["completion", "tools", "thinking"]));
    assert_eq!(shown["model_info"]["gpt.context_length"], 8);
    assert!(json(&version_body())["version"].is_string());
}

#[test]
fn how_long_it_took_is_told_whole_and_streamed_and_read_again() {
    let millis = Duration::from_millis;
    let took = Took { total: millis(10), load: millis(1), prompt: millis(3), answer: millis(6) };
    let answer = Answer { took: Some(took), ..rich(vec![], Stop::Done) };
    let reply = arbitrary::reply(Format::Ollama);

    let whole = encode_answer(&answer, &reply);
    let stream = streamed(Encoder::new(&reply), &answer.events());

    for told in [&json(&whole), stream.last().unwrap()] {
        let names = ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"];
        assert_eq!(names.map(|name| told[name].as_u64().unwrap()), [10_000_000, 1_000_000, 3_000_000, 6_000_000]);
    }
    assert_eq!(decode_answer(&whole).unwrap().took, Some(took));
}
