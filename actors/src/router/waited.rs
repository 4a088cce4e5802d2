//! A lease on a candidate that its request waited for.

use std::sync::Arc;

use super::itinerary::Itinerary;
use super::{Attempted, Lease, NoRoute, Skip};
use crate::connection::lease::Permit;

/// The word for the choice of a connection that was waited for.
const PICK: &str = "after_wait";

impl Lease {
    /// The lease that the router would have given, had this candidate not refused for reasons of our own. `none` is what it
    /// said instead; it comes back when the permit is for none of its candidates.
    ///
    /// # Errors
    /// What was given.
    pub fn after_wait(permit: Permit, none: NoRoute) -> Result<Self, NoRoute> {
        let NoRoute::Exhausted { itinerary, tried, mut skipped, retry_after } = none else { return Err(none) };
        let Some(at) = place_of(&permit, &itinerary) else {
            return Err(NoRoute::Exhausted { itinerary, tried, skipped, retry_after });
        };
        skipped.forget(|skip| is_for(&permit, skip));
        let config = permit.handle().config();
        Ok(Self { permit, config, at, tried, itinerary, skipped, pick: PICK })
    }

    /// This candidate, passed over although it was leased.
    pub fn passed_over(&self, reason: super::SkipReason) -> Skip {
        Skip {
            connection: Some(Arc::clone(self.permit.handle())),
            provider: self.config.provider.clone(),
            model: self.model().clone(),
            reason,
            retry_at: None,
        }
    }
}

fn is_for(permit: &Permit, skip: &Skip) -> bool {
    skip.connection.as_ref().is_some_and(|connection| Arc::ptr_eq(connection, permit.handle()))
        && skip.model == *permit.model()
}

fn place_of(permit: &Permit, itinerary: &Itinerary) -> Option<Attempted> {
    itinerary.legs.iter().enumerate().find_map(|(leg, found)| {
        let place = found.target.pool.place(permit.handle().id())?;
        let is_it = found.target.model == *permit.model();
        is_it.then_some(Attempted { leg, place })
    })
}
