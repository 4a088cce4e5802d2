//! Streams for clients.

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Decoder, Encoder};
use super::{any_reply, collected, reply};
use crate::chat::*;
use crate::openai_error::ErrorBody;
use crate::usage::Usage;

fn written(reply: &Reply, events: &[Event]) -> String {
    let (mut encoder, mut out) = (Encoder::new(reply), BytesMut::new());
    events.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.finish(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

fn chunks(wire: &str) -> Vec<Value> {
    let frames = wire.strip_suffix("data: [DONE]\n\n").expect("the stream ends with [DONE]");
    let frames = frames.split_terminator("\n\n");
    frames.map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

/// What the official readers insist on.
fn legal(wire: &str) -> Vec<Value> {
    let chunks = chunks(wire);
    let (mut begun, mut ended, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for chunk in &chunks {
        assert_eq!((&chunk["id"], &chunk["object"]), (&chunks[0]["id"], &json!("chat.completion.chunk")));
        for choice in chunk["choices"].as_array().unwrap() {
            let (index, delta) = (choice["index"].as_u64().unwrap(), choice["delta"].as_object().unwrap());
            assert!(!ended.contains(&index), "{wire}");
            assert_eq!(delta.get("role").is_some(), !begun.contains(&index), "{wire}");
            begun.push(index);
            for call in delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
                let call_index = call["index"].as_u64().unwrap();
                let is_new = call.get("id").is_some();
                assert_eq!(is_new, !calls.contains(&(index, call_index)), "{wire}");
                assert!(!is_new || call_index == calls.iter().filter(|(choice, _)| *choice == index).count() as u64);
                if is_new {
                    calls.push((index, call_index));
                }
            }
            for list in ["annotations", "images", "reasoning_details"] {
                let entries = delta.get(list).and_then(Value::as_array).into_iter().flatten();
                entries.for_each(|entry| assert!(entry["index"].is_u64()));
            }
            if !choice["finish_reason"].is_null() {
                ended.push(index);
            }
        }
    }
    begun.sort_unstable();
    begun.dedup();
    ended.sort_unstable();
    assert!(!begun.is_empty());
    assert_eq!(begun, ended, "{wire}");
    chunks
}

fn deltas(chunks: &[Value]) -> Vec<Value> {
    chunks.iter().filter_map(|chunk| chunk["choices"].get(0)).map(|choice| choice["delta"].clone()).collect()
}

fn some_answer() -> Answer {
    let seal = |family| Some(Seal { family, data: "s".into() });
    let call = |id: &str, custom, seal| ToolCall {
        id: id.into(),
        name: "f".into(),
        namespace: None,
        arguments: "{\"a\": 1}".into(),
        custom,
        seal,
    };
    let citation =
        Citation { url: Some("https://x".into()), title: Some("t".into()), span: Some((0, 1)), ..Citation::default() };
    let source = Source::Base64 { mime: "image/png".into(), data: "AAAA".into() };
    let parts = vec![
        Part::new(PartKind::Thinking(Thinking {
            text: "hm\n\"".into(),
            seal: seal(Family::Anthropic),
            ..Thinking::default()
        })),
        Part::new(PartKind::Text { text: "Gr\u{fc}\u{2028}".into(), citations: vec![citation] }),
        Part::new(PartKind::Image(Media { source, detail: None, name: None })),
        Part::new(PartKind::ToolCall(call("1", false, seal(Family::Google)))),
        Part::new(PartKind::ToolCall(call("2", true, None))),
    ];
    let begin = Begin {
        id: Some("x".into()),
        model: Some("m".into()),
        created: Some(3),
        service_tier: Some("flex".into()),
        fingerprint: None,
    };
    let usage = Usage { input_fresh: 3, output_text: 4, ..Usage::default() };
    Answer {
        begin,
        choices: vec![Choice { index: 0, parts, stop: Stop::ToolCalls, logprobs: None }],
        usage: Some(usage),
        took: None,
    }
}

#[test]
fn an_answer_that_is_streamed_and_read_again_is_the_same() {
    let wire = written(&any_reply(), &some_answer().events());

    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    legal(&wire);
    for frame in wire.split_terminator("\n\n") {
        decoder.frame(None, frame.strip_prefix("data: ").unwrap().as_bytes(), &mut events).unwrap();
    }

    assert_eq!(collected(&events), some_answer());
}

#[test]
fn several_thoughts_keep_their_own_seals() {
    let thought = |text: &str, seal: Option<&str>| {
        let seal = seal.map(|data| Seal { family: Family::Anthropic, data: data.into() });
        Part::new(PartKind::Thinking(Thinking { text: text.into(), seal, ..Thinking::default() }))
    };
    let hidden = Thinking {
        redacted: true,
        seal: Some(Seal { family: Family::Anthropic, data: "c".into() }),
        ..Thinking::default()
    };
    let parts = vec![
        thought("one", Some("a")),
        thought("two", Some("b")),
        Part::new(PartKind::Thinking(hidden)),
        Part::text("so"),
    ];
    let choice = Choice { index: 0, parts, stop: Stop::Done, logprobs: None };
    let answer = Answer { choices: vec![choice], ..Answer::default() };

    let wire = written(&any_reply(), &answer.events());
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    for frame in wire.split_terminator("\n\n") {
        decoder.frame(None, frame.strip_prefix("data: ").unwrap().as_bytes(), &mut events).unwrap();
    }

    let read: Vec<(String, Option<String>)> = collected(&events).choices[0]
        .parts
        .iter()
        .filter_map(|part| match &part.kind {
            PartKind::Thinking(thought) => {
                Some((thought.text.trim().to_owned(), thought.seal.clone().map(|seal| seal.data)))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        read,
        [("one".into(), Some("a".into())), ("two".into(), Some("b".into())), (String::new(), Some("c".into()))]
    );
}

#[test]
fn calls_are_written_as_the_official_readers_expect_them() {
    let deltas = deltas(&legal(&written(&any_reply(), &some_answer().events())));

    let calls: Vec<&Value> = deltas.iter().filter_map(|delta| delta.get("tool_calls")).map(|calls| &calls[0]).collect();
    assert_eq!(deltas[0], json!({"role": "assistant", "content": ""}));
    assert_eq!(
        calls[0],
        &json!({"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}})
    );
    assert_eq!(calls[1], &json!({"index": 0, "function": {"arguments": "{\"a\": 1}"}}));
    let proof = json!({"google": {"thought_signature": "s"}});
    assert_eq!(calls[2], &json!({"index": 0, "function": {"arguments": ""}, "extra_content": proof}));
    assert_eq!(calls[3], &json!({"index": 1, "id": "2", "type": "custom", "custom": {"name": "f", "input": ""}}));
    assert_eq!(calls[4], &json!({"index": 1, "custom": {"input": "{\"a\": 1}"}}));
}

#[test]
fn a_client_of_functions_gets_one_function_call() {
    let mut request = Request::new(Format::OpenAiChat, "m");
    request.functions_form = true;

    let wire = written(&reply(request), &some_answer().events());
    let chunks = legal(&wire);

    let calls: Vec<Value> = deltas(&chunks).iter().filter_map(|delta| delta.get("function_call").cloned()).collect();
    assert_eq!(calls, [json!({"name": "f", "arguments": ""}), json!({"arguments": "{\"a\": 1}"})]);
    assert!(wire.contains("\"finish_reason\":\"function_call\""));
    assert!(!wire.contains("tool_calls"));
}

#[test]
fn usage_comes_last_and_only_when_asked_for() {
    let mut silent = any_reply();
    silent.include_usage = false;

    let told = chunks(&written(&any_reply(), &some_answer().events()));
    let untold = written(&silent, &some_answer().events());

    assert_eq!(
        (&told.last().unwrap()["choices"], &told.last().unwrap()["usage"]["prompt_tokens"]),
        (&json!([]), &json!(3))
    );
    assert!(!untold.contains("usage"));
}

#[test]
fn nothing_is_still_an_answer_and_a_failure_is_none() {
    let nothing = written(&any_reply(), &[]);
    let (mut encoder, mut out) = (Encoder::new(&any_reply()), BytesMut::new());
    let error = ErrorBody { message: "cut".into(), kind: "server_error".into(), param: None, code: None };
    encoder.fail(&error, &mut out);
    encoder.finish(&mut out);
    some_answer().events().iter().for_each(|event| encoder.event(event, &mut out));

    let chunks = legal(&nothing);
    assert_eq!(
        (&chunks[0]["id"], &chunks[0]["model"], &chunks[0]["created"]),
        (&json!("chatcmpl-r1"), &json!("client-model"), &json!(7))
    );
    assert_eq!(&out[..], &error.to_sse()[..]);
    assert_eq!(encoder.heartbeat(), ": ka\n\n");
}

#[test]
fn a_call_without_arguments_gets_an_empty_object() {
    let opening = Opening::ToolCall { id: "1".into(), name: "f".into(), namespace: None, custom: false };
    let events = [Event::Open { block: 0, choice: 0, what: opening }, Event::Close { block: 0 }];

    let deltas = deltas(&legal(&written(&any_reply(), &events)));

    assert_eq!(deltas[2], json!({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}));
}

proptest! {
    #[test]
    fn any_events_at_all_end_in_a_legal_stream(events in arbitrary::events(), old_form: bool) {
        let mut request = Request::new(Format::OpenAiChat, "m");
        request.functions_form = old_form;

        legal(&written(&reply(request), &events));
    }
}
