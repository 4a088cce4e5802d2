use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{collected, read};
use crate::chat::*;
use crate::responses::Decoder;
use crate::sse::SseScanner;

/// A stream as OpenAI writes it: thought in two parts, search, cited text, two calls.
fn fixture() -> Vec<Value> {
    let item = |index: u64, item: Value, done: bool| json!({"type": if done { "response.output_item.done" } else { "response.output_item.added" }, "output_index": index, "item": item});
    let part = json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []});
    let annotation =
        json!({"type": "url_citation", "url": "https://a", "title": "A", "start_index": 0, "end_index": 2});
    let fc = |arguments: &str| json!({"id": "fc_1", "type": "function_call", "status": "in_progress", "call_id": "call_1", "name": "f", "arguments": arguments});
    let custom = |input: &str| json!({"id": "ctc_1", "type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": input});
    let rs = |index: u64, kind: &str, more: (&str, &str)| json!({"type": format!("response.reasoning_summary_{kind}"), "item_id": "rs_1", "output_index": 0, "summary_index": index, more.0: more.1});
    vec![
        json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "created_at": 1_750_000_000, "model": "gpt-x", "status": "in_progress", "output": []}}),
        json!({"type": "response.in_progress", "response": {"id": "resp_1", "model": "gpt-x"}}),
        item(0, json!({"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "partial"}), false),
        rs(0, "part.added", ("x", "")),
        rs(0, "text.delta", ("delta", "two ")),
        rs(0, "text.delta", ("delta", "calls")),
        rs(0, "text.done", ("text", "two calls")),
        rs(0, "part.done", ("x", "")),
        rs(1, "text.done", ("text", "then go")),
        item(
            0,
            json!({"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "two calls"}], "encrypted_content": "gAAA"}),
            true,
        ),
        item(1, json!({"id": "ws_1", "type": "web_search_call", "status": "in_progress"}), false),
        json!({"type": "response.web_search_call.completed", "output_index": 1, "item_id": "ws_1"}),
        item(1, json!({"id": "ws_1", "type": "web_search_call", "status": "completed"}), true),
        item(
            2,
            json!({"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}),
            false,
        ),
        json!({"type": "response.content_part.added", "item_id": "msg_1", "output_index": 2, "content_index": 0, "part": part}),
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 2, "content_index": 0, "delta": "H\n", "logprobs": [{"token": "H", "logprob": -0.5}], "obfuscation": "xx"}),
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 2, "content_index": 0, "delta": "i\u{2028}", "logprobs": []}),
        json!({"type": "response.output_text.annotation.added", "item_id": "msg_1", "output_index": 2, "content_index": 0, "annotation_index": 0, "annotation": annotation}),
        json!({"type": "response.output_text.done", "item_id": "msg_1", "output_index": 2, "content_index": 0, "text": "H\ni\u{2028}"}),
        json!({"type": "response.content_part.done", "item_id": "msg_1", "output_index": 2, "content_index": 0, "part": {"type": "output_text", "text": "H\ni\u{2028}", "annotations": [annotation]}}),
        item(
            2,
            json!({"id": "msg_1", "type": "message", "content": [{"type": "output_text", "text": "H\ni\u{2028}", "annotations": [annotation]}]}),
            true,
        ),
        item(3, fc(""), false),
        item(4, custom(""), false),
        json!({"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 3, "delta": "{ \"a\""}),
        json!({"type": "response.custom_tool_call_input.delta", "item_id": "ctc_1", "output_index": 4, "delta": "*** "}),
        json!({"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 3, "delta": ": 1}"}),
        json!({"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": 3, "arguments": "{ \"a\": 1}"}),
        item(3, fc("{ \"a\": 1}"), true),
        json!({"type": "response.custom_tool_call_input.delta", "item_id": "ctc_1", "output_index": 4, "delta": "x"}),
        json!({"type": "response.custom_tool_call_input.done", "item_id": "ctc_1", "output_index": 4, "input": "*** x"}),
        item(4, custom("*** x"), true),
        json!({"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": [1, 2, 3], "usage": {"input_tokens": 10, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}}}}),
    ]
}

fn parts(frames: &[Value]) -> Vec<Part> {
    collected(&read(frames).unwrap().0).choices.remove(0).parts
}

fn call(call: &str, name: &str, arguments: &str, custom: bool) -> Part {
    Part::new(PartKind::ToolCall(ToolCall {
        id: call.into(),
        name: name.into(),
        namespace: None,
        arguments: arguments.into(),
        custom,
        seal: None,
    }))
}

#[test]
fn a_stream_comes_together_with_nothing_said_twice() {
    let (events, over) = read(&fixture()).unwrap();

    let answer = collected(&events);
    let parts = &answer.choices[0].parts;
    let PartKind::Thinking(thinking) = &parts[0].kind else { panic!() };
    let PartKind::Text { text, citations } = &parts[2].kind else { panic!() };
    assert!(over);
    assert_eq!((thinking.text.as_str(), thinking.id.as_deref()), ("two calls\n\nthen go", Some("rs_1")));
    assert_eq!(thinking.seal, Some(Seal { family: Family::OpenAi, data: "gAAA".into() }));
    assert!(matches!(&parts[1].kind, PartKind::Native(item) if item["status"] == "completed"));
    assert_eq!((text.as_str(), citations.len()), ("H\ni\u{2028}", 1));
    assert_eq!(parts[3..], [call("call_1", "f", "{ \"a\": 1}", false), call("call_2", "patch", "*** x", true)]);
    assert_eq!(answer.choices[0].stop, Stop::ToolCalls);
    assert_eq!(answer.choices[0].logprobs.as_ref().unwrap()["content"][0]["token"], "H");
    assert_eq!(answer.usage.unwrap().output_reasoning, 2);
}

#[test]
fn every_block_is_closed_before_the_stop() {
    let (events, _) = read(&fixture()).unwrap();

    let stop = events.iter().position(|event| matches!(event, Event::Stop { .. })).unwrap();
    let count = |wanted: fn(&Event) -> bool| events[..stop].iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Open { .. })), 5);
    assert_eq!(count(|event| matches!(event, Event::Close { .. })), 5);
}

#[test]
fn without_deltas_what_comes_whole_is_taken() {
    let quiet: Vec<Value> =
        fixture().into_iter().filter(|frame| !frame["type"].as_str().unwrap().ends_with(".delta")).collect();
    let items_only: Vec<Value> =
        fixture().into_iter().filter(|frame| frame["type"].as_str().unwrap().contains("item.done")).collect();
    let mut last = fixture().pop().unwrap();
    last["response"]["output"] = items_only.iter().map(|frame| frame["item"].clone()).collect();

    let from_quiet = parts(&quiet);
    let from_items = parts(&items_only);
    let from_last = parts(&[last]);

    let texts = |parts: &[Part]| parts.iter().filter_map(Part::as_text).collect::<String>();
    assert_eq!(from_quiet[2..], parts(&fixture())[2..]);
    assert_eq!(from_items[1..], parts(&fixture())[1..]);
    assert_eq!(from_last, from_items);
    assert_eq!(texts(&from_last), "H\ni\u{2028}");
}

#[test]
fn an_empty_delta_does_not_hide_the_text_that_follows() {
    let at = |kind: &str, name: &str, value: Value| json!({"type": format!("response.{kind}"), "output_index": 0, "content_index": 0, name: value});
    let frames = [
        at("output_text.delta", "delta", json!("")),
        at("output_text.done", "sequence_number", json!(3)),
        at("content_part.done", "part", json!({"type": "output_text", "text": "late"})),
        json!({"type": "response.completed", "response": {}}),
    ];

    assert_eq!(parts(&frames), [Part::text("late")]);
}

#[test]
fn a_stream_is_read_the_same_however_it_is_cut() {
    let text: String = fixture().iter().map(|frame| format!("event: x\r\ndata: {frame}\r\n\r\n")).collect();
    for size in [1, 7, 64, 4096] {
        let (mut scanner, mut decoder, mut events) = (SseScanner::new(1 << 20), Decoder::default(), Vec::new());
        for chunk in text.as_bytes().chunks(size) {
            scanner.push(Bytes::copy_from_slice(chunk));
            while let Some(event) = scanner.next_event().unwrap() {
                decoder.frame(Some("x"), &event.data, &mut events).unwrap();
            }
        }

        assert_eq!(events, read(&fixture()).unwrap().0);
        assert_eq!(decoder.end(&mut events), Ok(()));
    }
}

#[test]
fn sloppy_streams_are_read_as_far_as_they_go() {
    let unannounced = [
        json!({"type": "response.output_text.delta", "delta": "a", "output_index": "zero"}),
        json!({"type": "response.output_text.delta", "delta": "b", "item_id": 7}),
        json!({"type": "response.reasoning_text.delta", "output_index": 4, "delta": "raw"}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 4, "delta": "again"}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 5, "delta": "{}"}),
        json!({"type": "response.output_item.done", "output_index": 5, "item": {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}}),
        json!({"type": "response.brand_new", "x": 1}),
        json!({"type": "response.completed", "response": {}}),
    ];
    let all_zero = [
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"early\":1}"}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "function_call", "call_id": "c2", "name": "f", "arguments": null}}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{}"}),
        json!({"type": "response.completed", "response": null}),
    ];

    let first = parts(&unannounced);

    assert_eq!(first[0], Part::text("ab"));
    assert!(matches!(&first[1].kind, PartKind::Thinking(thinking) if thinking.text == "raw" && !thinking.summary));
    assert_eq!(first[2], call("c", "f", "{}", false));
    assert_eq!(parts(&all_zero), [call("c1", "f", "{\"early\":1}", false), call("c2", "f", "{}", false)]);
}

#[rstest::rstest]
#[case(json!({"type": "error", "code": "server_error", "message": "boom", "param": null, "sequence_number": 3}), "boom", Some("server_error"))]
#[case(json!({"type": "error", "error": {"type": "server_error", "code": "x", "message": "boom"}}), "boom", Some("x"))]
#[case(json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow"}}}), "slow", Some("rate_limit_exceeded"))]
#[case(json!({"type": "response.failed", "response": {"error": null}}), "the provider reports that the response failed", None)]
#[case(json!({"type": "response.completed", "response": {"status": "failed", "error": {"message": "late"}}}), "late", None)]
#[case(json!({"error": {"message": "no", "code": 429}}), "no", Some("429"))]
#[case(json!({"error": "just words"}), "just words", None)]
fn an_error_in_the_middle_is_reported(#[case] frame: Value, #[case] message: &str, #[case] code: Option<&str>) {
    let mut frames = fixture();
    frames.truncate(16);
    frames.push(frame);

    let Err(BadAnswer::Error(error)) = read(&frames) else { panic!() };

    assert_eq!((error.message.as_str(), error.code.as_deref()), (message, code));
}

#[test]
fn a_stream_without_its_end_is_truncated_and_one_with_it_is_over() {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    for frame in &fixture()[..20] {
        decoder.frame(None, frame.to_string().as_bytes(), &mut events).unwrap();
    }

    assert_eq!(decoder.frame(None, b"[DONE]", &mut events), Ok(false));
    assert_eq!(decoder.end(&mut events), Err(Truncated));
    assert_eq!(decoder.frame(None, b"{", &mut events), Err(BadAnswer::NotJson));
}

#[rstest::rstest]
#[case("incomplete", json!({"incomplete_details": {"reason": "max_output_tokens"}}), Stop::Length)]
#[case("incomplete", json!({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}), Stop::Filtered)]
#[case("completed", json!({}), Stop::ToolCalls)]
fn an_end_says_why(#[case] kind: &str, #[case] response: Value, #[case] stop: Stop) {
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let frames = [
        json!({"type": "response.output_item.done", "item": call}),
        json!({"type": format!("response.{kind}"), "response": response}),
    ];

    assert_eq!(collected(&read(&frames).unwrap().0).choices[0].stop, stop);
}

#[test]
fn arguments_of_a_call_without_a_name_are_not_kept_for_ever() {
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    let delta =
        json!({"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "x".repeat(1 << 20)})
            .to_string();

    let results: Vec<_> = (0..9).map(|_| decoder.frame(None, delta.as_bytes(), &mut events)).collect();

    assert!(results[..8].iter().all(Result::is_ok));
    assert!(matches!(results[8], Err(BadAnswer::Broken(_))));
}

proptest! {
    #[test]
    fn no_frames_in_any_order_make_the_reader_panic(picks in prop::collection::vec((any::<prop::sample::Index>(), 0..3u8), 0..60)) {
        let frames = fixture();
        let (mut decoder, mut events) = (Decoder::default(), Vec::new());
        for (pick, twist) in picks {
            let mut frame = pick.get(&frames).clone();
            if twist == 1 {
                frame.as_object_mut().unwrap().remove("output_index");
            }
            if twist == 2 {
                frame.as_object_mut().unwrap().remove("item");
            }
            let _ = decoder.frame(None, frame.to_string().as_bytes(), &mut events);
        }
        let _ = decoder.end(&mut events);
        let mut open = std::collections::HashSet::new();
        for event in &events {
            match event {
                Event::Open { block, .. } => prop_assert!(open.insert(*block)),
                Event::Delta { block, .. } => prop_assert!(open.contains(block)),
                Event::Close { block } => prop_assert!(open.remove(block)),
                Event::Stop { .. } => prop_assert!(open.is_empty()),
                _ => {}
            }
        }
    }

    #[test]
    fn no_bytes_make_the_stream_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in "[a-z_.]{0,30}") {
        let (mut decoder, mut events) = (Decoder::default(), Vec::new());
        let _ = decoder.frame(Some(&kind), &bytes, &mut events);
        let odd = json!({"type": kind, "output_index": -1, "delta": bytes, "item": kind, "response": [], "part": null});
        let _ = decoder.frame(None, odd.to_string().as_bytes(), &mut events);
    }
}
