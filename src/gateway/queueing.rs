//! Waiting for a turn: nobody could be leased, and of somebody it is only our own limits that are in the way.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use omniroute_actors::connection::lease::Permit;
use omniroute_actors::connection::refusal::{Refusal, Refused};
use omniroute_actors::connection::traffic::Ask;
use omniroute_actors::router::{Lease, NoRoute, Skip, SkipReason};
use tokio::time::{Instant, timeout_at};

use super::attempt::Means;
use super::inbound::Inbound;

/// Queues that one request asks before it gives up.
const MOST_QUEUES: usize = 3;

/// A lease that was waited for.
pub struct Turned {
    /// The lease.
    pub lease: Lease,
    /// How long it took.
    pub waited: Duration,
}

/// Wait at the candidate with the least expected wait, then at the next, within the deadline of the request.
///
/// # Errors
/// Nobody may be waited for; the refusals say what the queues said.
pub async fn wait_for_turn(mut none: NoRoute, means: &Means<'_>, inbound: &Inbound) -> Result<Turned, NoRoute> {
    let began = Instant::now();
    for place in best_queues(&none, means, inbound) {
        let NoRoute::Exhausted { skipped, .. } = &mut none else { break };
        let Some(skip) = skipped.named().get(place) else { continue };
        match queue_at(skip, means, inbound).await {
            Ok(permit) => {
                return Lease::after_wait(permit, none).map(|lease| Turned { lease, waited: began.elapsed() });
            }
            Err(refused) => {
                let reason = reason(skip, refused);
                skipped.revise(place, reason, refused.retry_at);
            }
        }
    }
    if let NoRoute::Exhausted { skipped, retry_after, .. } = &mut none {
        *retry_after = skipped.earliest().map(|at| at.until(means.clock.now()));
    }
    Err(none)
}

/// Places among the refusals, the least expected wait first.
fn best_queues(none: &NoRoute, means: &Means<'_>, inbound: &Inbound) -> Vec<usize> {
    let NoRoute::Exhausted { skipped, .. } = none else { return Vec::new() };
    let (now, tokens) = (means.clock.now(), inbound.estimated_tokens());
    let wait = |(place, skip): (usize, &Skip)| {
        let local = matches!(skip.reason, SkipReason::Refused(refusal) if refusal.is_local());
        let connection = skip.connection.as_ref().filter(|_| local)?;
        Some((connection.expected_wait(tokens, now)?, place))
    };
    let mut waits: Vec<_> = skipped.named().iter().enumerate().filter_map(wait).collect();
    waits.sort_unstable();
    // A queue that said no once says it for another model, too.
    let mut asked = HashSet::new();
    waits.retain(|(_, place)| {
        let connection = skipped.named().get(*place).and_then(|skip| skip.connection.as_ref());
        connection.is_some_and(|connection| asked.insert(Arc::as_ptr(connection)))
    });
    waits.into_iter().take(MOST_QUEUES).map(|(_, place)| place).collect()
}

async fn queue_at(skip: &Skip, means: &Means<'_>, inbound: &Inbound) -> Result<Permit, Refused> {
    let over = Refused { why: Refusal::WaitTooLong, retry_at: None };
    let Some(connection) = &skip.connection else { return Err(over) };
    let left = inbound.deadlines().total.saturating_duration_since(Instant::now());
    let deadline = means.clock.now().after(left);
    let ask = Ask { model: &skip.model, tokens: inbound.estimated_tokens() };
    let turn = connection.wait(ask, inbound.caller.key.clone(), deadline);
    timeout_at(inbound.deadlines().total, turn).await.unwrap_or(Err(over))
}

/// That a wait is too long says less than what one would have to wait for.
fn reason(skip: &Skip, refused: Refused) -> SkipReason {
    let paced = skip.reason == SkipReason::Refused(Refusal::LocalRateLimit);
    if paced && refused.why == Refusal::WaitTooLong { skip.reason } else { SkipReason::Refused(refused.why) }
}
