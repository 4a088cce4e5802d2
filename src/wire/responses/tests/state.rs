use serde_json::{Value, json};

use super::{decoded, reply};
use crate::chat::*;
use crate::responses::stored::{self, Page, StoredResponse, with_history, with_references};
use crate::responses::{compact_answer, compact_request, decode_request, input_tokens_body};
use crate::usage::Usage;

fn exchange(id: &str, previous: Option<&str>, input: Value) -> StoredResponse {
    let request = json!({"model": "m", "input": input, "previous_response_id": previous});
    let said = json!([{"id": format!("msg_{id}"), "type": "message", "role": "assistant", "status": "completed",
                       "content": [{"type": "output_text", "text": format!("said {id}"), "annotations": []}]}]);
    StoredResponse::of_exchange(&request, json!({"id": id, "object": "response", "model": "m", "output": said}))
        .unwrap()
}

fn texts(request: &Request) -> Vec<(Role, &str)> {
    request.messages.iter().map(|message| (message.role, message.parts[0].as_text().unwrap())).collect()
}

#[test]
fn a_chain_of_answers_is_the_conversation_before_the_new_input() {
    let chain = [
        exchange("resp_1", None, json!("one")),
        exchange("resp_2", Some("resp_1"), json!([{"role": "user", "content": "two"}])),
    ];
    let next = json!({"model": "m", "instructions": "new", "previous_response_id": "resp_2", "input": "three"});
    assert_eq!((stored::previous_id(&next), chain[1].previous_id.as_deref()), (Some("resp_2"), Some("resp_1")));

    let whole = with_history(next, &chain);

    let request = decoded(&whole);
    assert_eq!(
        texts(&request),
        [
            (Role::System, "new"),
            (Role::User, "one"),
            (Role::Assistant, "said resp_1"),
            (Role::User, "two"),
            (Role::Assistant, "said resp_2"),
            (Role::User, "three")
        ]
    );
    assert!(whole.get("previous_response_id").is_none());
}

#[test]
fn a_reference_is_the_item_that_it_names() {
    let chain = [exchange("resp_1", None, json!("one"))];
    let refer = |id: &str| json!({"model": "m", "input": [{"type": "item_reference", "id": id}, {"role": "user", "content": "go"}]});

    let in_chain = with_history(refer("msg_resp_1"), &chain);
    let alone = with_references(refer("msg_resp_1"), |id| chain[0].item(id).cloned());
    let unknown = stored::item_not_found(0, "msg_9");

    assert_eq!(in_chain["input"].as_array().unwrap().len(), 3, "not said twice");
    assert_eq!(texts(&decoded(&alone))[0], (Role::Assistant, "said resp_1"));
    assert_eq!((unknown.code, unknown.param.as_deref()), ("item_not_found", Some("input[0].id")));
    assert_eq!(stored::references(&refer("rs_1")), [(0, "rs_1")]);
    assert_eq!(chain[0].item_ids().len(), 2);
    assert_eq!(stored::previous_not_found("resp_0").code, "previous_response_not_found");
}

#[test]
fn a_remembered_answer_is_given_again_as_it_was() {
    let stored = exchange("resp_1", None, json!("one"));

    let body: Value = serde_json::from_slice(&stored.body()).unwrap();
    let again: StoredResponse = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();

    assert_eq!((&body["id"], &body["output"][0]["id"]), (&json!("resp_1"), &json!("msg_resp_1")));
    assert_eq!(again, stored);
    assert_eq!(StoredResponse::of_exchange(&json!({}), json!({"output": []})), None);
    assert_eq!(stored::deleted_body("a"), r#"{"id":"a","object":"response","deleted":true}"#);
}

#[test]
fn input_items_come_in_pages() {
    let stored = exchange("resp_1", None, json!(["a", "b", "c"].map(|text| json!({"role": "user", "content": text}))));
    let page = |after: Option<&str>, ascending| {
        let page = Page { after: after.map(Into::into), limit: Some(2), ascending };
        serde_json::from_slice::<Value>(&stored.input_items(&page)).unwrap()
    };

    let first = page(None, true);
    let second = page(first["last_id"].as_str(), true);
    let newest = page(None, false);

    assert_eq!((&first["has_more"], first["data"].as_array().unwrap().len()), (&json!(true), 2));
    assert_eq!((&second["has_more"], &second["data"][0]["content"][0]["text"]), (&json!(false), &json!("c")));
    assert_eq!((&newest["object"], &newest["first_id"]), (&json!("list"), &json!("in_1_2")));
    assert_eq!(newest["data"][0]["status"], "completed");
}

#[test]
fn a_conversation_is_made_short_and_goes_on_from_its_summary() {
    let long = decoded(
        &json!({"model": "m", "stream": true, "store": false, "input": "do it", "tools": [{"type": "function", "name": "f"}]}),
    );
    let ask = compact_request(&long);
    let choice = Choice { index: 0, parts: vec![Part::text("It is done.")], stop: Stop::Done, logprobs: None };
    let answer = Answer { choices: vec![choice], usage: Some(Usage::default()), ..Answer::default() };

    let body: Value = serde_json::from_slice(&compact_answer(&answer, &reply(long)).unwrap()).unwrap();
    let next = decoded(&json!({"model": "m", "input": [body["output"][0], {"role": "user", "content": "next"}]}));

    assert_eq!((ask.stream, ask.messages.len(), ask.tool_choice), (false, 2, Some(ToolChoice::None)));
    assert!(ask.rest.is_empty());
    assert_eq!((&body["object"], &body["usage"]["total_tokens"]), (&json!("response.compaction"), &json!(0)));
    let (role, text) = texts(&next)[0];
    assert!(role == Role::Developer && text.ends_with("It is done."), "{text}");
    assert_eq!(compact_answer(&Answer::default(), &reply(next)), None);
}

#[test]
fn a_compaction_of_the_provider_stays_its_own() {
    let theirs = json!({"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"});

    let request = decode_request(json!({"model": "m", "input": [theirs]}).to_string().as_bytes()).unwrap();

    assert_eq!(request.messages[0].parts[0].kind, PartKind::Native(theirs));
}

#[test]
fn counted_input_has_its_own_object() {
    assert_eq!(input_tokens_body(7), r#"{"object":"response.input_tokens","input_tokens":7}"#);
}
