//! How long an attempt may be without content before somebody else is asked as well, or instead.
//!
//! Both are learned from what the connection did before: hedging, which an operator switches on for a combo, begins where
//! the attempt is slower than nearly all; giving up, where it is far slower than any. Neither ends an attempt that nobody
//! could replace: that is for the configured deadlines.

use std::time::Duration;

use omniroute_actors::router::Lease;
use omniroute_actors::router::config::{HedgeAfter, Hedging};
use tokio::time::Instant;

use super::attempt::Means;
use super::inbound::Inbound;

/// Earlier than this, a second attempt is a waste.
const SOONEST_HEDGE: Duration = Duration::from_millis(100);
/// A connection is known from so many answers on.
const KNOWN_FROM: u64 = 50;
/// So much slower than its slow ones an attempt may be.
const TOLERANCE: u32 = 4;
/// Earlier than this, nothing is given up.
const SOONEST_END: Duration = Duration::from_secs(2);

/// What happens when an attempt is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Another one is made beside it.
    Beside,
    /// Another one is made in its place.
    Instead,
}

/// How long, and what then.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until when.
    pub until: Instant,
    /// What then.
    pub then: Then,
}

impl Patience {
    /// With an attempt that began at `started`; nothing where only the deadlines count.
    pub fn with(lease: &Lease, means: &Means<'_>, inbound: &Inbound, started: Instant) -> Option<Self> {
        let beside = hedge_after(lease, inbound).map(|after| (after, Then::Beside));
        let instead = means.config.routing.learned_deadlines && inbound.ask.stream;
        let instead = instead.then(|| give_up_after(lease)).flatten().map(|after| (after, Then::Instead));
        let (after, then) = [beside, instead].into_iter().flatten().min_by_key(|(after, _)| *after)?;
        Some(Self { until: started + after, then })
            .filter(|patience| patience.until < inbound.deadlines().first_content_of_attempt(started))
    }
}

fn hedge_after(lease: &Lease, inbound: &Inbound) -> Option<Duration> {
    let hedging = lease.itinerary.combo.as_ref().map(|combo| combo.config.hedging).filter(|hedging| hedging.enabled)?;
    let after = delay(&hedging, |q| lease.permit.handle().first_content_quantile(lease.model().as_str(), q))?;
    // What a tool of the provider does, it must not do twice.
    (!inbound.ask.has_server_tools()).then_some(after)
}

fn delay(hedging: &Hedging, learned: impl Fn(f64) -> Option<Duration>) -> Option<Duration> {
    match hedging.after {
        HedgeAfter::Fixed(after) => Some(after.max(SOONEST_HEDGE)),
        HedgeAfter::Quantile(q) => Some(learned(f64::from(q))?.max(hedging.at_least).max(SOONEST_HEDGE)),
    }
}

fn give_up_after(lease: &Lease) -> Option<Duration> {
    let slow = lease.permit.handle().first_content_quantile_of(lease.model().as_str(), 0.99, KNOWN_FROM)?;
    Some(slow.saturating_mul(TOLERANCE).max(SOONEST_END))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_hedge_waits_for_what_was_learned_and_is_never_rash() {
        let learned = |known: Option<u64>| move |_: f64| known.map(MS);
        let quantile = Hedging { enabled: true, after: HedgeAfter::Quantile(0.95), at_least: MS(1_000) };
        let fixed = |after| Hedging { after: HedgeAfter::Fixed(MS(after)), ..quantile };

        assert_eq!(delay(&quantile, learned(Some(3_000))), Some(MS(3_000)));
        assert_eq!(delay(&quantile, learned(Some(20))), Some(MS(1_000)));
        assert_eq!(delay(&quantile, learned(None)), None);
        assert_eq!(delay(&fixed(400), learned(None)), Some(MS(400)));
        assert_eq!(delay(&fixed(1), learned(None)), Some(SOONEST_HEDGE));
    }
}
