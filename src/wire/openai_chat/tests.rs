use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const AS_IT_IS: RewriteOptions =
    RewriteOptions { ask_usage: false, drop_stream_options: false, rename_max_tokens: false, cache_key: None };

fn parse(body: &str) -> Result<ChatRequest, BadRequest> {
    ChatRequest::parse(Bytes::copy_from_slice(body.as_bytes()))
}

/// A valid body with further members.
fn with(members: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{members}}}"#)
}

fn rewritten(members: &str, options: RewriteOptions) -> String {
    String::from_utf8(parse(&with(members)).unwrap().rewrite("m", options).to_vec()).unwrap()
}

#[test]
fn what_routing_needs_is_read() {
    let request = parse(
        r#"{"model":"team/m","stream":true,"stream_options":{"include_usage":true},"n":2,"user":"u7","max_tokens":9,
            "messages":[{"role":"system","content":"Grüezi"},
                        {"role":"user","content":[{"type":"text","text":"abc"},{"type":"image_url","image_url":{"url":"data:AAAA"}}]}],
            "tools":[{"type":"function","function":{"name":"f"}}]}"#,
    )
    .unwrap();

    assert_eq!((request.model.as_str(), request.stream, request.include_usage), ("team/m", true, true));
    assert_eq!((request.n, request.user.as_deref(), request.max_output_tokens), (2, Some("u7"), Some(9)));
    let tool = r#"{"type":"function","function":{"name":"f"}}"#;
    assert_eq!((request.has_tools, request.prompt_chars), (true, 9 + tool.len() as u64));
}

#[rstest::rstest]
#[case::text(r#"[{"type":"text","text":"image_url"}]"#, [false, false, false])]
#[case::image(r#"[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:"}}]"#, [true, false, false])]
#[case::sound(r#"[{"type":"input_audio","input_audio":{}}]"#, [false, true, false])]
#[case::file(r#"[{"file":{},"type":"file"}]"#, [false, false, true])]
fn what_a_content_holds_beside_text_is_seen(#[case] content: &str, #[case] expected: [bool; 3]) {
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"x"}},{{"role":"user","content":{content}}}]}}"#
    );

    let media = parse(&body).unwrap().media;

    assert_eq!([media.images, media.audio, media.files], expected);
}

#[test]
fn a_member_is_found_by_its_name_and_null_is_none() {
    let request = parse(&with(r#","metadata":{"a":1},"session\u005fid":"s","user":null"#)).unwrap();

    assert_eq!(request.member("metadata"), Some(r#"{"a":1}"#));
    assert_eq!(
        (request.member("session_id"), request.member("user"), request.member("n")),
        (Some("\"s\""), None, None)
    );
}

#[test]
fn a_conversation_opens_the_same_however_long_it_grows() {
    let opening = |more: &str| {
        let mut seen = String::new();
        let body = format!(
            r#"{{"messages":[{{"role":"system","content":"be"}},{{"content":[{{"type":"text","text":"hi"}}],"role":"user"}}{more}],"model":"m"}}"#
        );
        parse(&body).unwrap().opening(|part| seen.push_str(part));
        seen
    };

    assert_eq!(opening(""), r#""be"[{"type":"text","text":"hi"}]"#);
    assert_eq!(opening(r#",{"role":"assistant","content":"yes"},{"role":"user","content":"go"}"#), opening(""));
}

#[rstest::rstest]
#[case("", r#","stream":false,"prompt_cache_key":"00000000000000ff""#)]
#[case(r#","stream":false,"prompt_cache_key":"mine""#, r#","stream":false,"prompt_cache_key":"mine""#)]
fn a_session_is_named_for_the_cache_unless_the_client_names_one(#[case] members: &str, #[case] expected: &str) {
    let options = RewriteOptions { cache_key: Some(255), ..AS_IT_IS };

    assert_eq!(rewritten(members, options), with(expected));
}

#[rstest::rstest]
#[case::array("[]", None, "invalid_json")]
#[case::nothing("", None, "invalid_json")]
#[case::cut(r#"{"model":"m""#, None, "invalid_json")]
#[case::two(r#"{"model":"m"} {}"#, None, "invalid_json")]
#[case::text("\"model\"", None, "invalid_json")]
#[case::no_model(r#"{"messages":[]}"#, Some("model"), "missing_required_parameter")]
#[case::null_model(r#"{"model":null}"#, Some("model"), "missing_required_parameter")]
#[case::blank_model(r#"{"model":" "}"#, Some("model"), "missing_required_parameter")]
#[case::number_model(r#"{"model":7}"#, Some("model"), "invalid_type")]
#[case::control_model(r#"{"model":"a\u0000"}"#, Some("model"), "invalid_value")]
#[case::two_models(r#"{"model":"a","model":"b"}"#, Some("model"), "invalid_value")]
#[case::hidden_second_model(r#"{"model":"a","mod\u0065l":"b"}"#, Some("model"), "invalid_value")]
#[case::two_streams(r#"{"stream":true,"model":"a","stream":false}"#, Some("stream"), "invalid_value")]
#[case::two_messages(r#"{"messages":[],"model":"a","messages":[]}"#, Some("messages"), "invalid_value")]
#[case::no_messages(r#"{"model":"m"}"#, Some("messages"), "missing_required_parameter")]
#[case::object_messages(r#"{"model":"m","messages":{}}"#, Some("messages"), "invalid_type")]
#[case::empty_messages(r#"{"model":"m","messages":[]}"#, Some("messages"), "invalid_value")]
#[case::text_message(r#"{"model":"m","messages":["hi"]}"#, Some("messages[0]"), "invalid_type")]
#[case::no_role(
    r#"{"model":"m","messages":[{"role":"user"},{"content":"x"}]}"#,
    Some("messages[1].role"),
    "missing_required_parameter"
)]
#[case::odd_role(r#"{"model":"m","messages":[{"role":"User"}]}"#, Some("messages[0].role"), "invalid_value")]
fn a_broken_body_is_refused_by_name(#[case] body: &str, #[case] param: Option<&str>, #[case] code: &str) {
    let error = parse(body).unwrap_err();

    assert_eq!((error.param.as_deref(), error.code), (param, code), "{error}");
}

#[rstest::rstest]
#[case(r#""stream":"true""#, "stream", "invalid_type")]
#[case(r#""stream":1"#, "stream", "invalid_type")]
#[case(r#""stream_options":true"#, "stream_options", "invalid_type")]
#[case(r#""stream_options":{"include_usage":1}"#, "stream_options.include_usage", "invalid_type")]
#[case(r#""max_tokens":0"#, "max_tokens", "invalid_value")]
#[case(r#""max_tokens":-1"#, "max_tokens", "invalid_value")]
#[case(r#""max_tokens":1.5"#, "max_tokens", "invalid_value")]
#[case(r#""max_tokens":"9""#, "max_tokens", "invalid_type")]
#[case(r#""max_completion_tokens":1e99"#, "max_completion_tokens", "invalid_value")]
#[case(r#""n":0"#, "n", "invalid_value")]
#[case(r#""n":129"#, "n", "invalid_value")]
#[case(r#""n":4294967297"#, "n", "invalid_value")]
#[case(r#""temperature":2.1"#, "temperature", "invalid_value")]
#[case(r#""temperature":-0.1"#, "temperature", "invalid_value")]
#[case(r#""temperature":1e999"#, "temperature", "invalid_value")]
#[case(r#""temperature":"hot""#, "temperature", "invalid_type")]
#[case(r#""top_p":1.01"#, "top_p", "invalid_value")]
#[case(r#""tools":[]"#, "tools", "invalid_value")]
#[case(r#""tools":{}"#, "tools", "invalid_type")]
#[case(r#""tools":[{},7]"#, "tools[1]", "invalid_type")]
#[case(r#""stop":7"#, "stop", "invalid_type")]
#[case(r#""stop":["a",7]"#, "stop", "invalid_type")]
#[case(r#""stop":["","","","","","","","","","","","","","","","",""]"#, "stop", "invalid_value")]
fn a_bad_parameter_is_refused_by_name(#[case] member: &str, #[case] param: &str, #[case] code: &str) {
    let error = parse(&with(&format!(",{member}"))).unwrap_err();

    assert_eq!((error.param.as_deref(), error.code), (Some(param), code), "{error}");
}

#[rstest::rstest]
#[case(
    r#","stream":null,"stream_options":null,"max_tokens":null,"n":null,"temperature":null,"tools":null,"stop":null"#
)]
#[case(r#","temperature":0,"top_p":1.0,"n":128,"max_tokens":1,"stop":"x","user":null"#)]
#[case(r#","temperature":2,"top_p":0,"stop":["a","b","c","d","e"],"user":7,"unknown":{"a":[1e400]}"#)]
fn the_edges_of_the_rules_are_allowed(#[case] members: &str) {
    assert!(parse(&with(members)).is_ok(), "{:?}", parse(&with(members)));
}

#[test]
fn a_missing_model_is_told_as_clients_know_it() {
    let body = parse("{}").unwrap_err().body().to_json();

    let expected = json!({"error": {"message": "Missing model", "type": "invalid_request_error", "param": "model",
        "code": "missing_required_parameter"}});
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
}

#[test]
fn a_model_of_512_characters_passes_and_one_more_does_not() {
    let body = |length| with("").replace("\"m\"", &format!("\"{}\"", "ü".repeat(length)));

    assert!(parse(&body(512)).is_ok());
    assert_eq!(parse(&body(513)).unwrap_err().code, "invalid_value");
}

#[test]
fn deep_nesting_is_refused_but_brackets_in_text_are_not_nesting() {
    let deep = with(&format!(",\"x\":{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    let text = with(&format!(",\"x\":\"\\\"{}\"", "[".repeat(1_000)));

    assert_eq!(parse(&deep).unwrap_err().code, "invalid_json");
    assert!(parse(&text).is_ok());
}

#[test]
fn invalid_utf8_is_refused() {
    let body = Bytes::from_static(b"{\"model\":\"\xFF\"}");

    assert_eq!(ChatRequest::parse(body).unwrap_err().code, "invalid_json");
}

#[rstest::rstest]
#[case::absent("", false, false)]
#[case::null(r#","stream":null"#, false, false)]
#[case::yes(r#","stream":true"#, true, true)]
#[case::no(r#","stream":false"#, false, true)]
#[case::streaming(r#","streaming":true"#, true, true)]
#[case::streaming_false(r#","streaming":false"#, false, false)]
#[case::null_and_synonym(r#","stream":null,"streaming":true"#, true, true)]
#[case::stream_wins(r#","stream":true,"non_stream":true"#, true, true)]
#[case::non_stream(r#","non_stream":true"#, false, true)]
#[case::disable(r#","disable_stream":true"#, false, true)]
#[case::disable_wins(r#","disable_streaming":true,"streaming":true"#, false, true)]
fn whether_to_stream_follows_the_body(#[case] members: &str, #[case] stream: bool, #[case] given: bool) {
    let mut request = parse(&with(members)).unwrap();
    assert_eq!((request.stream, request.stream_given), (stream, given));

    request.default_stream(true);

    assert_eq!(request.stream, stream || !given);
}

#[test]
fn a_body_that_needs_no_change_is_not_copied() {
    let request = parse(&with(r#","stream":true"#)).unwrap();

    assert_eq!(request.rewrite("m", AS_IT_IS).as_ptr(), request.body().as_ptr());
}

#[test]
fn only_the_changed_members_differ() {
    let body = "{ \"temperature\" : 1.00, \"streaming\":true ,\n \"model\" :\"team/m\", \"messages\": [ {\"role\":\"user\"} ] }\n";

    let out = parse(body).unwrap().rewrite("a\"b", RewriteOptions { ask_usage: true, ..AS_IT_IS });

    let expected = concat!(
        "{ \"temperature\" : 1.00 ,\n \"model\" :\"a\\\"b\", \"messages\": [ {\"role\":\"user\"} ],",
        "\"stream\":true,\"stream_options\":{\"include_usage\":true} }\n"
    );
    assert_eq!(out, expected);
}

#[rstest::rstest]
#[case::explicit("", r#","stream":false"#)]
#[case::null(r#","stream":null"#, r#","stream":false"#)]
#[case::synonyms(r#","non_stream":true,"disable_stream":1,"a":1,"disable_streaming":true"#, r#","a":1,"stream":false"#)]
#[case::options_without_stream(r#","stream":false,"stream_options":{"include_usage":true}"#, r#","stream":false"#)]
#[case::escaped_key(r#","str\u0065aming":true,"stream":true"#, r#","stream":true"#)]
fn the_stream_member_is_explicit_and_its_synonyms_are_gone(#[case] members: &str, #[case] expected: &str) {
    assert_eq!(rewritten(members, AS_IT_IS), with(expected));
}

#[rstest::rstest]
#[case::absent("", r#","stream_options":{"include_usage":true}"#)]
#[case::null(r#","stream_options":null"#, r#","stream_options":{"include_usage":true}"#)]
#[case::empty(r#","stream_options":{}"#, r#","stream_options":{"include_usage":true}"#)]
#[case::no(r#","stream_options":{"include_usage":false}"#, r#","stream_options":{"include_usage":true}"#)]
#[case::yes(r#","stream_options":{"include_usage" : true}"#, r#","stream_options":{"include_usage" : true}"#)]
#[case::others_stay(
    r#","stream_options":{"include_obfuscation":false}"#,
    r#","stream_options":{"include_obfuscation":false,"include_usage":true}"#
)]
fn usage_is_asked_for_in_a_stream(#[case] members: &str, #[case] expected: &str) {
    let options = RewriteOptions { ask_usage: true, ..AS_IT_IS };
    let stream = r#","stream":true"#;

    assert_eq!(rewritten(&format!("{stream}{members}"), options), with(&format!("{stream}{expected}")));
    assert_eq!(rewritten(r#","stream":false"#, options), with(r#","stream":false"#));
}

#[test]
fn an_upstream_without_stream_options_gets_none() {
    let options = RewriteOptions { ask_usage: true, drop_stream_options: true, ..AS_IT_IS };

    let out = rewritten(r#","stream":true,"stream_options":{"include_usage":true},"a":1"#, options);

    assert_eq!(out, with(r#","stream":true,"a":1"#));
}

#[rstest::rstest]
#[case(r#","max_tokens" : 9"#, r#","max_completion_tokens" : 9"#)]
#[case(r#","max_tokens":9,"max_completion_tokens":7"#, r#","max_completion_tokens":7"#)]
#[case(r#","max_tokens":null"#, "")]
#[case(r#","max_completion_tokens":null,"max_tokens":9"#, r#","max_completion_tokens":9"#)]
fn the_old_token_cap_is_renamed_on_demand(#[case] members: &str, #[case] expected: &str) {
    let stream = r#","stream":false"#;
    let options = RewriteOptions { rename_max_tokens: true, ..AS_IT_IS };

    assert_eq!(rewritten(&format!("{stream}{members}"), options), with(&format!("{stream}{expected}")));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(Value::from("},{\"\\")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("\\PC{0,5}", inner), 0..4).prop_map(Value::from_iter),
        ]
    })
}

/// Request bodies with known members in any order among unknown ones.
fn request() -> impl Strategy<Value = Map<String, Value>> {
    let stream = prop::option::of(prop_oneof![Just(json!(true)), Just(json!(false)), Just(Value::Null)]);
    let options = prop::option::of(prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        any::<bool>().prop_map(|on| json!({"x": 1, "include_usage": on}))
    ]);
    let synonyms = prop::collection::vec(
        (prop::sample::select(vec!["streaming", "non_stream", "disable_stream", "disable_streaming"]), value()),
        0..3,
    );
    let rest = prop::collection::vec(("\\PC{0,6}", value()), 0..6);
    let caps = prop::option::of(1..9_u64);
    ("[a-z/\"\\\\é]{1,8}", stream, options, synonyms, rest, caps).prop_map(
        |(model, stream, options, synonyms, rest, cap)| {
            let mut body: Map<String, Value> =
                rest.into_iter().filter(|(k, _)| !matches!(k.as_str(), "n" | "stop")).collect();
            body.extend(synonyms.into_iter().map(|(k, v)| (k.to_owned(), v)));
            body.extend([("model".to_owned(), json!(model)), ("messages".to_owned(), json!([{"role": "user"}]))]);
            body.extend(stream.map(|v| ("stream".to_owned(), v)));
            body.extend(options.map(|v| ("stream_options".to_owned(), v)));
            body.extend(cap.map(|v| ("max_tokens".to_owned(), json!(v))));
            body
        },
    )
}

/// The intended changes, made on the tree.
fn expected(mut body: Map<String, Value>, stream: bool, options: RewriteOptions) -> Value {
    body.insert("model".into(), json!("up"));
    body.insert("stream".into(), json!(stream));
    for synonym in ["streaming", "non_stream", "disable_stream", "disable_streaming"] {
        body.remove(synonym);
    }
    if !stream || options.drop_stream_options {
        body.remove("stream_options");
    } else if options.ask_usage {
        let asked = body.entry("stream_options").or_insert(Value::Null);
        if asked.is_null() {
            *asked = json!({});
        }
        asked["include_usage"] = json!(true);
    }
    if options.rename_max_tokens
        && let Some(cap) = body.remove("max_tokens")
    {
        body.insert("max_completion_tokens".into(), cap);
    }
    Value::Object(body)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_rewritten_body_differs_only_as_intended(
        body in request(), pretty in any::<bool>(),
        ask_usage in any::<bool>(), drop_stream_options in any::<bool>(), rename_max_tokens in any::<bool>(),
    ) {
        let options = RewriteOptions { ask_usage, drop_stream_options, rename_max_tokens, cache_key: None };
        let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
        let request = parse(&text).unwrap();

        let out = request.rewrite("up", options);

        let got: Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(got, expected(body, request.stream, options));
        let again = ChatRequest::parse(out).unwrap();
        prop_assert_eq!((again.model.as_str(), again.stream), ("up", request.stream));
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), json in "[{}\\[\\]\",:a-m0-9\\\\ ]{0,60}") {
        let _ = ChatRequest::parse(Bytes::from(bytes));
        let _ = parse(&json);
    }
}
