//! A lease on a connection that its request waited for, or passed over.

use std::sync::Arc;

use super::itinerary::Itinerary;
use super::plan::Pin;
use super::{Attempted, Lease, Leg, NoRoute, Skip, SkipReason, Skips};
use crate::connection::lease::Permit;

impl Lease {
    /// The lease that the router would have given, had this connection not refused for reasons of our own. `none` is what
    /// it said instead; it comes back when the permit is for none of its legs.
    ///
    /// # Errors
    /// What was given.
    pub fn after_wait(permit: Permit, none: NoRoute) -> Result<Self, NoRoute> {
        let NoRoute::Exhausted { itinerary, tried, mut skipped, retry_after } = none else { return Err(none) };
        let Some(at) = place_of(&permit, &itinerary) else {
            return Err(NoRoute::Exhausted { itinerary, tried, skipped, retry_after });
        };
        skipped.forget(permit.handle(), permit.model());
        itinerary.legs.get(at.leg).into_iter().for_each(Leg::taken);
        let config = permit.handle().config();
        Ok(Self { permit, config, at, tried, itinerary, skipped, pick: "waited" })
    }

    /// This connection, passed over although it was leased.
    pub fn passed_over(&self, reason: SkipReason) -> Skips {
        let handle = self.permit.handle();
        Skips::of(Skip {
            connection: Some(Arc::clone(handle)),
            provider: handle.provider().clone(),
            model: self.model().clone(),
            reason,
            retry_at: None,
        })
    }
}

fn place_of(permit: &Permit, itinerary: &Itinerary) -> Option<Attempted> {
    let of = |(leg, here): (usize, &Leg)| {
        let pool = &here.target.pool;
        let place = pool.place(permit.handle().id()).filter(|_| here.target.model == *permit.model())?;
        let fits = match here.target.pin {
            Pin::Any => true,
            Pin::At(pinned) => pinned == place,
            Pin::Gone => false,
        };
        let same = pool.member(place).is_some_and(|member| Arc::ptr_eq(&member.handle, permit.handle()));
        (same && fits).then_some(Attempted { leg, place })
    };
    itinerary.legs.iter().enumerate().find_map(of)
}
