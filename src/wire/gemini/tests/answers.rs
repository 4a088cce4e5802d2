//! Reading providers' whole answers.

use serde_json::json;

use crate::chat::{BadAnswer, Citation, Part, PartKind, Stop};
use crate::gemini::decode_answer;

fn answer(value: &serde_json::Value) -> crate::chat::Answer {
    decode_answer(value.to_string().as_bytes()).unwrap()
}

#[rstest::rstest]
#[case("STOP", Stop::Done)]
#[case("MAX_TOKENS", Stop::Length)]
#[case("SAFETY", Stop::Filtered)]
#[case("RECITATION", Stop::Filtered)]
#[case("SPII", Stop::Filtered)]
#[case("IMAGE_SAFETY", Stop::Filtered)]
#[case("MALFORMED_FUNCTION_CALL", Stop::MalformedCall)]
#[case("UNEXPECTED_TOOL_CALL", Stop::MalformedCall)]
#[case("LANGUAGE", Stop::Other("LANGUAGE".into()))]
#[case("BRAND_NEW", Stop::Other("BRAND_NEW".into()))]
fn a_reason_is_read_even_without_content(#[case] reason: &str, #[case] stop: Stop) {
    let answer = answer(&json!({"candidates": [{"finishReason": reason}]}));

    assert_eq!((answer.choices[0].parts.len(), &answer.choices[0].stop), (0, &stop));
}

#[rstest::rstest]
#[case(json!({"promptTokenCount": 1000, "cachedContentTokenCount": 600, "candidatesTokenCount": 30, "thoughtsTokenCount": 20, "totalTokenCount": 1050}), [400, 600, 30, 20, 0, 0])]
#[case(json!({"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 1}), [15, 0, 1, 0, 0, 0])]
#[case(json!({"promptTokenCount": 10, "thoughtsTokenCount": 4, "totalTokenCount": 20}), [10, 0, 6, 4, 0, 0])]
#[case(json!({"promptTokenCount": 10, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 3}, {"modality": "IMAGE", "tokenCount": 2}, {"modality": "TEXT", "tokenCount": 5}]}), [5, 0, 0, 0, 3, 2])]
#[case(json!({"promptTokenCount": "12", "candidatesTokenCount": -3.5}), [12, 0, 0, 0, 0, 0])]
fn counts_fall_into_disjoint_buckets(#[case] counts: serde_json::Value, #[case] expected: [u64; 6]) {
    let usage = answer(&json!({"candidates": [{"finishReason": "STOP"}], "usageMetadata": counts})).usage.unwrap();

    let got = [
        usage.input_fresh,
        usage.cache_read,
        usage.output_text,
        usage.output_reasoning,
        usage.audio_in,
        usage.image_in,
    ];
    assert_eq!(got, expected);
}

#[test]
fn a_broken_detail_does_not_cost_the_answer() {
    let answer = answer(
        &json!({"candidates": [null, {"content": {"parts": [7, {"text": null}, {"text": "a", "thought": "no"}]}, "index": null,
        "finishReason": 7, "groundingMetadata": "x"}], "usageMetadata": [], "modelVersion": 7}),
    );

    assert_eq!(answer.choices[0].parts, [Part::text("a")]);
    assert_eq!(answer.choices[0].stop, Stop::Done);
}

#[rstest::rstest]
#[case(b"".as_slice())]
#[case(b"<html>")]
#[case(b"{\"candidates\":")]
fn what_is_no_json_is_said_to_be_none(#[case] body: &[u8]) {
    assert_eq!(decode_answer(body), Err(BadAnswer::NotJson));
}

#[rstest::rstest]
#[case("{}")]
#[case("7")]
#[case(r#"{"candidates":[]}"#)]
fn an_answer_without_a_candidate_is_none(#[case] body: &str) {
    assert!(matches!(decode_answer(body.as_bytes()), Err(BadAnswer::Broken(_))));
}

#[test]
fn an_error_is_not_taken_for_an_answer() {
    let bad = decode_answer(br#"{"error":{"code":429,"message":"slow","status":"RESOURCE_EXHAUSTED"}}"#);

    assert!(matches!(bad, Err(BadAnswer::Error(error)) if error.message == "slow"));
}

#[test]
fn sources_count_in_characters_and_belong_to_the_text() {
    let metadata = json!({
        "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}, {"web": {"uri": "https://b"}}],
        "groundingSupports": [{"segment": {"startIndex": 3, "endIndex": 6, "text": "abc"}, "groundingChunkIndices": [0, 9]}],
    });
    let answer =
        answer(&json!({"candidates": [{"content": {"parts": [{"text": "é abc"}]}, "groundingMetadata": metadata}]}));

    let PartKind::Text { citations, .. } = &answer.choices[0].parts[0].kind else { panic!() };
    let first =
        Citation { url: Some("https://a".into()), title: Some("A".into()), span: Some((2, 5)), ..Citation::default() };
    let second = Citation { url: Some("https://b".into()), ..Citation::default() };
    assert_eq!(citations, &[first, second]);
}

#[test]
fn images_unknown_pieces_and_probabilities_are_kept() {
    let answer = answer(&json!({"candidates": [{
        "content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA"}}, {"codeExecutionResult": {"outcome": "OK"}}]},
        "groundingMetadata": {"webSearchQueries": ["q"]},
        "logprobsResult": {"chosenCandidates": [{"token": "é", "logProbability": -0.5}],
            "topCandidates": [{"candidates": [{"token": "e", "logProbability": -1.5}]}]},
    }]}));

    let choice = &answer.choices[0];
    assert!(matches!(&choice.parts[0].kind, PartKind::Image(_)));
    assert_eq!(choice.parts[1].kind, PartKind::Native(json!({"codeExecutionResult": {"outcome": "OK"}})));
    assert_eq!(choice.parts[2].kind, PartKind::Native(json!({"groundingMetadata": {"webSearchQueries": ["q"]}})));
    let top = json!([{"token": "e", "logprob": -1.5, "bytes": [101]}]);
    let expected = json!({"content": [{"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": top}]});
    assert_eq!(choice.logprobs, Some(expected));
}

#[test]
fn ids_are_the_same_again_and_differ_between_answers() {
    let body = |id: &str| {
        let call = json!({"functionCall": {"name": "f", "args": {}}});
        json!({"responseId": id, "candidates": [{"content": {"parts": [call.clone(), call]}, "finishReason": "STOP"}]})
    };
    let ids = |id: &str| -> Vec<String> {
        let answer = answer(&body(id));
        let id = |part: &Part| match &part.kind {
            PartKind::ToolCall(call) => call.id.clone(),
            _ => panic!(),
        };
        answer.choices[0].parts.iter().map(id).collect()
    };

    let (first, again, other) = (ids("a"), ids("a"), ids("b"));

    assert_eq!(first, again);
    assert_ne!(first[0], first[1]);
    assert!(!first.contains(&other[0]));
}
