//! A lease on a candidate that its request waited for.

use std::sync::Arc;

use super::itinerary::Itinerary;
use super::{Lease, NoRoute, Skip};
use crate::connection::lease::Permit;

impl Lease {
    /// The lease that the router would have given, had this candidate not refused for reasons of our own. `none` is what it
    /// said instead; it comes back when the permit is for none of its candidates.
    ///
    /// # Errors
    /// What was given.
    pub fn after_wait(permit: Permit, none: NoRoute) -> Result<Self, NoRoute> {
        let NoRoute::Exhausted { itinerary, tried, mut skipped, retry_after } = none else { return Err(none) };
        let Some(index) = place_of(&permit, &itinerary) else {
            return Err(NoRoute::Exhausted { itinerary, tried, skipped, retry_after });
        };
        skipped.retain(|skip| !is_for(&permit, skip));
        let config = permit.handle().config();
        Ok(Self { permit, config, index, tried, itinerary, skipped })
    }
}

fn is_for(permit: &Permit, skip: &Skip) -> bool {
    Arc::ptr_eq(&skip.candidate.connection, permit.handle()) && skip.candidate.model == *permit.model()
}

fn place_of(permit: &Permit, itinerary: &Itinerary) -> Option<usize> {
    itinerary
        .candidates
        .iter()
        .position(|candidate| Arc::ptr_eq(&candidate.connection, permit.handle()) && candidate.model == *permit.model())
}
