use proptest::prelude::*;

use super::*;
use crate::sse::{Remainder, SseScanner};

fn events(stream: &str) -> Vec<SseEvent> {
    let mut scanner = SseScanner::new(1 << 20);
    scanner.push(Bytes::copy_from_slice(stream.as_bytes()));
    let mut events = Vec::new();
    while let Some(event) = scanner.next_event().unwrap() {
        events.push(event);
    }
    if let Remainder::Event(event) | Remainder::Cut(event) = scanner.finish().unwrap() {
        events.push(event);
    }
    events
}

/// Feeds a whole stream; the watcher, the kinds and the forwarded bytes.
fn watch(wants_usage: bool, stream: &str) -> (StreamWatch, Vec<Kind>, String) {
    let mut watch = StreamWatch::new(wants_usage);
    let mut kinds = Vec::new();
    let mut out = Vec::new();
    for event in events(stream) {
        let step = watch.step(&event);
        out.extend_from_slice(step.forward.as_deref().unwrap_or_default());
        kinds.push(step.kind);
    }
    (watch, kinds, String::from_utf8(out).unwrap())
}

fn delta(inner: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{inner},\"finish_reason\":null}}]}}\n\n")
}

fn kind_of(data: &str) -> Kind {
    watch(false, &format!("data: {data}\n\n")).1.remove(0)
}

const FIRST: Kind = Kind::Content { first: true };
const STRICT: EndRules = EndRules { finish_reason_optional: false, done_optional: false };

const WHOLE: &str = concat!(
    ": OPENROUTER PROCESSING\n\n",
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,",
    "\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Gr\\u00fcezi \"}}],\"usage\":null,\"x\":1}\n\n",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Bern\"}}]}\n\n",
    "data: {\"usage\" : null , \"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}}\n\n",
    "data: [DONE]\n\n",
);

#[test]
fn a_whole_stream_is_told_step_by_step() {
    let (watch, kinds, _) = watch(false, WHOLE);

    let expected = [
        Kind::Lifecycle,
        Kind::Lifecycle,
        FIRST,
        Kind::Content { first: false },
        Kind::Finish { content: false },
        Kind::Usage,
        Kind::Done,
    ];
    assert_eq!(kinds, expected);
    assert_eq!((watch.id(), watch.model(), watch.chars_out()), (Some("c1"), Some("m"), 11));
    assert_eq!(watch.usage().unwrap().input_fresh, 9);
    assert_eq!(watch.finish_reasons(), [(0, FinishReason::Stop)]);
    assert_eq!(watch.end(STRICT), Ending::Complete { missing_done: false });
}

#[test]
fn usage_the_client_did_not_ask_for_is_cut_and_all_else_stays() {
    let (_, _, out) = watch(false, WHOLE);

    let golden = concat!(
        "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,",
        "\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Gr\\u00fcezi \"}}],\"x\":1}\n\n",
        "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Bern\"}}]}\n\n",
        "data: { \"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    );
    assert_eq!(out, golden);
}

#[test]
fn a_client_that_asked_for_usage_gets_every_chunk_as_it_came() {
    let (_, _, out) = watch(true, WHOLE);

    let chunks = WHOLE.strip_prefix(": OPENROUTER PROCESSING\n\n").unwrap().strip_suffix(DONE_FRAME).unwrap();
    assert_eq!(out, chunks);
}

#[test]
fn an_unchanged_chunk_is_forwarded_without_a_copy() {
    let event = events(&delta(r#"{"content":"x"}"#)).remove(0);

    let step = StreamWatch::new(false).step(&event);

    assert_eq!(step.forward.unwrap().as_ptr(), event.raw.as_ptr());
}

#[rstest::rstest]
#[case::content(r#"{"content":"x"}"#, 1)]
#[case::reasoning_content(r#"{"content":null,"reasoning_content":"hm"}"#, 2)]
#[case::reasoning(r#"{"reasoning":"hm"}"#, 2)]
#[case::both_reasonings(r#"{"reasoning":"hm","reasoning_content":"hm"}"#, 2)]
#[case::refusal(r#"{"refusal":"no"}"#, 2)]
#[case::tool_call(
    r#"{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}"#,
    1
)]
#[case::nameless_tool(r#"{"tool_calls":[{"function":{"name":null,"arguments":"{}"}}]}"#, 2)]
#[case::function_call(r#"{"function_call":{"name":"f","arguments":""}}"#, 1)]
#[case::audio(r#"{"audio":{"id":"a","data":"AAAA"}}"#, 0)]
#[case::parts(
    r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"x"}]},{"type":"text","text":"yz"}]}"#,
    2
)]
#[case::repeated_key(r#"{"content":"","content":"x"}"#, 1)]
fn each_sort_of_content_counts_as_content(#[case] inner: &str, #[case] chars: u64) {
    let (watch, kinds, out) = watch(false, &delta(inner));

    assert_eq!((kinds, watch.chars_out(), out), (vec![FIRST], chars, delta(inner)));
}

#[rstest::rstest]
#[case::role(r#"{"role":"assistant"}"#)]
#[case::empty(r#"{"role":"assistant","content":""}"#)]
#[case::null(r#"{"role":"assistant","content":null,"tool_calls":null,"reasoning":""}"#)]
#[case::null_delta("null")]
#[case::list_for_delta("[]")]
#[case::empty_calls(r#"{"tool_calls":[],"audio":{},"function_call":null}"#)]
fn empty_deltas_are_no_content(#[case] inner: &str) {
    let (watch, kinds, out) = watch(false, &delta(inner));

    assert_eq!((kinds, out), (vec![Kind::Lifecycle], delta(inner)));
    assert_eq!(watch.end(STRICT), Ending::Empty);
}

#[rstest::rstest]
#[case::comment(": ka\n\n")]
#[case::ping("event: ping\n\n")]
#[case::empty_data("data:\n\n")]
#[case::id("id: 5\n\n")]
#[case::typed_ping("event: ping\ndata: {\"type\":\"ping\"}\n\n")]
#[case::no_choices("data: {\"id\":\"x\",\"choices\":null}\n\n")]
fn what_clients_fall_over_is_not_forwarded(#[case] stream: &str) {
    let (_, kinds, out) = watch(true, stream);

    assert_eq!((kinds, out.as_str()), (vec![Kind::Lifecycle], ""));
}

#[test]
fn an_empty_list_of_choices_passes_as_life() {
    let stream = "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n";

    assert_eq!(watch(false, stream).2, stream);
}

#[rstest::rstest]
#[case::missing(r#"{"id":"x","usage":{"prompt_tokens":1}}"#, r#"{"id":"x","usage":{"prompt_tokens":1},"choices":[]}"#)]
#[case::null(r#"{"choices":null,"usage":{"prompt_tokens":1}}"#, r#"{"usage":{"prompt_tokens":1},"choices":[]}"#)]
fn a_usage_chunk_without_a_list_of_choices_gets_one(#[case] data: &str, #[case] expected: &str) {
    let (watch, kinds, out) = watch(true, &format!("data: {data}\n\n"));

    assert_eq!((kinds, out), (vec![Kind::Usage], format!("data: {expected}\n\n")));
    assert_eq!(watch.usage().unwrap().input_fresh, 1);
}

#[test]
fn usage_riding_on_the_finish_chunk_is_read_and_cut() {
    let stream = concat!(
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}],",
        "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1},\"x_groq\":{\"usage\":{\"prompt_tokens\":5}}}\n\n"
    );

    let (watch, kinds, out) = watch(false, stream);

    assert_eq!(kinds, [Kind::Finish { content: true }]);
    assert_eq!(watch.usage().unwrap().input_fresh, 5);
    let golden = concat!(
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}],",
        "\"x_groq\":{\"usage\":{\"prompt_tokens\":5}}}\n\n"
    );
    assert_eq!(out, golden);
}

#[test]
fn data_of_several_lines_is_cut_into_several_lines() {
    let (_, _, out) = watch(false, "data: {\"choices\":[],\ndata: \"a\":1,\ndata: \"usage\":null}\n\n");

    assert_eq!(out, "data: {\"choices\":[],\ndata: \"a\":1}\n\n");
}

#[test]
fn every_choice_is_counted_once_and_the_count_is_bounded() {
    let finish = |index: u64| {
        format!("data: {{\"choices\":[{{\"index\":{index},\"delta\":{{}},\"finish_reason\":\"length\"}}]}}\n\n")
    };
    let stream: String = [0, 1, 1, 0].into_iter().chain(1_000..2_000).map(finish).collect();

    let (watch, ..) = watch(false, &stream);

    assert_eq!(watch.finish_reasons()[..2], [(0, FinishReason::Length), (1, FinishReason::Length)]);
    assert_eq!(watch.finish_reasons().len(), MAX_CHOICES);
}

#[rstest::rstest]
#[case::object(r#"{"error":{"message":"no","type":"t"}}"#)]
#[case::text(r#"{"error":"no"}"#)]
#[case::beside_choices(
    r#"{"id":"x","error":{"code":502,"message":"no"},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}"#
)]
#[case::inside_the_choice(r#"{"id":"x","choices":[{"delta":{},"finish_reason":"error","error":{"message":"no"}}]}"#)]
#[case::gemini(r#"[{"error":{"code":429,"message":"no"}}]"#)]
#[case::detail(r#"{"detail":"no"}"#)]
fn an_upstream_error_is_told_and_not_forwarded(#[case] data: &str) {
    let (watch, kinds, out) = watch(false, &format!("data: {data}\n\ndata: [DONE]\n\n"));

    assert!(matches!(&kinds[0], Kind::Error(error) if error.message == "no"), "{kinds:?}");
    assert_eq!((out.as_str(), watch.end(STRICT)), ("", Ending::Truncated(Truncation::UpstreamError)));
}

#[test]
fn an_error_event_need_not_be_json() {
    let (_, kinds, _) = watch(false, "event: error\ndata: overloaded\n\n");

    assert!(matches!(&kinds[0], Kind::Error(error) if error.message == "overloaded"));
}

#[test]
fn a_null_error_is_no_error() {
    assert_eq!(kind_of(r#"{"error":null,"choices":[{"delta":{"content":"a"}}]}"#), FIRST);
}

#[rstest::rstest]
#[case("{\"choices\":[{\"delta\":{\"content\":\"a")]
#[case("7")]
#[case("\"ok\"")]
#[case("[]")]
#[case("nonsense")]
fn what_is_no_chunk_breaks_the_stream(#[case] data: &str) {
    let stream = format!("{}data: {data}\n\n{}", delta("{\"content\":\"a\"}"), delta("{\"content\":\"b\"}"));

    let (watch, kinds, out) = watch(false, &stream);

    assert_eq!(kinds, [FIRST, Kind::InvalidJson, Kind::Lifecycle]);
    assert_eq!(out, delta("{\"content\":\"a\"}"));
    assert_eq!(watch.end(STRICT), Ending::Truncated(Truncation::InvalidJson));
}

#[test]
fn invalid_utf8_breaks_the_stream() {
    let raw = Bytes::from_static(b"data: {\"choices\":[],\"a\":\"\xFF\"}\n\n");
    let event = SseEvent { data: raw.slice(6..raw.len() - 2), raw, event: None, is_comment: false };

    assert_eq!(StreamWatch::new(false).step(&event).kind, Kind::InvalidJson);
}

#[rstest::rstest]
#[case::finish_and_done(&["content", "finish", "done"], STRICT, Ending::Complete { missing_done: false })]
#[case::finish_without_done(&["content", "finish"], STRICT, Ending::Complete { missing_done: true })]
#[case::finish_without_content(&["role", "finish"], STRICT, Ending::Complete { missing_done: true })]
#[case::empty_reason(&["content", "blank finish"], STRICT, Ending::Truncated(Truncation::NoFinish))]
#[case::no_finish(&["content"], STRICT, Ending::Truncated(Truncation::NoFinish))]
#[case::done_is_no_finish(&["content", "done"], STRICT, Ending::Truncated(Truncation::DoneWithoutFinish))]
#[case::nothing(&[], STRICT, Ending::Empty)]
#[case::only_done(&["done"], STRICT, Ending::Empty)]
#[case::only_role(&["role", "done"], LAX, Ending::Empty)]
#[case::excused(&["content", "done"], NO_FINISH, Ending::Complete { missing_done: false })]
#[case::not_excused(&["content"], NO_FINISH, Ending::Truncated(Truncation::NoFinish))]
#[case::excused_from_both(&["content"], LAX, Ending::Complete { missing_done: true })]
#[case::after_done(&["done", "content", "finish"], STRICT, Ending::Empty)]
fn the_ending_follows_from_what_came(#[case] came: &[&str], #[case] rules: EndRules, #[case] expected: Ending) {
    let piece = |name: &&str| match *name {
        "content" => delta("{\"content\":\"a\"}"),
        "role" => delta("{\"role\":\"assistant\"}"),
        "finish" => "data: {\"choices\":[{\"delta\":null,\"finish_reason\":\"stop\"}]}\n\n".to_owned(),
        "blank finish" => "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"\"}]}\n\n".to_owned(),
        _ => DONE_FRAME.to_owned(),
    };
    let stream: String = came.iter().map(piece).collect();

    assert_eq!(watch(false, &stream).0.end(rules), expected);
}

const NO_FINISH: EndRules = EndRules { finish_reason_optional: true, done_optional: false };
const LAX: EndRules = EndRules { finish_reason_optional: true, done_optional: true };

fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from)
    ];
    let key = prop_oneof![
        Just("choices"),
        Just("delta"),
        Just("usage"),
        Just("error"),
        Just("finish_reason"),
        Just("tool_calls"),
        Just("index"),
        Just("content"),
        Just("prompt_tokens")
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|members| members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Value>()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_json_is_judged_and_what_is_forwarded_is_the_chunk_without_usage(chunk in json()) {
        let (watch, _, out) = watch(false, &format!("data: {chunk}\n\n"));

        let _ = watch.end(STRICT);
        if let Some(data) = out.strip_prefix("data: ").and_then(|out| out.strip_suffix("\n\n")) {
            let mut expected = chunk;
            expected.as_object_mut().map(|members| members.remove("usage"));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(data).unwrap(), expected);
        }
    }

    #[test]
    fn a_chunk_known_by_its_surroundings_means_what_it_means_when_parsed(chunks in prop::collection::vec(some_chunk(), 1..24)) {
        let stream: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
        let (mut knowing, mut parsing) = (StreamWatch::new(false), StreamWatch::new(false));
        for event in events(&stream) {
            parsing.stencil = None;

            prop_assert_eq!(knowing.step(&event), parsing.step(&event));
            prop_assert_eq!((knowing.chars_out(), knowing.usage()), (parsing.chars_out(), parsing.usage()));
        }
    }
}

fn some_chunk() -> impl Strategy<Value = String> {
    let text = "[a-zé\u{2028}\"\\\\ ]{0,6}".prop_map(|text| serde_json::to_string(&text).unwrap());
    let delta = prop_oneof![
        4 => text.clone().prop_map(|text| format!("{{\"content\":{text}}}")),
        1 => text.clone().prop_map(|text| format!("{{\"content\": {text}}}")),
        1 => text.clone().prop_map(|text| format!("{{\"reasoning_content\":{text}}}")),
        1 => (text.clone(), text).prop_map(|(a, b)| format!("{{\"content\":{a},\"reasoning\":{b}}}")),
        1 => Just("{\"role\":\"assistant\",\"content\":\"\"}".to_owned()),
        1 => Just("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\"}}]}".to_owned()),
    ];
    let end = prop_oneof![6 => Just("null"), 1 => Just("\"stop\"")];
    let usage = prop_oneof![4 => Just(""), 4 => Just(",\"usage\":null"), 1 => Just(",\"usage\":{\"prompt_tokens\":1}")];
    (delta, end, usage).prop_map(|(delta, end, usage)| {
        format!("{{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{end}}}]{usage}}}")
    })
}
