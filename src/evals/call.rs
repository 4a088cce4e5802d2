//! One question to a model in the name of the run's owner, and what it cost.

use std::time::Duration;

use actix_web::http::StatusCode;
use bytes::Bytes;
use omniroute_actors::usage::record::UsageRecord;
use serde_json::Value;

use super::run::Asker;
use crate::gateway::errand::Told;

/// Times that a question is asked once more because there was no room for it.
const MORE_TIMES: u32 = 3;
/// The longest wait for room.
const LONGEST_WAIT: Duration = Duration::from_secs(65);
/// Characters of an answer that are kept.
const KEPT_CHARS: usize = 2_000;

/// What a question used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Used {
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    pub(super) cost_nano_usd: u64,
    /// None of its prices was unknown.
    pub(super) priced: bool,
    pub(super) latency_ms: u64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// The whole text, or why there is none.
    pub(super) text: Result<String, String>,
    pub(super) used: Used,
    /// Who answered, as `provider/model`.
    pub(super) by: Option<String>,
    pub(super) request_id: Option<String>,
}

impl Said {
    /// No answer, and why.
    pub(super) fn nothing(why: impl Into<String>) -> Self {
        Self { text: Err(why.into()), used: Used::default(), by: None, request_id: None }
    }
}

/// Ask, with patience where the answer is that there is no room now.
pub(super) async fn ask(asker: &Asker, question: &Value) -> Said {
    let body = Bytes::from(question.to_string());
    let mut more = MORE_TIMES;
    loop {
        let errand = match asker.errand() {
            Ok(errand) => errand,
            Err(why) => return Said::nothing(why),
        };
        errand.wait_for_ease().await;
        let within = asker.within();
        let Ok(told) = tokio::time::timeout(within, errand.chat(body.clone())).await else {
            return Said::nothing(format!("no answer within {} s", within.as_secs()));
        };
        match wait(&told).filter(|_| more > 0) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return said(&told),
        }
        more -= 1;
    }
}

/// How long to wait before the question is asked again, if that makes sense.
fn wait(told: &Told) -> Option<Duration> {
    let full = matches!(told.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    told.retry_after.filter(|wait| full && *wait <= LONGEST_WAIT)
}

fn said(told: &Told) -> Said {
    let answer: Value = serde_json::from_slice(&told.body).unwrap_or_default();
    let booked = told.booked.as_deref();
    Said {
        text: if told.status.is_success() { text(&answer) } else { Err(refused(told.status, &answer)) },
        used: booked.map(used).unwrap_or_default(),
        by: booked.and_then(|booked| Some(format!("{}/{}", booked.provider.as_ref()?, booked.model.as_ref()?))),
        request_id: booked.map(|booked| booked.request_id.clone()),
    }
}

fn text(answer: &Value) -> Result<String, String> {
    let text = answer.pointer("/choices/0/message/content").and_then(Value::as_str).filter(|text| !text.is_empty());
    text.map(ToOwned::to_owned).ok_or_else(|| "the answer holds no text".to_owned())
}

fn refused(status: StatusCode, answer: &Value) -> String {
    let said = |pointer| answer.pointer(pointer).and_then(Value::as_str);
    let code = said("/error/code").or_else(|| said("/error/type")).unwrap_or("error");
    let message = said("/error/message").unwrap_or_default();
    kept(&format!("{} {code}: {message}", status.as_u16()))
}

/// As much of a text as is kept.
pub(super) fn kept(text: &str) -> String {
    text.chars().take(KEPT_CHARS).collect()
}

/// Every attempt counts: the ones that failed may be charged, too.
fn used(booked: &UsageRecord) -> Used {
    let tried = || booked.attempts.iter().filter(|attempt| attempt.tokens.is_some());
    Used {
        prompt_tokens: booked.tokens.prompt,
        completion_tokens: booked.tokens.completion,
        cost_nano_usd: tried().filter_map(|attempt| attempt.cost_nano_usd).fold(0, u64::saturating_add),
        priced: tried().all(|attempt| attempt.cost_nano_usd.is_some()),
        latency_ms: booked.total_ms,
    }
}
