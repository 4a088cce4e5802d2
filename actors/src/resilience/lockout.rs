//! Lockouts: one model that one connection does not serve for now. The connection's other models live on.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Moment;
use crate::ids::ModelName;

/// First lockout of a model; doubles while it keeps failing.
const FIRST: Duration = Duration::from_secs(120);
/// Longest lockout of a model.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How many models are remembered per connection: names come from callers, memory does not.
const REMEMBERED: usize = 256;

/// One locked model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lockout {
    /// Until then.
    pub until: Moment,
    /// Since then.
    pub since: Moment,
    /// How often in a row.
    pub failures: u32,
}

/// The locked models of one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lockouts(HashMap<ModelName, Lockout>);

impl Lockouts {
    /// From stored rows.
    pub fn restore(rows: impl IntoIterator<Item = (ModelName, Lockout)>) -> Self {
        Self(rows.into_iter().take(REMEMBERED).collect())
    }

    /// When the model comes back, if it is locked now.
    pub fn until(&self, model: &str, now: Moment) -> Option<Moment> {
        self.0.get(model).map(|lockout| lockout.until).filter(|until| *until > now)
    }

    /// Lock a model; a longer lock that is in force wins.
    pub fn lock(&mut self, model: &ModelName, hint: Option<Duration>, now: Moment) -> Moment {
        self.forget_old(now);
        let failures = self.0.get(model).map_or(0, |lockout| lockout.failures);
        let grown = FIRST.saturating_mul(2u32.saturating_pow(failures.min(10)));
        let until = now.after(hint.unwrap_or(grown).clamp(Duration::from_secs(1), LONGEST));
        let lockout = Lockout { until, since: now, failures: failures.saturating_add(1) };
        let entry = self.0.entry(model.clone()).or_insert(lockout);
        *entry = Lockout { until: entry.until.max(until), ..lockout };
        entry.until
    }

    /// The model answered: unlock it.
    pub fn clear(&mut self, model: &str) -> bool {
        self.0.remove(model).is_some()
    }

    /// Unlock everything; how many were locked.
    pub fn clear_all(&mut self) -> usize {
        std::mem::take(&mut self.0).len()
    }

    /// Whether nothing is locked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The locked models.
    pub fn iter(&self) -> impl Iterator<Item = (&ModelName, &Lockout)> {
        self.0.iter()
    }

    fn forget_old(&mut self, now: Moment) {
        self.0.retain(|_, lockout| lockout.until.after(LONGEST) > now);
        if self.0.len() >= REMEMBERED
            && let Some(oldest) = self.0.iter().min_by_key(|(_, lockout)| lockout.until).map(|(model, _)| model.clone())
        {
            self.0.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lockout_names_one_model_and_ends_by_itself() {
        let mut lockouts = Lockouts::default();
        let now = Moment::from_millis(1_000);
        lockouts.lock(&"gpt-x".into(), None, now);

        assert!(lockouts.until("gpt-x", now).is_some());
        assert_eq!(lockouts.until("gpt-y", now), None);
        assert_eq!(lockouts.until("gpt-x", now.after(Duration::from_secs(121))), None);
    }

    #[test]
    fn callers_cannot_fill_the_memory_with_invented_models() {
        let mut lockouts = Lockouts::default();
        for n in 0..10_000u32 {
            lockouts.lock(&format!("model-{n}").into(), None, Moment::from_millis(u64::from(n)));
        }

        assert!(lockouts.iter().count() <= REMEMBERED);
    }

    #[test]
    fn a_longer_lock_in_force_wins_over_a_shorter_one() {
        let mut lockouts = Lockouts::default();
        let now = Moment::from_millis(0);
        let long = lockouts.lock(&"m".into(), Some(Duration::from_secs(900)), now);

        let after = lockouts.lock(&"m".into(), Some(Duration::from_secs(5)), now);

        assert_eq!(after, long);
    }
}
