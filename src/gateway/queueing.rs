//! Waiting for a turn: nobody could be leased, and of somebody it is only our own limits that are in the way.

use std::sync::Arc;
use std::time::Duration;

use omniroute_actors::connection::handle::{ConnectionHandle, Refusal, Refused};
use omniroute_actors::connection::lease::Permit;
use omniroute_actors::connection::traffic::Ask;
use omniroute_actors::ids::ModelName;
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
    for (place, skip) in best_queues(&none, means, inbound) {
        let Some(connection) = &skip.connection else { continue };
        match queue_at(connection, &skip.model, means, inbound).await {
            Ok(permit) => {
                return Lease::after_wait(permit, none).map(|lease| Turned { lease, waited: began.elapsed() });
            }
            Err(refused) => note(&mut none, place, &skip, refused),
        }
    }
    if let NoRoute::Exhausted { skipped, retry_after, .. } = &mut none {
        *retry_after = skipped.earliest().map(|at| at.until(means.clock.now()));
    }
    Err(none)
}

/// Places among the refusals, the least expected wait first.
fn best_queues(none: &NoRoute, means: &Means<'_>, inbound: &Inbound) -> Vec<(usize, Skip)> {
    let NoRoute::Exhausted { skipped, .. } = none else { return Vec::new() };
    let (now, tokens) = (means.clock.now(), inbound.estimated_tokens());
    let wait = |(place, skip): (usize, &Skip)| {
        let local = matches!(skip.reason, SkipReason::Refused(refusal) if refusal.is_local());
        let wait = skip.connection.as_ref()?.expected_wait(tokens, now).filter(|_| local)?;
        Some((wait, place))
    };
    let mut waits: Vec<_> = skipped.named().iter().enumerate().filter_map(wait).collect();
    waits.sort_unstable();
    let named = |(_, place): (Duration, usize)| Some((place, skipped.named().get(place)?.clone()));
    waits.into_iter().take(MOST_QUEUES).filter_map(named).collect()
}

async fn queue_at(
    connection: &Arc<ConnectionHandle>,
    model: &ModelName,
    means: &Means<'_>,
    inbound: &Inbound,
) -> Result<Permit, Refused> {
    let left = inbound.deadlines().total.saturating_duration_since(Instant::now());
    let deadline = means.clock.now().after(left);
    let ask = Ask { model, tokens: inbound.estimated_tokens() };
    let turn = connection.wait(ask, inbound.caller.key.clone(), deadline);
    let over = Refused { why: Refusal::WaitTooLong, retry_at: None };
    timeout_at(inbound.deadlines().total, turn).await.unwrap_or(Err(over))
}

/// That a wait is too long says less than what one would have to wait for.
fn note(none: &mut NoRoute, place: usize, skip: &Skip, refused: Refused) {
    let NoRoute::Exhausted { skipped, .. } = none else { return };
    let paced = skip.reason == SkipReason::Refused(Refusal::LocalRateLimit);
    let says_less = paced && refused.why == Refusal::WaitTooLong;
    let reason = if says_less { skip.reason } else { SkipReason::Refused(refused.why) };
    skipped.correct(place, reason, refused.retry_at.or(skip.retry_at));
}
