//! What was passed over on the way to a connection, and why: the first few by name, the rest counted.

use std::sync::Arc;

use super::filter::Misfit;
use crate::clock::Moment;
use crate::connection::handle::ConnectionHandle;
use crate::connection::refusal::{Refusal, Refused};
use crate::ids::{ModelName, ProviderId};

/// So many are named.
pub const MOST_NAMED: usize = 32;

/// Why a connection was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// The connection refused.
    Refused(Refusal),
    /// The caller may not use it.
    NotAllowed,
    /// It has not the tags that the request asks for.
    Tags,
    /// A policy keeps it away.
    Policy,
    /// No extra attempt is left for its provider or the caller.
    RetryBudget,
    /// It cannot go on with the beginning of an answer.
    CannotContinue,
}

impl SkipReason {
    /// The word for headers and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.as_str(),
            Self::NotAllowed => "not_allowed",
            Self::Tags => "tags",
            Self::Policy => "policy",
            Self::RetryBudget => "retry_budget",
            Self::CannotContinue => "cannot_continue",
        }
    }
}

impl From<&Misfit> for SkipReason {
    fn from(misfit: &Misfit) -> Self {
        if *misfit == Misfit::Tags { Self::Tags } else { Self::Policy }
    }
}

/// A connection that was passed over.
#[derive(Debug, Clone)]
pub struct Skip {
    /// Which; `None` = all that there are for the model.
    pub connection: Option<Arc<ConnectionHandle>>,
    /// Its provider.
    pub provider: ProviderId,
    /// The model it was wanted for.
    pub model: ModelName,
    /// Why.
    pub reason: SkipReason,
    /// When it may be different.
    pub retry_at: Option<Moment>,
}

/// Everything that was passed over.
#[derive(Debug, Clone, Default)]
pub struct Skips {
    named: Vec<Skip>,
    rest: Vec<(SkipReason, u32)>,
    earliest: Option<Moment>,
}

impl Skips {
    /// One more.
    pub(super) fn add(&mut self, reason: SkipReason, retry_at: Option<Moment>, name: impl FnOnce() -> Skip) {
        self.earliest = [self.earliest, retry_at].into_iter().flatten().min();
        if self.named.len() < MOST_NAMED {
            return self.named.push(name());
        }
        match self.rest.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.rest.push((reason, 1)),
        }
    }

    pub(super) fn refused(&mut self, refused: Refused, name: impl FnOnce(SkipReason, Option<Moment>) -> Skip) {
        let reason = SkipReason::Refused(refused.why);
        self.add(reason, refused.retry_at, || name(reason, refused.retry_at));
    }

    /// One alone.
    pub fn of(skip: Skip) -> Self {
        let mut skips = Self::default();
        skips.add(skip.reason, skip.retry_at, || skip);
        skips
    }

    /// What a named one said when it was asked again.
    pub fn revise(&mut self, index: usize, reason: SkipReason, retry_at: Option<Moment>) {
        if let Some(skip) = self.named.get_mut(index) {
            skip.reason = reason;
            skip.retry_at = retry_at.or(skip.retry_at);
            self.earliest = self.named.iter().filter_map(|skip| skip.retry_at).chain(self.earliest).min();
        }
    }

    /// This connection was not passed over after all.
    pub(super) fn forget(&mut self, connection: &Arc<ConnectionHandle>, model: &ModelName) {
        let is_it = |skip: &Skip| skip.connection.as_ref().is_some_and(|other| Arc::ptr_eq(other, connection));
        self.named.retain(|skip| !(is_it(skip) && skip.model == *model));
    }

    /// Those that are named, in the order in which they were met.
    pub fn named(&self) -> &[Skip] {
        &self.named
    }

    /// How many more there were, by reason.
    pub fn rest(&self) -> &[(SkipReason, u32)] {
        &self.rest
    }

    /// How many there were.
    pub fn len(&self) -> usize {
        self.named.len() + self.rest.iter().map(|(_, count)| *count as usize).sum::<usize>()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// When the first one may be different.
    pub const fn earliest(&self) -> Option<Moment> {
        self.earliest
    }

    /// Every reason that was met.
    pub fn reasons(&self) -> impl Iterator<Item = SkipReason> + '_ {
        self.named.iter().map(|skip| skip.reason).chain(self.rest.iter().map(|(reason, _)| *reason))
    }
}

#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_named_and_the_rest_are_counted_and_none_is_lost() {
        let mut skips = Skips::default();
        for n in 0..100_u64 {
            let why = if n % 2 == 0 { Refusal::Open } else { Refusal::Saturated };
            let refused = Refused { why, retry_at: Some(Moment::from_millis(1_000 - n)) };
            skips.refused(refused, |reason, retry_at| Skip {
                connection: None,
                provider: "p".into(),
                model: "m".into(),
                reason,
                retry_at,
            });
        }

        assert_eq!((skips.named().len(), skips.len()), (MOST_NAMED, 100));
        assert_eq!(
            skips.rest(),
            [(SkipReason::Refused(Refusal::Open), 34), (SkipReason::Refused(Refusal::Saturated), 34)]
        );
        assert_eq!(skips.earliest(), Some(Moment::from_millis(901)));
    }
}
