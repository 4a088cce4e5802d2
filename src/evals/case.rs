//! One case: asked, answered, scored.

use serde_json::{Value, json};

use super::call::{self, Said, Used, kept};
use super::judge;
use super::run::{Asker, Target};
use super::score::{Verdict, compare};
use super::suite::{Case, Strategy};
use crate::routes::put;

/// What became of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Passed,
    Failed,
    /// Nothing can be said about the model: no answer, or nobody who could judge it.
    Error,
}

/// A case with its result.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) fate: Fate,
    /// Of answer and judgement together.
    pub(super) used: Used,
    pub(super) shown: Value,
}

/// Ask the target and score what it says.
pub(super) async fn run(asker: &Asker, target: &Target, case: &Case) -> Outcome {
    let Some(model) = target.model_of(case) else {
        let why = "neither the case nor the run names a model";
        return outcome(case, &Said::nothing(why), Err(why.to_owned()));
    };
    let said = call::ask(asker, &question(model, case)).await;
    let answer = match &said.text {
        Ok(answer) => answer,
        Err(why) => return outcome(case, &said, Err(why.clone())),
    };
    match compare(&case.expected, answer) {
        Ok(Some(verdict)) => outcome(case, &said, Ok(verdict)),
        Err(why) => outcome(case, &said, Err(why)),
        Ok(None) => judged(asker, case, &said, answer).await,
    }
}

async fn judged(asker: &Asker, case: &Case, said: &Said, answer: &str) -> Outcome {
    let Some(judge) = case.expected.judge_model.as_deref() else {
        return outcome(case, said, Err("the case names no judge".to_owned()));
    };
    let word = call::ask(asker, &judge::question(judge, case, answer)).await;
    let verdict = match &word.text {
        Ok(reply) => judge::verdict(reply).ok_or_else(|| "the judge did not answer in the form".to_owned()),
        Err(why) => Err(format!("the judge did not answer: {why}")),
    };
    let mut outcome = outcome(case, said, verdict);
    outcome.used.add_to_bill(word.used);
    put(&mut outcome.shown, "judge", json!({"model": judge, "by": word.by, "requestId": word.request_id}));
    put(&mut outcome.shown, "costNanoUsd", outcome.used.shown_cost());
    outcome
}

fn question(model: &str, case: &Case) -> Value {
    let mut question = json!({"model": model, "messages": case.input.messages});
    if let Some(most) = case.input.max_tokens {
        put(&mut question, "max_tokens", most);
    }
    if let Some(temperature) = case.input.temperature {
        put(&mut question, "temperature", temperature);
    }
    question
}

fn outcome(case: &Case, said: &Said, verdict: Result<Verdict, String>) -> Outcome {
    let fate = match &verdict {
        Ok(verdict) if verdict.passed => Fate::Passed,
        Ok(_) => Fate::Failed,
        Err(_) => Fate::Error,
    };
    let shown = json!({
        "caseId": case.id,
        "caseName": case.name,
        "status": fate.as_str(),
        "passed": fate == Fate::Passed,
        "output": said.text.as_ref().ok().map(|text| kept(text)),
        "error": verdict.as_ref().err(),
        "details": {
            "strategy": case.expected.strategy.as_str(),
            "reason": verdict.as_ref().ok().map(|verdict| &verdict.reason),
        },
        "durationMs": said.used.latency_ms,
        "answeredBy": said.by,
        "requestId": said.request_id,
        "promptTokens": said.used.prompt_tokens,
        "completionTokens": said.used.completion_tokens,
        "costNanoUsd": said.used.shown_cost(),
    });
    Outcome { fate, used: said.used, shown }
}

/// A case whose answer the caller brings along.
pub(super) fn of_output(case: &Case, output: Option<&str>) -> Outcome {
    let text = output.map(ToOwned::to_owned).ok_or_else(String::new);
    let said = Said { text, ..Said::nothing("") };
    let verdict = match output {
        None => Err("no output was given for this case".to_owned()),
        Some(_) if case.expected.strategy == Strategy::Judge => {
            Err("an output that is given is not judged: nobody is asked".to_owned())
        }
        Some(output) => compare(&case.expected, output).and_then(|verdict| verdict.ok_or_else(String::new)),
    };
    outcome(case, &said, verdict)
}

impl Fate {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Error => "error",
        }
    }
}

impl Used {
    /// The time of a judge says nothing about the model that is judged; its tokens and its price are part of the bill.
    fn add_to_bill(&mut self, judge: Self) {
        self.prompt_tokens += judge.prompt_tokens;
        self.completion_tokens += judge.completion_tokens;
        self.cost_nano_usd = self.cost_nano_usd.saturating_add(judge.cost_nano_usd);
        self.priced &= judge.priced;
    }

    /// Null where a price is not known.
    fn shown_cost(self) -> Value {
        if self.priced { json!(self.cost_nano_usd) } else { Value::Null }
    }
}
