//! Errors of MiniMax: they stand beside an answer that is empty, under status 200, with codes of its own.
//!
//! The codes are those of MiniMax's list of error codes (platform.minimax.io, API reference). Each is told here by the status
//! that means the same elsewhere; its own number stays in the message.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::openai_error::UpstreamErrorBody;

/// Code, the status that means the same, and the word for it where the status says too little.
const TABLE: &[(i64, u16, Option<&str>)] = &[
    (1001, 504, None),
    (1002, 429, Some("rate_limit_error")),
    (1004, 401, Some("authentication_error")),
    (1008, 402, Some("insufficient_balance")),
    (1026, 400, Some("invalid_request_error")),
    (1027, 400, Some("invalid_request_error")),
    (1028, 429, None),
    (1030, 429, None),
    (1039, 429, Some("rate_limit_error")),
    (1041, 429, Some("rate_limit_error")),
    (1042, 400, Some("invalid_request_error")),
    (2013, 400, Some("invalid_request_error")),
    (2049, 401, Some("authentication_error")),
    (2056, 429, None),
    (2061, 404, Some("model_not_supported")),
];
/// Used up for some hours; told in words that every reader of limits knows.
const WINDOWS: [i64; 3] = [1028, 1030, 2056];

/// The error in a `base_resp`, if it is one.
pub fn error_of(base_resp: &Value) -> Option<UpstreamErrorBody> {
    let code = base_resp.get("status_code")?;
    let code = code.as_i64().or_else(|| code.as_str()?.parse().ok()).filter(|code| *code != 0)?;
    let (_, status, kind) = TABLE.iter().find(|row| row.0 == code).copied().unwrap_or((code, 500, None));
    let words = base_resp.get("status_msg").and_then(Value::as_str).unwrap_or("no reason given");
    let window = if WINDOWS.contains(&code) { "usage limit: " } else { "" };
    Some(UpstreamErrorBody {
        message: UpstreamErrorBody::parse(format!("{window}{words} ({code})").as_bytes()).message,
        kind: kind.map(str::to_owned),
        code: Some(status.to_string()),
        param: None,
    })
}

/// The same, of a member that was not parsed yet.
pub(crate) fn error_in(base_resp: Option<&RawValue>) -> Option<UpstreamErrorBody> {
    error_of(&serde_json::from_str(base_resp?.get()).ok()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[rstest::rstest]
    #[case(1002, "429", Some("rate_limit_error"), "slow (1002)")]
    #[case(1008, "402", Some("insufficient_balance"), "slow (1008)")]
    #[case(2049, "401", Some("authentication_error"), "slow (2049)")]
    #[case(2056, "429", None, "usage limit: slow (2056)")]
    #[case(1033, "500", None, "slow (1033)")]
    fn a_code_is_told_by_the_status_that_means_the_same(
        #[case] code: i64,
        #[case] status: &str,
        #[case] kind: Option<&str>,
        #[case] message: &str,
    ) {
        let error = error_of(&json!({"status_code": code, "status_msg": "slow"})).unwrap();

        assert_eq!(
            (error.code.as_deref(), error.kind.as_deref(), error.message.as_str()),
            (Some(status), kind, message)
        );
    }

    #[test]
    fn a_code_of_zero_is_no_error() {
        assert_eq!(error_of(&json!({"status_code": 0, "status_msg": "success"})), None);
        assert_eq!(error_of(&json!({})), None);
    }
}
