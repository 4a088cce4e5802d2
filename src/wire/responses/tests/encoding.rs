use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::Value;

use super::{collected, frames, read, reply};
use crate::chat::*;
use crate::openai_error::ErrorBody;
use crate::responses::Encoder;
use crate::usage::Usage;

fn written(events: &[Event]) -> Vec<(String, Value)> {
    let (mut encoder, mut out) = (encoder(), BytesMut::new());
    events.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.finish(&mut out);
    frames(&out)
}

fn encoder() -> Encoder {
    Encoder::new(&reply(Request::new(Format::OpenAiResponses, "m")))
}

fn names(frames: &[(String, Value)]) -> Vec<&str> {
    frames.iter().map(|(name, _)| name.trim_start_matches("response.")).collect()
}

fn failure() -> ErrorBody {
    ErrorBody { message: "cut".into(), kind: "server_error".into(), param: None, code: Some("upstream_cut".into()) }
}

fn open(block: u32, what: Opening) -> Event {
    Event::Open { block, choice: 0, what }
}

fn call(block: u32, id: &str) -> Event {
    open(block, Opening::ToolCall { id: id.into(), name: "f".into(), namespace: Some("ns".into()), custom: false })
}

fn delta(block: u32, delta: Delta) -> Event {
    Event::Delta { block, delta }
}

fn text(block: u32, text: &str) -> Event {
    delta(block, Delta::Text(text.into()))
}

fn close(block: u32) -> Event {
    Event::Close { block }
}

fn seal(family: Family) -> Delta {
    Delta::Seal(Seal { family, data: "s1".into() })
}

/// What the official clients insist on, and a little more.
fn assert_legal(frames: &[(String, Value)]) {
    let mut items: Vec<Option<Value>> = Vec::new();
    let mut parts: Vec<(u64, u64)> = Vec::new();
    let (last, before) = frames.split_last().unwrap();
    assert_eq!(before[0].0, "response.created");
    assert_eq!(before[1].0, "response.in_progress");
    for (number, (name, data)) in frames.iter().enumerate() {
        assert_eq!(
            (data["type"].as_str(), data["sequence_number"].as_u64()),
            (Some(name.as_str()), Some(number as u64))
        );
        let index = data["output_index"].as_u64();
        match name.as_str() {
            "response.output_item.added" => {
                assert_eq!(index, Some(items.len() as u64));
                assert!(items.last().is_none_or(Option::is_some), "items do not overlap");
                items.push(None);
                parts.clear();
            }
            "response.output_item.done" => {
                assert_eq!(index, Some(items.len() as u64 - 1));
                *items.last_mut().unwrap() = Some(data["item"].clone());
            }
            "response.content_part.added" => parts.push((index.unwrap(), data["content_index"].as_u64().unwrap())),
            _ if data.get("content_index").is_some() => {
                assert_eq!(parts.last(), Some(&(index.unwrap(), data["content_index"].as_u64().unwrap())));
            }
            _ => {}
        }
    }
    let items: Vec<Value> = items.into_iter().map(Option::unwrap).collect();
    let ids: std::collections::HashSet<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), items.len(), "ids are unique");
    assert!(matches!(last.0.as_str(), "response.completed" | "response.incomplete" | "response.failed"));
    assert_eq!(last.1["response"]["output"], Value::Array(items));
    assert_eq!(last.1["response"]["id"], frames[0].1["response"]["id"]);
}

#[test]
fn a_message_is_announced_grows_and_ends_in_order() {
    let citation = Citation { url: Some("https://a".into()), title: Some("A".into()), ..Citation::default() };
    let events = [
        Event::Begin(Begin { id: Some("chatcmpl-1".into()), model: Some("gpt-x".into()), ..Begin::default() }),
        open(0, Opening::Thinking { id: None, summary: false, redacted: false }),
        text(0, "hm"),
        delta(0, seal(Family::Anthropic)),
        close(0),
        open(1, Opening::Text),
        text(1, "Hi\u{2028}\"\n"),
        delta(1, Delta::Citation(citation)),
        close(1),
        open(2, Opening::Text),
        text(2, "there"),
        close(2),
        Event::Stop { choice: 0, stop: Stop::Done },
        Event::Usage(Usage { input_fresh: 3, output_text: 2, ..Usage::default() }),
    ];

    let frames = written(&events);

    assert_legal(&frames);
    assert_eq!(
        names(&frames),
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.annotation.added",
            "output_text.done",
            "content_part.done",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed"
        ]
    );
    let response = &frames.last().unwrap().1["response"];
    assert_eq!((&response["id"], &response["model"]), (&"resp_0198ab".into(), &"gpt-x".into()));
    assert_eq!(response["output"][0]["encrypted_content"], "omr1.anthropic.s1");
    assert_eq!(response["output"][1]["content"][0]["annotations"][0]["end_index"], 5);
    assert_eq!(response["usage"]["total_tokens"], 5);
}

#[test]
fn calls_that_grow_by_turns_are_written_one_after_the_other() {
    let events = [
        call(0, "c1"),
        call(1, "c2"),
        delta(1, Delta::Arguments("{\"b\"".into())),
        delta(0, Delta::Arguments("{}".into())),
        delta(1, Delta::Arguments(":1}".into())),
        close(1),
        close(0),
        call(2, "c2"),
        close(2),
        Event::Stop { choice: 0, stop: Stop::ToolCalls },
    ];

    let frames = written(&events);

    assert_legal(&frames);
    let output = &frames.last().unwrap().1["response"]["output"];
    let told: Vec<_> = output.as_array().unwrap().iter().map(|item| (&item["call_id"], &item["arguments"])).collect();
    let expected =
        [("c1", "{}"), ("c2", "{\"b\":1}"), ("c2_2", "{}")].map(|(id, args)| (Value::from(id), Value::from(args)));
    assert_eq!(told, expected.iter().map(|(id, args)| (id, args)).collect::<Vec<_>>());
    assert_eq!((&output[0]["namespace"], &output[0]["status"]), (&"ns".into(), &"completed".into()));
}

#[test]
fn the_seal_of_a_call_travels_on_a_thought_beside_it_and_comes_back() {
    let events = [
        call(0, "c1"),
        delta(0, seal(Family::Google)),
        delta(0, Delta::Arguments("{}".into())),
        close(0),
        call(1, "c2"),
        delta(1, Delta::Arguments("{}".into())),
        delta(1, seal(Family::Google)),
        close(1),
        Event::Stop { choice: 0, stop: Stop::ToolCalls },
    ];

    let frames = written(&events);
    let output = frames.last().unwrap().1["response"]["output"].clone();
    let kinds: Vec<&str> = output.as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    let request = super::decoded(&serde_json::json!({"model": "m", "input": output}));

    assert_legal(&frames);
    assert_eq!(kinds, ["reasoning", "function_call", "function_call", "reasoning"]);
    let seals: Vec<_> = request.messages[0]
        .parts
        .iter()
        .map(|part| match &part.kind {
            PartKind::ToolCall(call) => call.seal.clone().unwrap().family,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seals, [Family::Google, Family::Google]);
}

#[test]
fn an_answer_that_is_cut_short_has_an_incomplete_item() {
    let events = [open(0, Opening::Text), text(0, "Hi"), close(0), Event::Stop { choice: 0, stop: Stop::Length }];

    let frames = written(&events);

    assert_legal(&frames);
    let (name, data) = frames.last().unwrap();
    assert_eq!(name, "response.incomplete");
    assert_eq!(data["response"]["output"][0]["status"], "incomplete");
}

#[test]
fn an_answer_that_says_nothing_is_still_an_answer() {
    let frames = written(&[]);

    assert_legal(&frames);
    assert_eq!(names(&frames), ["created", "in_progress", "completed"]);
}

#[test]
fn a_failure_in_the_middle_is_the_last_word() {
    let (mut encoder, mut out) = (encoder(), BytesMut::new());
    [call(0, "c0"), close(0), open(1, Opening::Text), text(1, "Hi")]
        .iter()
        .for_each(|event| encoder.event(event, &mut out));

    encoder.fail(&failure(), &mut out);
    let length = out.len();
    encoder.event(&text(1, "more"), &mut out);
    encoder.finish(&mut out);

    let frames = frames(&out);
    let (name, data) = frames.last().unwrap();
    assert_eq!((name.as_str(), out.len()), ("response.failed", length));
    assert_eq!(
        data["response"]["error"],
        serde_json::json!({"code": "upstream_cut", "message": "cut", "type": "server_error", "param": null})
    );
    assert_eq!(data["response"]["output"].as_array().unwrap().len(), 1);
}

#[test]
fn a_failure_before_the_answer_is_an_error_event() {
    let (mut encoder, mut out) = (encoder(), BytesMut::new());

    encoder.fail(&failure(), &mut out);

    let frames = frames(&out);
    assert_eq!((frames.len(), frames[0].0.as_str(), &frames[0].1["code"]), (1, "error", &"upstream_cut".into()));
    assert_eq!(encoder.heartbeat(), ": ka\n\n");
}

#[test]
fn what_the_client_got_can_be_stored() {
    let (mut encoder, mut out) = (encoder(), BytesMut::new());
    let begin = Begin { id: Some("resp_theirs".into()), ..Begin::default() };
    [Event::Begin(begin), open(0, Opening::Text), text(0, "Hi")]
        .iter()
        .for_each(|event| encoder.event(event, &mut out));
    assert_eq!((encoder.response_id(), encoder.response()), (Some("resp_theirs"), None));

    encoder.finish(&mut out);

    let stored: Value = serde_json::from_slice(&encoder.response().unwrap()).unwrap();
    assert_eq!(stored, frames(&out).last().unwrap().1["response"]);
}

#[test]
fn words_carry_their_probabilities() {
    let logprobs = serde_json::json!({"content": [{"token": "Hi", "logprob": -0.1, "top_logprobs": [{"token": "Ho", "logprob": -2.0}]}]});
    let events = [open(0, Opening::Text), text(0, "Hi"), Event::Logprobs { choice: 0, logprobs }, close(0)];

    let frames = written(&events);

    let told = &frames.last().unwrap().1["response"]["output"][0]["content"][0]["logprobs"][0];
    assert_eq!(told["bytes"], serde_json::json!([72, 105]));
    assert_eq!(told["top_logprobs"], serde_json::json!([{"token": "Ho", "logprob": -2.0, "bytes": [72, 111]}]));
}

proptest! {
    #[test]
    fn any_events_at_all_give_a_legal_stream(events in arbitrary::events()) {
        assert_legal(&written(&events));
    }

    #[test]
    fn what_is_written_is_read_back(texts in prop::collection::vec("[a-zé\u{2028}\"\n]{1,8}", 1..6), kinds in prop::collection::vec(0..3u8, 6)) {
        let parts = texts.iter().zip(kinds).enumerate().map(|(index, (text, kind))| match kind {
            0 => Part::text(text.clone()),
            1 => Part::new(PartKind::Thinking(Thinking {
                id: Some(format!("rs_{index}")), text: text.clone(), summary: true,
                seal: Some(Seal { family: Family::OpenAi, data: "s".into() }), redacted: false,
            })),
            _ => Part::new(PartKind::ToolCall(ToolCall {
                id: format!("c{index}"), name: "f".into(), namespace: None, arguments: text.clone(), custom: index % 2 == 0, seal: None,
            })),
        }).collect();
        let choice = Choice { index: 0, parts, stop: Stop::Done, logprobs: None };
        let answer = Answer { choices: vec![choice], ..Answer::default() };

        let frames: Vec<Value> = written(&answer.events()).into_iter().map(|(_, data)| data).collect();
        let again = collected(&read(&frames).unwrap().0);

        prop_assert_eq!(&again.choices[0].parts, &answer.choices[0].parts);
    }
}
