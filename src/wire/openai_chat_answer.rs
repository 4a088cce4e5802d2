//! Is a whole (non-streamed) chat answer an answer?
//!
//! Providers send status 200 with nothing, with a login page, with an error object or with a message that holds nothing. Each of
//! these must become the next attempt, not the client's answer.

use bytes::Bytes;

use super::{lenient::Any, openai_chat_stream::Chunk, openai_error::UpstreamErrorBody, usage::Usage};

/// What a good answer tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerFacts {
    /// The reported usage.
    pub usage: Option<Usage>,
    /// Characters of text, reasoning and tool arguments, for an estimate.
    pub chars_out: u64,
}

/// Why a body with a good status is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// No body, or choices that hold neither content nor a finish reason.
    #[error("the provider sent an empty answer")]
    Empty,
    /// Not JSON.
    #[error("the provider sent something that is not JSON")]
    NotJson {
        /// It looks like a web page: a login page or a proxy's error.
        html: bool,
    },
    /// An error in spite of the status.
    #[error("the provider sent an error with a good status: {}", .0.message)]
    ErrorObject(UpstreamErrorBody),
    /// JSON without choices.
    #[error("the provider sent an answer without choices")]
    NoChoices,
    /// A choice without its message.
    #[error("the provider sent a choice without a message")]
    ChoiceWithoutMessage,
}

/// Checks the body of a 2xx answer.
pub fn check_answer(body: &Bytes) -> Result<AnswerFacts, BadAnswer> {
    if body.trim_ascii().is_empty() {
        return Err(BadAnswer::Empty);
    }
    let not_json = BadAnswer::NotJson { html: body.trim_ascii_start().starts_with(b"<") };
    let Ok(text) = std::str::from_utf8(body) else { return Err(not_json) };
    let Ok(Any(answer)) = serde_json::from_str::<Any<Chunk<'_>>>(text) else { return Err(not_json) };
    if let Some(error) = error_of(&answer, text) {
        return Err(BadAnswer::ErrorObject(error));
    }
    if answer.choices.list.is_empty() {
        return Err(BadAnswer::NoChoices);
    }
    if answer.choices.list.iter().any(|choice| !choice.has_message) {
        return Err(BadAnswer::ChoiceWithoutMessage);
    }
    if !answer.choices.list.iter().any(|choice| choice.body.content || choice.finish.is_some()) {
        return Err(BadAnswer::Empty);
    }
    Ok(facts(&answer))
}

fn error_of(answer: &Chunk<'_>, text: &str) -> Option<UpstreamErrorBody> {
    if answer.object {
        return answer.error_body(text);
    }
    UpstreamErrorBody::from_json(&serde_json::from_str(text).ok()?)
}

fn facts(answer: &Chunk<'_>) -> AnswerFacts {
    let choices = &answer.choices.list;
    let chars = |sum: u64, body: u64| sum.saturating_add(body);
    AnswerFacts {
        usage: answer.usage.and_then(Usage::from_openai),
        chars_out: choices.iter().map(|choice| chars(choice.body.chars, choice.body.reasoning_chars)).fold(0, chars),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str) -> Result<AnswerFacts, BadAnswer> {
        check_answer(&Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn the_facts_of_an_answer_are_told() {
        let facts = check(
            r#"{"id":"c7","object":"chat.completion","created":1,"model":"m","choices":[
                {"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Grüezi","reasoning":"hm"}},
                {"index":1,"finish_reason":"length","message":{"role":"assistant","content":"Ho"}}],
                "usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
        )
        .unwrap();

        assert_eq!((facts.chars_out, facts.usage.unwrap().input_fresh), (10, 3));
    }

    #[rstest::rstest]
    #[case::one_token(
        r#"{"choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"length"}]}"#
    )]
    #[case::tool_call_only(
        r#"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"a","function":{"name":"f","arguments":""}}]},"finish_reason":null}]}"#
    )]
    #[case::refusal(r#"{"choices":[{"message":{"content":null,"refusal":"no"}}]}"#)]
    #[case::audio(r#"{"choices":[{"message":{"content":null,"audio":{"id":"a","data":""}}}]}"#)]
    #[case::parts(r#"{"choices":[{"message":{"content":[{"type":"text","text":"hi"}]}}]}"#)]
    #[case::null_error(r#"{"error":null,"choices":[{"message":{"content":"hi"}}]}"#)]
    fn unusual_but_real_answers_pass(#[case] body: &str) {
        assert!(check(body).is_ok(), "{:?}", check(body));
    }

    #[rstest::rstest]
    #[case::nothing("", BadAnswer::Empty)]
    #[case::white(" \n ", BadAnswer::Empty)]
    #[case::html("\n<!DOCTYPE html><title>Log in</title>", BadAnswer::NotJson { html: true })]
    #[case::text("upstream connect error", BadAnswer::NotJson { html: false })]
    #[case::cut(r#"{"choices":[{"message":{"content":"hi"#, BadAnswer::NotJson { html: false })]
    #[case::no_choices(r#"{"id":"x","choices":[]}"#, BadAnswer::NoChoices)]
    #[case::null_choices(r#"{"id":"x","choices":null}"#, BadAnswer::NoChoices)]
    #[case::no_object("7", BadAnswer::NoChoices)]
    #[case::no_message(r#"{"choices":[{"index":0,"finish_reason":"stop"}]}"#, BadAnswer::ChoiceWithoutMessage)]
    #[case::null_message(r#"{"choices":[{"message":null}]}"#, BadAnswer::ChoiceWithoutMessage)]
    #[case::empty_message(
        r#"{"choices":[{"message":{"role":"assistant","content":"","tool_calls":[]}}]}"#,
        BadAnswer::Empty
    )]
    #[case::empty_reason(r#"{"choices":[{"message":{"content":null},"finish_reason":""}]}"#, BadAnswer::Empty)]
    fn what_is_no_answer_is_named(#[case] body: &str, #[case] expected: BadAnswer) {
        assert_eq!(check(body), Err(expected));
    }

    #[test]
    fn invalid_utf8_is_not_json() {
        assert_eq!(check_answer(&Bytes::from_static(b"{\"a\":\"\xFF\"}")), Err(BadAnswer::NotJson { html: false }));
    }

    #[rstest::rstest]
    #[case(r#"{"error":{"message":"no","code":429}}"#)]
    #[case(r#"{"error":"no"}"#)]
    #[case(r#"[{"error":{"message":"no"}}]"#)]
    #[case(r#"{"detail":"no"}"#)]
    #[case(r#"{"message":"no","code":7}"#)]
    #[case(r#"{"id":"x","choices":[{"message":{"content":""},"finish_reason":"error","error":{"message":"no"}}]}"#)]
    fn an_error_with_a_good_status_is_an_error(#[case] body: &str) {
        assert!(
            matches!(check(body), Err(BadAnswer::ErrorObject(error)) if error.message == "no"),
            "{:?}",
            check(body)
        );
    }
}
