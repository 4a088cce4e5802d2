use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::chat::{EncodeTarget, Encoded, Format, Media, Source, Tool, ToolKind, Traits};

type Encode = fn(&Request, &EncodeTarget<'_>) -> Result<Encoded, Refused>;
type Decode = fn(&[u8]) -> Result<Answer, BadAnswer>;

fn target() -> EncodeTarget<'static> {
    EncodeTarget { model: "org/m", stream: true, traits: Traits::default() }
}

fn talk() -> Request {
    let mut request = Request::new(Format::OpenAiChat, "m");
    request.messages = vec![
        Message::text(Role::System, "be brief"),
        Message::text(Role::User, "one"),
        Message::text(Role::Assistant, "uno"),
        Message::text(Role::User, "two & two"),
    ];
    request
}

fn body(encode: Encode, request: &Request) -> String {
    String::from_utf8(encode(request, &target()).unwrap().body.to_vec()).unwrap()
}

#[test]
fn nlpcloud_gets_the_last_words_and_the_exchanges_before_them() {
    let body: Value = serde_json::from_str(&body(nlpcloud::encode_request, &talk())).unwrap();

    let history = json!([{"input": "one", "response": "uno"}]);
    assert_eq!(body, json!({"input": "two & two", "context": "be brief", "history": history}));
}

#[test]
fn gitlab_gets_a_file_whose_next_lines_are_the_answer() {
    let body: Value = serde_json::from_str(&body(gitlab::encode_request, &talk())).unwrap();

    let above = "be brief\n\nUser: one\n\nAssistant: uno\n\nUser: two & two\n\nAssistant:";
    assert_eq!((&body["current_file"]["content_above_cursor"], &body["stream"]), (&json!(above), &json!(false)));
    assert_eq!(body["intent"], "generation");
}

#[test]
fn petals_gets_a_form() {
    let mut request = talk();
    request.sampling.temperature = Some(0.5);
    request.sampling.max_tokens = Some(7);

    let body = body(petals::encode_request, &request);

    assert!(body.starts_with("model=org%2Fm&inputs=be+brief%0A%0AHuman%3A+one"), "{body}");
    assert!(body.ends_with("two+%26+two%0A%0AAssistant%3A&max_new_tokens=7&do_sample=1&temperature=0.5"), "{body}");
}

#[rstest]
#[case(nlpcloud::decode_answer, json!({"response": "hi", "history": []}))]
#[case(gitlab::decode_answer, json!({"id": "id", "model": {"name": "m"}, "choices": [{"text": "\nhi", "finish_reason": "stop"}]}))]
#[case(petals::decode_answer, json!({"ok": true, "outputs": " hi\n\nHuman: and?"}))]
fn an_answer_is_a_text_and_its_stream_is_one_piece(#[case] decode: Decode, #[case] body: Value) {
    let body = body.to_string();
    let (mut decoder, mut events) = (Decoder::new(decode), Vec::new());

    let answer = decode(body.as_bytes()).unwrap();
    let over = decoder.frame(None, body.as_bytes(), &mut events).unwrap();

    assert_eq!(answer.choices[0].parts, [Part::text("hi")]);
    assert!(over && events == answer.events() && decoder.end(&mut events).is_ok());
}

#[rstest]
#[case(nlpcloud::decode_answer, json!({"detail": "no such model"}), "no such model")]
#[case(gitlab::decode_answer, json!({"error": "insufficient_scope", "error_description": "api"}), "insufficient_scope")]
#[case(gitlab::decode_answer, json!({"message": "401 Unauthorized"}), "401 Unauthorized")]
#[case(petals::decode_answer, json!({"ok": false, "traceback": "Traceback:\n  x\nRuntimeError: no peers"}), "RuntimeError: no peers")]
fn an_error_is_read(#[case] decode: Decode, #[case] body: Value, #[case] message: &str) {
    let BadAnswer::Error(error) = decode(body.to_string().as_bytes()).unwrap_err() else { panic!("no error") };

    assert_eq!(error.message, message);
}

#[rstest]
#[case(nlpcloud::decode_answer)]
#[case(gitlab::decode_answer)]
#[case(petals::decode_answer)]
fn an_answer_without_words_is_none(#[case] decode: Decode) {
    for body in ["", "<html>", "{}", r#"{"ok":true,"outputs":" "}"#, r#"{"choices":[]}"#, r#"{"response":""}"#] {
        assert!(decode(body.as_bytes()).is_err(), "{body}");
    }
    assert_eq!(Decoder::new(decode).end(&mut Vec::new()), Err(Truncated));
}

#[test]
fn what_a_text_cannot_carry_is_refused_or_named() {
    let tool = ToolKind::Function { name: "f".into(), namespace: None, description: None, schema: None, strict: None };
    let image = Part::new(PartKind::Image(Media { source: Source::FileId("f".into()), detail: None, name: None }));
    let changed = |change: &dyn Fn(&mut Request)| {
        let mut request = talk();
        change(&mut request);
        nlpcloud::encode_request(&request, &target())
    };

    let tools = changed(&|request| request.tools.push(Tool { kind: tool.clone(), cache: None }));
    let shown = changed(&|request| request.messages[3].parts.push(image.clone()));
    let shape = changed(&|request| request.output = OutputFormat::JsonObject);
    let silent = changed(&|request| request.messages.truncate(3));
    let earlier = changed(&|request| {
        request.messages[1].parts.push(image.clone());
        request.sampling.seed = Some(1);
    });

    let field = |result: Result<Encoded, Refused>| result.unwrap_err().field;
    assert_eq!(
        [field(tools), field(shown), field(shape), field(silent)],
        ["tools", "messages[3].image", "response_format", "messages"]
    );
    let dropped: Vec<String> = earlier.unwrap().dropped.into_iter().map(|dropped| dropped.field).collect();
    assert_eq!(dropped, ["seed", "messages[1].image"]);
}
