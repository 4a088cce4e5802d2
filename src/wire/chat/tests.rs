use proptest::prelude::*;
use serde_json::json;

use super::ids::{Names, Spelling};
use super::read::Fields;
use super::*;
use crate::usage::Usage;

fn call(id: &str, name: &str) -> Part {
    Part::new(PartKind::ToolCall(ToolCall {
        id: id.into(),
        name: name.into(),
        namespace: None,
        arguments: "{\"a\":1}".into(),
        custom: false,
        seal: None,
    }))
}

fn result(call_id: &str, text: &str) -> Part {
    Part::new(PartKind::ToolResult(ToolResult {
        call_id: call_id.into(),
        name: None,
        parts: vec![Part::text(text)],
        is_error: false,
        custom: false,
    }))
}

fn collected(events: &[Event]) -> Answer {
    let mut collector = Collector::default();
    events.iter().for_each(|event| collector.take(event));
    collector.finish()
}

fn some_part() -> impl Strategy<Value = Part> {
    let text = "[a-zé\u{2028}]{0,12}";
    prop_oneof![
        text.prop_map(Part::text),
        text.prop_map(|text| Part::new(PartKind::Refusal(text))),
        (text, any::<bool>()).prop_map(|(text, sealed)| {
            let seal = sealed.then(|| Seal { family: Family::Google, data: "s".into() });
            Part::new(PartKind::Thinking(Thinking { text, seal, ..Thinking::default() }))
        }),
        ("[a-z]{1,5}", "[a-z]{1,5}").prop_map(|(id, name)| call(&id, &name)),
        Just(Part::new(PartKind::Native(json!({"type": "web_search"})))),
    ]
}

fn some_answer() -> impl Strategy<Value = Answer> {
    let choice = prop::collection::vec(some_part(), 0..5);
    prop::collection::vec(choice, 1..3).prop_map(|choices| Answer {
        begin: Begin { id: Some("id".into()), ..Begin::default() },
        choices: (0..)
            .zip(choices)
            .map(|(index, parts)| Choice { index, parts, stop: Stop::Length, logprobs: None })
            .collect(),
        usage: Some(Usage::default()),
        took: Some(Took { answer: std::time::Duration::from_millis(5), ..Took::default() }),
    })
}

proptest! {
    #[test]
    fn an_answer_told_as_events_comes_together_as_itself(answer in some_answer()) {
        prop_assert_eq!(collected(&answer.events()), answer);
    }

    #[test]
    fn blocks_that_alternate_are_put_in_sequence_and_lose_nothing(answer in some_answer(), picks in prop::collection::vec(any::<prop::sample::Index>(), 0..64)) {
        let mut waiting: Vec<Vec<Event>> = Vec::new();
        for event in answer.events() {
            match &event {
                Event::Open { .. } => waiting.push(vec![event]),
                Event::Delta { .. } | Event::Close { .. } => waiting.last_mut().unwrap().push(event),
                _ => {}
            }
        }
        // All are opened first, in order; then they grow by turns.
        let mut mixed: Vec<Event> = waiting.iter_mut().map(|block| block.remove(0)).collect();
        for pick in picks {
            let alive: Vec<usize> = (0..waiting.len()).filter(|at| !waiting[*at].is_empty()).collect();
            if !alive.is_empty() {
                mixed.push(waiting[*pick.get(&alive)].remove(0));
            }
        }
        mixed.extend(waiting.into_iter().flatten());

        let (mut sequencer, mut out) = (Sequencer::default(), Vec::new());
        mixed.iter().cloned().for_each(|event| sequencer.push(event, &mut out));

        prop_assert_eq!(out.len(), mixed.len());
        let mut open = None;
        for event in &out {
            match event {
                Event::Open { block, .. } => prop_assert_eq!(open.replace(*block), None),
                Event::Delta { block, .. } => prop_assert_eq!(open, Some(*block)),
                Event::Close { block } => prop_assert_eq!(open.take(), Some(*block)),
                _ => {}
            }
        }
        prop_assert_eq!(collected(&out).choices.len(), collected(&mixed).choices.len());
    }

    #[test]
    fn a_fitted_name_is_taken_and_stays_itself_when_fitted_again(name in ".{0,200}") {
        for spelling in [Spelling::OPENAI, Spelling::ANTHROPIC, Spelling::GEMINI] {
            let fitted = spelling.fit(&name);

            prop_assert!(fitted.len() <= spelling.longest && !fitted.is_empty());
            prop_assert_eq!(spelling.fit(&fitted), fitted);
        }
    }
}

#[test]
fn a_seal_is_recognised_in_a_foreign_field_and_left_alone_in_its_own() {
    let seal = Seal { family: Family::Google, data: "Q2.x".into() };

    let field = seal.to_field(Family::Anthropic);

    assert_eq!(field, "omr1.google.Q2.x");
    assert_eq!(Seal::from_field(&field, Family::Anthropic), seal);
    assert_eq!(seal.to_field(Family::Google), "Q2.x");
    assert_eq!(Seal::from_field("Eq", Family::Anthropic), Seal { family: Family::Anthropic, data: "Eq".into() });
}

#[test]
fn calls_are_answered_in_the_next_message_and_orphans_go() {
    let messages = vec![
        Message::text(Role::User, "hi"),
        Message::new(Role::Assistant, vec![call("1", "f"), call("2", "g")]),
        Message::new(Role::User, vec![Part::text("and then"), result("2", "two"), result("9", "orphan")]),
        Message::new(Role::Assistant, vec![call("3", "f")]),
        Message::text(Role::Assistant, "never mind"),
    ];

    let repaired = repair::answered(repair::merged(messages));

    let ids: Vec<Vec<&str>> = repaired
        .iter()
        .map(|message| {
            message
                .parts
                .iter()
                .filter_map(|part| match &part.kind {
                    PartKind::ToolResult(result) => Some(result.call_id.as_str()),
                    _ => None,
                })
                .collect()
        })
        .collect();
    assert_eq!(ids, [vec![], vec![], vec!["1", "2"], vec![], vec!["3"]]);
    assert_eq!(repaired[2].parts[2], Part::text("and then"));
}

#[test]
fn a_custom_tool_and_a_namespace_come_back_as_the_client_knows_them() {
    let mut request = Request::new(Format::OpenAiResponses, "m");
    let function = ToolKind::Function {
        name: "read".into(),
        namespace: Some("files".into()),
        description: None,
        schema: None,
        strict: None,
    };
    let custom = ToolKind::Custom { name: "patch".into(), namespace: None, description: None, format: None };
    request.tools = vec![Tool { kind: function, cache: None }, Tool { kind: custom, cache: None }];
    let names = Names::of(&request, Spelling::OPENAI);
    let mut patch = call("2", "patch");
    if let PartKind::ToolCall(call) = &mut patch.kind {
        call.arguments = json!({"input": "*** Begin"}).to_string();
    }
    let choice = Choice { index: 0, parts: vec![call("1", "files__read"), patch], stop: Stop::Done, logprobs: None };
    let answer = Answer { choices: vec![choice], ..Answer::default() };

    let whole = names.way_back(false).restore(answer.clone());
    let mut restorer = names.way_back(false).for_stream();
    let mut events = Vec::new();
    answer.events().into_iter().for_each(|event| restorer.restore(event, &mut events));

    let PartKind::ToolCall(read) = &whole.choices[0].parts[0].kind else { panic!() };
    let PartKind::ToolCall(patch) = &whole.choices[0].parts[1].kind else { panic!() };
    assert_eq!((read.name.as_str(), read.namespace.as_deref()), ("read", Some("files")));
    assert_eq!((patch.custom, patch.arguments.as_str()), (true, "*** Begin"));
    assert_eq!(whole.choices[0].stop, Stop::ToolCalls);
    assert_eq!(collected(&events), whole);
}

#[test]
fn an_answer_that_was_asked_for_as_a_call_is_text_again() {
    let mut way_back = WayBack::default();
    way_back.answered_by("json_output");
    let choice = Choice { index: 0, parts: vec![call("1", "json_output")], stop: Stop::ToolCalls, logprobs: None };

    let answer = way_back.restore(Answer { choices: vec![choice], ..Answer::default() });

    assert_eq!(answer.choices[0].parts, [Part::text("{\"a\":1}")]);
    assert_eq!(answer.choices[0].stop, Stop::Done);
}

#[test]
fn a_wrong_member_is_named_with_its_path() {
    let mut body = Fields::of_body(br#"{"messages":[{"role":"user"},{"role":7}],"n":2.0,"x":null,"y":1}"#).unwrap();

    let mut messages = body.objects("messages").unwrap();
    let wrong = messages[1].required_text("role").unwrap_err();
    let missing = messages[0].required_text("content").unwrap_err();

    assert_eq!(wrong.param.as_deref(), Some("messages[1].role"));
    assert_eq!(missing.message, "Missing required parameter: 'messages[0].content'");
    assert_eq!(body.count("n").unwrap(), Some(2));
    assert_eq!(serde_json::to_string(&body.rest()).unwrap(), r#"{"y":1}"#);
}

#[test]
fn data_urls_are_bytes_and_other_urls_are_urls() {
    let png = Source::from_url("data:image/png;base64,AAAA");

    assert_eq!(png, Source::Base64 { mime: "image/png".into(), data: "AAAA".into() });
    assert_eq!(png.to_url().unwrap(), "data:image/png;base64,AAAA");
    assert_eq!(Source::from_url("data:,hi"), Source::Base64 { mime: "text/plain".into(), data: "aGk=".into() });
    assert!(matches!(Source::from_url("https://x/y.png"), Source::Url { .. }));
}

#[rstest::rstest]
#[case("{\"device_id\":\"d\",\"session_id\":\"s-1\"}", "s-1")]
#[case("user_ab_account_cd_session_s-2", "s-2")]
#[case("{\"device_id\":\"d\"}", "{\"device_id\":\"d\"}")]
#[case("ada", "ada")]
fn the_session_of_an_anthropic_client_names_its_cached_prompt(#[case] user: &str, #[case] name: &str) {
    let mut request = Request::new(Format::Anthropic, "m");
    request.user = Some(user.into());

    let told = request.cache_name();
    request.cache_key = Some("own".into());
    let own = request.cache_name();
    let chat = Request { from: Format::OpenAiChat, cache_key: None, ..request };

    assert_eq!((told.as_deref(), own.as_deref(), chat.cache_name()), (Some(name), Some("own"), None));
}
