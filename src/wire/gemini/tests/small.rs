//! Paths, errors and lists of models.

use std::time::Duration;

use serde_json::json;

use super::json;
use crate::gemini::{Action, error_body, error_body_with_retry, model_body, models_page, parse_path};
use crate::model_facts::ModelFacts;
use crate::openai_error::ErrorBody;
use crate::retry_hint::RetryHint;

#[rstest::rstest]
#[case("models/gemini-2.5-pro:generateContent", "gemini-2.5-pro", Action::GenerateContent)]
#[case("/models/openai/gpt-5:streamGenerateContent", "openai/gpt-5", Action::StreamGenerateContent)]
#[case("openai%2Fgpt-5:countTokens", "openai/gpt-5", Action::CountTokens)]
#[case("models/llama3:8b%3AgenerateContent", "llama3:8b", Action::GenerateContent)]
#[case("tunedModels/mine:generateContent", "tunedModels/mine", Action::GenerateContent)]
#[case("models/e:embedContent", "e", Action::EmbedContent)]
#[case("models/e:batchEmbedContents", "e", Action::BatchEmbedContents)]
#[case("projects/p/locations/l/publishers/google/models/g:generateContent", "g", Action::GenerateContent)]
#[case("models/100%:generateContent", "100%", Action::GenerateContent)]
fn a_path_names_model_and_action(#[case] tail: &str, #[case] model: &str, #[case] action: Action) {
    assert_eq!(parse_path(tail), Some((model.to_owned(), action)));
}

#[rstest::rstest]
#[case("models/gemini-2.5-pro")]
#[case("models/:generateContent")]
#[case("models/x:predict")]
#[case("models/x%FF:generateContent")]
#[case("")]
fn other_paths_are_not_gemini(#[case] tail: &str) {
    assert_eq!(parse_path(tail), None);
}

#[test]
fn an_error_names_status_field_and_time_to_wait() {
    let error = ErrorBody {
        message: "slow down".into(),
        kind: "rate_limit_error".into(),
        param: Some("contents".into()),
        code: Some("rate_limit.key".into()),
    };

    let body = error_body_with_retry(&error, 429, Some("req-1"), Some(Duration::from_millis(7_500)));

    let details = json!([
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "RATE_LIMIT_KEY"},
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "contents", "description": "slow down"}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.500s"},
        {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "req-1"},
    ]);
    let expected =
        json!({"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED", "details": details}});
    assert_eq!(json(&body), expected);
    let hint = RetryHint::find(|_| None, &body, 0).unwrap();
    assert_eq!(hint.after, Duration::from_millis(7_500));
}

#[rstest::rstest]
#[case(400, "INVALID_ARGUMENT")]
#[case(401, "UNAUTHENTICATED")]
#[case(403, "PERMISSION_DENIED")]
#[case(404, "NOT_FOUND")]
#[case(413, "INVALID_ARGUMENT")]
#[case(422, "FAILED_PRECONDITION")]
#[case(500, "INTERNAL")]
#[case(502, "UNAVAILABLE")]
#[case(503, "UNAVAILABLE")]
#[case(504, "DEADLINE_EXCEEDED")]
fn every_status_has_a_name(#[case] status: u16, #[case] name: &str) {
    let error = ErrorBody { message: "m".into(), kind: "x".into(), param: None, code: None };

    assert_eq!(
        json(&error_body(&error, status, None)),
        json!({"error": {"code": status, "message": "m", "status": name}})
    );
}

#[test]
fn pages_lead_through_all_models() {
    let models: Vec<ModelFacts> = (0..5).map(|n| ModelFacts { id: format!("m{n}"), ..ModelFacts::default() }).collect();
    let (mut names, mut token) = (Vec::new(), None::<String>);

    loop {
        let page = json(&models_page(&models, Some(2), token.as_deref()).unwrap());
        names.extend(page["models"].as_array().unwrap().iter().map(|model| model["name"].clone()));
        match page.get("nextPageToken") {
            Some(next) => token = next.as_str().map(str::to_owned),
            None => break,
        }
    }

    assert_eq!(names, ["models/m0", "models/m1", "models/m2", "models/m3", "models/m4"]);
    assert_eq!(models_page(&models, None, Some("99")).unwrap_err().param.as_deref(), Some("pageToken"));
}

#[test]
fn a_model_says_what_it_can() {
    let facts = ModelFacts { id: "m".into(), input_limit: Some(8), thinking: true, ..ModelFacts::default() };

    let methods = ["generateContent", "streamGenerateContent", "countTokens"];
    let expected = json!({"name": "models/m", "version": "001", "displayName": "m", "inputTokenLimit": 8,
        "supportedGenerationMethods": methods, "thinking": true});
    assert_eq!(json(&model_body(&facts)), expected);
}
