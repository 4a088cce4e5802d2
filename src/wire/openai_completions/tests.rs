//! What legacy completions promise.

use std::sync::Arc;

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::{
    Answer, Begin, Choice, Delta, Event, Format, Part, PartKind, Reply, Request, Stop, StreamEncoder as _, Thinking,
};
use crate::openai_error::ErrorBody;
use crate::usage::Usage;

fn reply(include_usage: bool) -> Reply {
    let request = Arc::new(Request::new(Format::OpenAiChat, "client-model"));
    Reply { id: "r1".into(), created: 7, model: "client-model".into(), include_usage, as_array: false, request }
}

fn answer() -> Answer {
    let thought = Thinking { text: "hm".into(), ..Thinking::default() };
    let parts = vec![Part::new(PartKind::Thinking(thought)), Part::text("Gr\u{fc}"), Part::text("\"\n")];
    let entry = |token: &str| json!({"token": token, "logprob": -0.5, "bytes": null, "top_logprobs": [{"token": "x", "logprob": -1.0}]});
    let logprobs = Some(json!({"content": [entry("Gr\u{fc}"), entry("\"\n")]}));
    Answer {
        begin: Begin { id: Some("c1".into()), ..Begin::default() },
        choices: vec![Choice { index: 0, parts, stop: Stop::Length, logprobs }],
        usage: Some(Usage { input_fresh: 3, output_text: 4, ..Usage::default() }),
        took: None,
    }
}

fn streamed(events: &[Event], include_usage: bool) -> Vec<Value> {
    let (mut encoder, mut out) = (Encoder::new(&reply(include_usage)), BytesMut::new());
    events.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.finish(&mut out);
    let wire = String::from_utf8(out.to_vec()).unwrap();
    let frames = wire.strip_suffix("data: [DONE]\n\n").unwrap().split_terminator("\n\n");
    frames.map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

#[rstest::rstest]
#[case(json!("say hi"))]
#[case(json!(["say hi"]))]
fn a_prompt_is_a_message_of_the_user(#[case] prompt: Value) {
    let body = json!({"model": "m", "prompt": prompt, "max_tokens": 5, "logprobs": 2, "n": 2, "best_of": 2, "echo": false,
        "suffix": null, "stop": "x", "stream": true, "stream_options": {"include_usage": true}, "user": "u", "extra": 1});

    let request = decode_request(body.to_string().as_bytes()).unwrap();

    assert_eq!(request.messages, [crate::chat::Message::text(crate::chat::Role::User, "say hi")]);
    assert_eq!(
        (request.sampling.logprobs, request.sampling.top_logprobs, request.sampling.n),
        (Some(true), Some(2), Some(2))
    );
    assert!(wants_usage(&request));
    assert_eq!((request.stream, request.user.as_deref(), request.rest.len()), (true, Some("u"), 1));
}

#[rstest::rstest]
#[case(json!({}), "prompt")]
#[case(json!({"prompt": []}), "prompt")]
#[case(json!({"prompt": ["a", "b"]}), "prompt")]
#[case(json!({"prompt": [1, 2]}), "prompt")]
#[case(json!({"prompt": [[1, 2]]}), "prompt")]
#[case(json!({"prompt": {}}), "prompt")]
#[case(json!({"prompt": "a", "suffix": "b"}), "suffix")]
#[case(json!({"prompt": "a", "echo": true}), "echo")]
#[case(json!({"prompt": "a", "best_of": 2}), "best_of")]
#[case(json!({"prompt": "a", "logprobs": 6}), "logprobs")]
#[case(json!({"prompt": "a", "logprobs": "x"}), "logprobs")]
#[case(json!({"prompt": "a", "temperature": 3}), "temperature")]
fn what_cannot_be_done_is_refused_with_the_field(#[case] mut body: Value, #[case] param: &str) {
    body["model"] = "m".into();

    assert_eq!(decode_request(body.to_string().as_bytes()).unwrap_err().param.as_deref(), Some(param));
}

#[test]
fn a_whole_answer_is_one_text_without_thoughts() {
    let body: Value = serde_json::from_slice(&encode_answer(&answer(), &reply(true))).unwrap();

    assert_eq!(
        (&body["id"], &body["object"], &body["model"], &body["created"]),
        (&json!("c1"), &json!("text_completion"), &json!("client-model"), &json!(7))
    );
    assert_eq!(
        body["choices"],
        json!([{"text": "Gr\u{fc}\"\n", "index": 0, "logprobs": {
        "tokens": ["Gr\u{fc}", "\"\n"], "token_logprobs": [-0.5, -0.5], "top_logprobs": [{"x": -1.0}, {"x": -1.0}], "text_offset": [0, 3]},
        "finish_reason": "length"}])
    );
    assert_eq!(body["usage"]["total_tokens"], 7);
}

#[test]
fn a_stream_says_the_same_and_ends_with_usage_if_asked() {
    let chunks = streamed(&answer().events(), true);

    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    let reasons: Vec<&Value> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"].get(0))
        .map(|choice| &choice["finish_reason"])
        .filter(|reason| !reason.is_null())
        .collect();
    assert_eq!((text.as_str(), reasons), ("Gr\u{fc}\"\n", vec![&json!("length")]));
    assert!(chunks.iter().all(|chunk| chunk["object"] == "text_completion" && chunk["id"] == "c1"));
    assert_eq!(
        (&chunks.last().unwrap()["choices"], &chunks.last().unwrap()["usage"]["total_tokens"]),
        (&json!([]), &json!(7))
    );
    assert_eq!(streamed(&answer().events(), false).len(), chunks.len() - 1);
}

#[test]
fn nothing_is_still_an_answer_and_a_failure_is_none() {
    let (mut encoder, mut out) = (Encoder::new(&reply(true)), BytesMut::new());
    let error = ErrorBody { message: "cut".into(), kind: "server_error".into(), param: None, code: None };
    encoder.fail(&error, &mut out);
    encoder.finish(&mut out);

    let nothing = streamed(&[], true);

    assert_eq!(nothing[0]["choices"], json!([{"text": "", "index": 0, "logprobs": null, "finish_reason": "stop"}]));
    assert_eq!(nothing[0]["id"], "cmpl-r1");
    assert_eq!(&out[..], &error.to_sse()[..]);
}

proptest! {
    #[test]
    fn any_events_at_all_end_each_choice_once(picks in prop::collection::vec((0..5_u8, 0..3_u32, 0..2_u32), 0..20)) {
        let event = |(kind, block, choice): (u8, u32, u32)| match kind {
            0 => Event::Open { block, choice, what: crate::chat::Opening::Text },
            1 => Event::Delta { block, delta: Delta::Text("a".into()) },
            2 => Event::Close { block },
            3 => Event::Stop { choice, stop: Stop::Done },
            _ => Event::Logprobs { choice, logprobs: json!({"content": []}) },
        };

        let chunks = streamed(&picks.into_iter().map(event).collect::<Vec<_>>(), false);

        let mut ended = Vec::new();
        for choice in chunks.iter().map(|chunk| &chunk["choices"][0]) {
            prop_assert!(!ended.contains(&choice["index"]));
            if !choice["finish_reason"].is_null() {
                ended.push(choice["index"].clone());
            }
        }
        prop_assert!(!ended.is_empty());
    }
}
