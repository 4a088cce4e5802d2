//! What the Cohere codec promises.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::*;

fn request(messages: Vec<Message>) -> Request {
    let mut request = Request::new(Format::Anthropic, "m");
    request.messages = messages;
    request
}

fn encoded(request: &Request) -> Result<(Value, Vec<String>), Refused> {
    let target = EncodeTarget { model: "command", stream: true, traits: Traits::default() };
    let encoded = encode_request(request, &target)?;
    let dropped = encoded.dropped.into_iter().map(|dropped| dropped.field).collect();
    Ok((serde_json::from_slice(&encoded.body).unwrap(), dropped))
}

fn function(name: &str, strict: Option<bool>) -> Tool {
    let (name, schema) = (name.to_owned(), Some(json!({"type": "object", "properties": {"z": {}, "a": {}}})));
    Tool {
        kind: ToolKind::Function { name, namespace: None, description: Some("d".into()), schema, strict },
        cache: None,
    }
}

fn call(id: &str, arguments: &str) -> Part {
    let (id, name, arguments) = (id.into(), "f".into(), arguments.into());
    Part::new(PartKind::ToolCall(ToolCall { id, name, namespace: None, arguments, custom: false, seal: None }))
}

fn result(call_id: &str, parts: Vec<Part>, is_error: bool) -> Part {
    Part::new(PartKind::ToolResult(ToolResult { call_id: call_id.into(), name: None, parts, is_error, custom: false }))
}

fn image() -> Part {
    let source = Source::Base64 { mime: "image/png".into(), data: "AAAA".into() };
    Part::new(PartKind::Image(Media { source, detail: Some("low".into()), name: None }))
}

#[test]
fn a_conversation_is_written_as_cohere_reads_it() {
    let messages = vec![
        Message::new(Role::Developer, vec![Part::text("be brief"), Part::text("be kind")]),
        Message::new(Role::User, vec![Part::text("look"), image()]),
        Message::new(Role::Assistant, vec![Part::text("I will ask"), call("1", "{\"b\": 1}"), call("2", "")]),
        Message::new(
            Role::User,
            vec![
                result("2", vec![Part::text("bad")], true),
                result("1", vec![Part::text("fine"), image()], false),
                Part::text("so?"),
            ],
        ),
        Message::text(Role::Assistant, "thus"),
    ];

    let (body, dropped) = encoded(&request(messages)).unwrap();

    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}});
    let called = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
    assert_eq!(
        body["messages"],
        json!([
        {"role": "system", "content": "be brief\n\nbe kind"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, picture]},
        {"role": "assistant", "tool_plan": "I will ask", "tool_calls": [called("1", "{\"b\": 1}"), called("2", "{}")]},
        {"role": "tool", "tool_call_id": "1", "content": "fine"},
        {"role": "tool", "tool_call_id": "2", "content": "Error: bad"},
        {"role": "user", "content": [picture, {"type": "text", "text": "so?"}]},
        {"role": "assistant", "content": "thus"}])
    );
    assert_eq!((&body["model"], &body["stream"], dropped.len()), (&json!("command"), &json!(true), 0));
}

#[test]
fn every_setting_gets_coheres_name() {
    let mut request = request(vec![Message::text(Role::User, "hi")]);
    request.sampling = Sampling {
        max_tokens: Some(5),
        temperature: Some(0.5),
        top_p: Some(1.0),
        top_k: Some(900),
        stop: vec!["x".into()],
        seed: Some(4),
        presence_penalty: Some(-1.0),
        frequency_penalty: Some(0.5),
        n: Some(1),
        logprobs: Some(true),
        ..Sampling::default()
    };
    request.reasoning =
        Some(Reasoning { mode: ReasoningMode::On, effort: Some(Effort::Low), budget: None, show: None, summary: None });
    request.output =
        OutputFormat::JsonSchema { name: "x".into(), description: None, schema: json!({"z": 1}), strict: None };
    request.rest.insert("safety_mode".into(), "OFF".into());

    let (mut body, dropped) = encoded(&request).unwrap();

    body.as_object_mut().unwrap().remove("messages");
    assert_eq!(
        body,
        json!({"model": "command", "stream": true, "max_tokens": 5, "temperature": 0.5, "p": 0.99, "k": 500, "seed": 4,
        "presence_penalty": 0.0, "frequency_penalty": 0.5, "logprobs": true, "stop_sequences": ["x"],
        "response_format": {"type": "json_object", "json_schema": {"z": 1}}, "thinking": {"type": "enabled", "token_budget": 2048},
        "safety_mode": "OFF"})
    );
    assert_eq!(dropped, ["presence_penalty"]);
}

#[rstest::rstest]
#[case(Some(ToolChoice::Auto), 2, Value::Null)]
#[case(Some(ToolChoice::None), 2, json!("NONE"))]
#[case(Some(ToolChoice::Required), 2, json!("REQUIRED"))]
#[case(Some(ToolChoice::Named("g".into())), 1, json!("REQUIRED"))]
#[case(Some(ToolChoice::Allowed { required: false, names: vec!["g".into()] }), 1, Value::Null)]
#[case(None, 2, Value::Null)]
fn a_tool_is_demanded_by_offering_no_other(
    #[case] choice: Option<ToolChoice>,
    #[case] offered: usize,
    #[case] word: Value,
) {
    let mut request = request(vec![Message::text(Role::User, "hi")]);
    request.tools = vec![function("f", Some(true)), function("g", Some(true))];
    request.tool_choice = choice;

    let (body, _) = encoded(&request).unwrap();

    assert_eq!((body["tools"].as_array().unwrap().len(), &body["tool_choice"]), (offered, &word));
    assert_eq!(body["strict_tools"], true);
    assert_eq!(
        body["tools"][offered - 1]["function"]["parameters"].to_string(),
        r#"{"type":"object","properties":{"z":{},"a":{}}}"#
    );
}

#[test]
fn what_cohere_does_not_know_is_named() {
    let thought = Thinking { text: "hm".into(), ..Thinking::default() };
    let mut request = request(vec![
        Message { name: Some("ann".into()), ..Message::text(Role::User, "hi") },
        Message::new(Role::Assistant, vec![Part::new(PartKind::Thinking(thought)), Part::text("ho")]),
        Message::text(Role::User, "so"),
    ]);
    request.sampling = Sampling {
        min_p: Some(0.5),
        logit_bias: Some(json!({})),
        top_logprobs: Some(2),
        seed: Some(-1),
        ..Sampling::default()
    };
    request.tools = vec![Tool { kind: ToolKind::Native(json!({"type": "x"})), cache: None }];
    request.parallel_tools = Some(false);
    (request.user, request.cache_key, request.verbosity) = (Some("u".into()), Some("k".into()), Some("low".into()));
    request.rest.insert("store".into(), true.into());

    let (body, dropped) = encoded(&request).unwrap();

    assert_eq!(
        dropped,
        [
            "messages[1].thinking",
            "messages[0].name",
            "min_p",
            "logit_bias",
            "top_logprobs",
            "parallel_tools",
            "verbosity",
            "user",
            "cache_key",
            "store",
            "tools[0]",
            "seed",
        ]
    );
    assert_eq!(body.as_object().unwrap().len(), 3);
}

#[test]
fn what_would_change_the_answer_is_refused() {
    let field = |change: fn(&mut Request)| {
        let mut request = request(vec![Message::text(Role::User, "hi")]);
        change(&mut request);
        encoded(&request).unwrap_err().field
    };
    let pdf = || Media { source: Source::FileId("f".into()), detail: None, name: None };

    assert_eq!(field(|request| request.sampling.n = Some(2)), "n");
    assert_eq!(
        field(|request| {
            request.output = OutputFormat::JsonObject;
            request.tools = vec![function("f", None)];
        }),
        "response_format"
    );
    let asked = request(vec![Message::new(Role::User, vec![Part::new(PartKind::File(pdf()))])]);
    assert_eq!(encoded(&asked).unwrap_err().field, "messages[0].file");
}

#[test]
fn thoughts_go_back_to_a_model_that_thinks() {
    let thought = Thinking { text: "hm".into(), ..Thinking::default() };
    let mut request =
        request(vec![Message::new(Role::Assistant, vec![Part::new(PartKind::Thinking(thought)), Part::text("ho")])]);
    request.reasoning =
        Some(Reasoning { mode: ReasoningMode::On, effort: None, budget: None, show: None, summary: None });

    let (body, _) = encoded(&request).unwrap();

    assert_eq!(
        body["messages"][0]["content"],
        json!([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "ho"}])
    );
    assert_eq!(body["thinking"], json!({"type": "enabled"}));
}

fn whole() -> Value {
    json!({"id": "c1", "finish_reason": "TOOL_CALL", "message": {"role": "assistant", "tool_plan": "I will ask",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
        "usage": {"billed_units": {"input_tokens": 20.0, "output_tokens": 7.0}, "tokens": {"input_tokens": 900, "output_tokens": 30}, "cached_tokens": 5}})
}

fn stream() -> Vec<Value> {
    let say = |kind: &str, message: Value| json!({"type": kind, "index": 0, "delta": {"message": message}});
    let called = |id: &str, name: &str| json!({"tool_calls": {"id": id, "type": "function", "function": {"name": name, "arguments": ""}}});
    let more = |arguments: &str| json!({"tool_calls": {"function": {"arguments": arguments}}});
    vec![
        json!({"id": "c1", "type": "message-start", "delta": {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}}}),
        say("tool-plan-delta", json!({"tool_plan": "I will"})),
        say("tool-plan-delta", json!({"tool_plan": " ask"})),
        say("tool-call-start", called("a", "f")),
        say("tool-call-delta", more("{\"x\"")),
        say("tool-call-delta", more(": 1}")),
        json!({"type": "tool-call-end", "index": 0}),
        say("tool-call-start", called("b", "g")),
        say("tool-call-delta", more("{}")),
        json!({"type": "tool-call-end", "index": 1}),
        json!({"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": whole()["usage"]}}),
    ]
}

fn read(frames: &[Value]) -> Result<Answer, BadAnswer> {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    for frame in frames {
        decoder.frame(frame["type"].as_str(), frame.to_string().as_bytes(), &mut out)?;
    }
    decoder.end(&mut out).map_err(|truncated| BadAnswer::Broken(truncated.to_string()))?;
    let mut collector = Collector::default();
    out.iter().for_each(|event| collector.take(event));
    Ok(collector.finish())
}

#[test]
fn a_stream_and_a_whole_answer_say_the_same() {
    let whole = decode_answer(whole().to_string().as_bytes()).unwrap();

    let streamed = read(&stream()).unwrap();

    assert_eq!(streamed, whole);
    let named = |mut part: Part, name: &str| {
        if let PartKind::ToolCall(call) = &mut part.kind {
            call.name = name.into();
        }
        part
    };
    assert_eq!(
        whole.choices[0].parts,
        [Part::text("I will ask"), call("a", "{\"x\": 1}"), named(call("b", "{}"), "g")]
    );
    assert_eq!(whole.choices[0].stop, Stop::ToolCalls);
    assert_eq!(whole.usage.map(|usage| (usage.input_fresh, usage.cache_read, usage.output_text)), Some((15, 5, 7)));
}

#[test]
fn thoughts_and_sources_are_told_in_both() {
    let cited = json!({"start": 0, "end": 3, "text": "sky", "sources": [{"type": "document", "id": "d", "document": {"title": "t", "url": "https://x"}}]});
    let answer = json!({"id": "c", "finish_reason": "COMPLETE", "message": {"content": [
        {"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "sky"}], "citations": [cited]}});
    let say =
        |kind: &str, index: u32, message: Value| json!({"type": kind, "index": index, "delta": {"message": message}});
    let frames = [
        json!({"type": "message-start", "id": "c"}),
        say("content-start", 0, json!({"content": {"type": "thinking", "thinking": ""}})),
        say("content-delta", 0, json!({"content": {"thinking": "hm"}})),
        json!({"type": "content-end", "index": 0}),
        say("content-start", 1, json!({"content": {"type": "text", "text": ""}})),
        say("content-delta", 1, json!({"content": {"text": "sky"}})),
        json!({"type": "content-end", "index": 1}),
        say("citation-start", 0, json!({"citations": cited})),
        json!({"type": "citation-end", "index": 0}),
        json!({"type": "a-later-invention"}),
        json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}),
    ];

    let whole = decode_answer(answer.to_string().as_bytes()).unwrap();

    assert_eq!(read(&frames).unwrap(), whole);
    let PartKind::Text { text, citations } = &whole.choices[0].parts[1].kind else { panic!() };
    assert_eq!(
        (text.as_str(), citations[0].url.as_deref(), citations[0].span),
        ("sky", Some("https://x"), Some((0, 3)))
    );
}

#[rstest::rstest]
#[case("COMPLETE", Stop::Done)]
#[case("STOP_SEQUENCE", Stop::Sequence(None))]
#[case("MAX_TOKENS", Stop::Length)]
#[case("TOOL_CALL", Stop::Done)]
#[case("ERROR_TOXIC", Stop::Filtered)]
#[case("NEW", Stop::Other("NEW".into()))]
fn a_finish_reason_means_what_it_says_given_the_calls(#[case] reason: &str, #[case] stop: Stop) {
    let answer = json!({"finish_reason": reason, "message": {"content": "hi"}}).to_string();

    let answer = decode_answer(answer.as_bytes()).unwrap();

    assert_eq!((&answer.choices[0].stop, &answer.choices[0].parts), (&stop, &vec![Part::text("hi")]));
}

#[rstest::rstest]
#[case(json!({"tokens": {"input_tokens": 3, "output_tokens": 4}}), Some((3, 4)))]
#[case(json!({"billed_units": {}, "tokens": {"input_tokens": 3.9, "output_tokens": null}}), Some((3, 0)))]
#[case(json!({"billed_units": {"input_tokens": -1}}), None)]
#[case(json!([]), None)]
fn usage_is_read_from_whatever_is_counted(#[case] told: Value, #[case] sides: Option<(u64, u64)>) {
    assert_eq!(usage::read(&told).map(|usage| (usage.input_fresh, usage.output_text)), sides);
}

#[test]
fn failures_are_told_apart() {
    let failed = json!({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "overloaded"}});
    let error = |bad: BadAnswer| match bad {
        BadAnswer::Error(error) => error.message,
        other => panic!("{other:?}"),
    };

    assert_eq!(error(read(&[failed]).unwrap_err()), "overloaded");
    assert_eq!(error(read(&[json!({"message": "no credit"})]).unwrap_err()), "no credit");
    assert_eq!(error(decode_answer(br#"{"id":"x","message":"invalid api token"}"#).unwrap_err()), "invalid api token");
    assert_eq!(
        error(decode_answer(br#"{"finish_reason":"ERROR","message":{"content":[]}}"#).unwrap_err()),
        "the provider ended the answer with an error"
    );
    assert_eq!(decode_answer(b"<html>"), Err(BadAnswer::NotJson));
    assert!(matches!(decode_answer(b"{}"), Err(BadAnswer::Broken(_))));
    assert!(matches!(read(&stream()[..5]), Err(BadAnswer::Broken(_))));
}

#[test]
fn probabilities_are_told_in_openais_words() {
    let frames = [
        json!({"type": "content-delta", "delta": {"message": {"content": {"text": "hi"}}}, "logprobs": {"text": "hi", "token_ids": [1, 2], "logprobs": [-0.5, -0.25]}}),
        json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}),
    ];

    let answer = read(&frames).unwrap();

    assert_eq!(
        answer.choices[0].logprobs,
        Some(json!({"content": [{"token": "hi", "logprob": -0.75, "bytes": null, "top_logprobs": []}]}))
    );
}

proptest! {
    #[test]
    fn random_bytes_never_make_a_decoder_panic(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for frame in &frames {
            let _ = decoder.frame(Some("content-delta"), frame, &mut out);
            let _ = decode_answer(frame);
        }
        let _ = decoder.end(&mut out);
    }

    #[test]
    fn events_in_any_order_open_one_block_at_a_time(order in prop::collection::vec(0..11_usize, 0..20)) {
        let frames = stream();
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for at in order {
            let _ = decoder.frame(None, frames[at].to_string().as_bytes(), &mut out);
        }

        let mut open = None;
        for event in &out {
            match event {
                Event::Open { block, .. } => prop_assert_eq!(open.replace(*block), None),
                Event::Delta { block, .. } => prop_assert_eq!(open, Some(*block)),
                Event::Close { block } => prop_assert_eq!(open.take(), Some(*block)),
                Event::Stop { .. } => prop_assert_eq!(open, None),
                _ => {}
            }
        }
    }
}
