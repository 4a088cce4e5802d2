//! From "nobody answered" to the error the client reads: which limit, until when, what to do.

use std::time::Duration;

use omniroute_actors::connection::refusal::Refusal;
use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::router::itinerary::{Excluded, Itinerary};
use omniroute_actors::router::resolve::Unresolved;
use omniroute_actors::router::{NoRoute, Skip, SkipReason, Skips};

use super::dispatch::Failed;
use super::fault::{Fault, STANDSTILL};
use crate::error::{ApiError, Problem};
use crate::wire::openai_error::ErrorBody;

/// The error and how the request is booked.
pub fn refusal(failed: Failed, model: &str) -> (ApiError, Outcome) {
    match failed {
        Failed::NoRoute(none) => no_route(none, model),
        Failed::Attempts { fault, skipped, retry_after } => {
            let outcome = fault.outcome;
            (exhausted(fault, &skipped, retry_after, model), outcome)
        }
    }
}

fn no_route(none: NoRoute, model: &str) -> (ApiError, Outcome) {
    match none {
        NoRoute::Unresolved(problem) => (unresolved(&problem, model), Outcome::ClientFault),
        NoRoute::Crashed => {
            (ApiError::new(Problem::Internal, "The router failed on this request."), Outcome::GatewayFault)
        }
        // Only what stands in for a single model is asked this way.
        NoRoute::Ensemble { .. } => {
            let message = format!("'{model}' runs its steps itself and cannot be a part of another combo.");
            (ApiError::new(Problem::BadRequest, message).at("model").retry(false), Outcome::ClientFault)
        }
        NoRoute::NothingFits { itinerary } => nothing_fits(&itinerary, model),
        NoRoute::Exhausted { skipped, retry_after, .. } => {
            (nobody_free(&skipped, retry_after, model), Outcome::Abandoned)
        }
    }
}

fn unresolved(problem: &Unresolved, model: &str) -> ApiError {
    let kind = match problem {
        Unresolved::Malformed => Problem::BadRequest,
        Unresolved::Ambiguous(_) => Problem::AmbiguousModel,
        Unresolved::NoConnection(_) => Problem::NoConnection,
        Unresolved::Unknown => Problem::ModelNotFound,
    };
    let shown: String = model.chars().filter(|c| !c.is_control()).take(100).collect();
    ApiError::new(kind, format!("Model '{shown}': {problem}. GET /v1/models lists what there is."))
        .at("model")
        .retry(false)
}

/// No candidate can serve this request: each is named with its reason. What a policy forbids is not the request's
/// fault; where anything else was the reason for one of them, another request would be served.
fn nothing_fits(itinerary: &Itinerary, model: &str) -> (ApiError, Outcome) {
    const MOST: usize = 10;
    let excluded = &itinerary.excluded;
    let named = |out: &Excluded| format!("{}/{} {}", out.target.provider(), out.target.model, out.why);
    let shown: Vec<_> = excluded.iter().take(MOST).map(named).collect();
    let more = excluded.len().saturating_sub(MOST);
    let rest = if more == 0 { String::new() } else { format!("; and {more} more") };
    let message = format!("No candidate for '{model}' can serve this request: {}{rest}.", shown.join("; "));
    let (problem, outcome) = if excluded.iter().any(|out| out.why.is_about_the_request()) {
        (Problem::BadRequest, Outcome::ClientFault)
    } else if excluded.iter().any(|out| out.why.is_policy()) {
        (Problem::Forbidden, Outcome::ClientFault)
    } else {
        (Problem::NoUsableConnection, Outcome::Abandoned)
    };
    (ApiError::new(problem, message).retry(false), outcome)
}

/// Nothing was tried: the client learns what keeps each candidate.
fn nobody_free(skipped: &Skips, retry_after: Option<Duration>, model: &str) -> ApiError {
    let is = |wanted: fn(Refusal) -> bool| {
        skipped.reasons().any(|reason| matches!(reason, SkipReason::Refused(refusal) if wanted(refusal)))
    };
    if !skipped.is_empty() && skipped.reasons().all(|reason| reason == SkipReason::NotAllowed) {
        let message = format!("This key, or the connection it asks for, cannot serve '{model}'.");
        return ApiError::new(Problem::Forbidden, message).retry(false);
    }
    let problem = if is(|refusal| matches!(refusal, Refusal::CoolingDown(_) | Refusal::ModelLocked)) {
        Problem::CoolingDown
    } else if is(|refusal| matches!(refusal, Refusal::Open | Refusal::Probing)) {
        Problem::CircuitOpen
    } else if is(|refusal| matches!(refusal, Refusal::QueueFull | Refusal::WaitTooLong | Refusal::Queued)) {
        Problem::QueueFull
    } else if is(|refusal| refusal == Refusal::LocalRateLimit) {
        Problem::LocalRateLimit
    } else if is(Refusal::is_local) {
        Problem::Saturated
    } else {
        Problem::NoUsableConnection
    };
    let when = match retry_after {
        Some(wait) => format!(" The first one is expected back in {} s.", wait.as_secs().max(1)),
        None => " An operator must act: see /api/resilience.".to_owned(),
    };
    let message = format!("No connection can serve '{model}' now: {}.{when}", reasons(skipped));
    let local = matches!(problem, Problem::Saturated | Problem::QueueFull | Problem::LocalRateLimit);
    let wait = retry_after.or_else(|| local.then_some(Duration::from_secs(1)));
    let error = ApiError::new(problem, message).after(wait);
    // Our own bounds pass: whoever comes back then is served.
    if local || wait.is_none() { error.retry(local) } else { error }
}

fn reasons(skipped: &Skips) -> String {
    const MOST: usize = 5;
    if skipped.is_empty() {
        return "it has no candidates".into();
    }
    let named = |skip: &Skip| {
        let name = skip.connection.as_ref().map(|connection| connection.config().name.clone());
        format!("{} is {}", name.unwrap_or_default(), skip.reason.as_str().replace('_', " "))
    };
    // What the caller may not use is none of its business.
    let own: Vec<_> = skipped.named().iter().filter(|skip| skip.reason != SkipReason::NotAllowed).collect();
    let shown: Vec<_> = own.iter().take(MOST).map(|skip| named(skip)).collect();
    let unnamed: u32 = skipped.rest().iter().map(|(_, count)| *count).sum();
    let more = own.len().saturating_sub(MOST) + unnamed as usize;
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{rest}", shown.join(", "))
}

/// Something was tried and failed. Every fallback is used up, so a client that retried at once would only
/// multiply the attempts: it is told not to, unless a time to come back is known.
fn exhausted(fault: Fault, skipped: &Skips, retry_after: Option<Duration>, model: &str) -> ApiError {
    let wait = fault.retry_after.or(retry_after);
    match fault.outcome {
        Outcome::ClientFault | Outcome::ContextTooLong if fault.from_upstream => relayed(fault),
        Outcome::Untranslatable => relayed(fault),
        Outcome::ClientFault if fault.status == 400 => relayed(fault),
        Outcome::ModelFault if fault.from_upstream => {
            let fault = Fault { status: if fault.status == 400 { 400 } else { 404 }, ..fault };
            relayed(fault)
        }
        Outcome::RateLimited | Outcome::QuotaExhausted => {
            let message = format!("Every connection for '{model}' is rate limited: {}", fault.error.message);
            let mut error =
                ApiError::new(Problem::KeyRateLimited, message).after(wait.or(Some(Duration::from_secs(1))));
            error.body.code = word(fault.error.code).map(Into::into).or(error.body.code);
            error
        }
        Outcome::FirstContentTimeout | Outcome::IdleTimeout | Outcome::DeadlineExceeded => {
            let message = format!("No provider answered '{model}' in time: {}", fault.error.message);
            ApiError::new(Problem::UpstreamTimeout, message).retry(false)
        }
        Outcome::GatewayFault if fault.error.code.as_deref() == Some(STANDSTILL) => {
            ApiError::new(Problem::Overloaded, "The gateway was held up and cannot tell whether a provider was late.")
                .after(Some(Duration::from_secs(1)))
        }
        Outcome::GatewayFault => ApiError::new(Problem::Internal, fault.error.message).retry(false),
        _ => {
            let also = if skipped.is_empty() { String::new() } else { format!(" ({})", reasons(skipped)) };
            let said = if fault.from_upstream { "the last provider said" } else { "the last attempt failed" };
            let message = format!("Every connection for '{model}' failed{also}; {said}: {}", fault.error.message);
            let overloaded = fault.outcome == Outcome::Overloaded;
            let problem = if overloaded { Problem::UpstreamOverloaded } else { Problem::UpstreamFailed };
            let mut error = ApiError::new(problem, message).retry(false);
            if !fault.from_upstream && fault.error.code.is_some() {
                error.body.code = fault.error.code.map(Into::into);
            }
            error
        }
    }
}

/// The upstream's verdict on the request, in its own words and with its own status. Names of errors that only another
/// format knows (`INVALID_ARGUMENT`, 400) become the usual ones.
fn relayed(fault: Fault) -> ApiError {
    let kind = fault.error.kind.filter(|kind| kind.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    let usual = (fault.outcome == Outcome::ModelFault).then_some("model_not_found");
    let body = ErrorBody {
        message: fault.error.message,
        kind: kind.map_or("invalid_request_error".into(), Into::into),
        param: fault.error.param,
        code: word(fault.error.code).map(Into::into).or(usual.map(Into::into)),
    };
    let status = if (400..500).contains(&fault.status) { fault.status } else { 400 };
    ApiError::relayed(status, body)
}

/// A code that is a name; some formats repeat the status there.
fn word(code: Option<String>) -> Option<String> {
    code.filter(|code| code.parse::<u16>().is_err() && !code.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}
