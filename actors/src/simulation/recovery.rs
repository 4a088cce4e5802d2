//! The end of a world: the faults are over, and each connection has to serve again in the time that was promised.

use std::sync::Arc;
use std::time::Duration;

use super::Sabotage;
use super::audit::{Verdict, holds};
use super::scenario;
use super::world::World;
use crate::clock::{Clock, Moment};
use crate::connection::config::ConnectionConfig;
use crate::connection::handle::ConnectionHandle;
use crate::connection::refusal::Refused;
use crate::connection::report::take_lost;
use crate::ids::ModelName;
use crate::resilience::outcome::Outcome;

impl World {
    /// The faults are over: asked gently, each connection serves each of its models again in the time that was promised.
    pub(super) fn everybody_recovers(&mut self) -> Verdict {
        for number in 0..self.members.len() {
            self.recovers(number)?;
        }
        Ok(())
    }

    fn recovers(&mut self, number: usize) -> Verdict {
        const SLACK: Duration = Duration::from_secs(25 * 60);
        let began = self.now();
        let handle = Arc::clone(&self.members[number].handle);
        let config = ConnectionConfig { is_active: true, ..(*handle.config()).clone() };
        self.members[number].actor.configure(config);
        let bound = self.promised(number).after(SLACK);
        let mut left: Vec<ModelName> = scenario::MODELS.map(ModelName::from).into();
        loop {
            let met = left.last().cloned().map(|model| self.gently(number, &handle, &model));
            let (was, now) = (handle.remembered(), self.now());
            let wait = match met {
                Some(Ok(())) => {
                    left.pop();
                    None
                }
                Some(Err(refused)) => refused.retry_at.map(|at| at.until(now)),
                None if handle.gate().view().state.flows() && was.terminal.is_none() => return Ok(()),
                // One more probe is wanted.
                None => {
                    left.push(scenario::MODELS[0].into());
                    None
                }
            };
            holds(now < bound, || format!("{handle:?} is not back after {:?}: {met:?}, {was:?}", now.since(began)))?;
            let wait = wait.unwrap_or(Duration::from_millis(100));
            self.clock.advance(wait.clamp(Duration::from_millis(1), Duration::from_secs(600)));
        }
    }

    /// One call that succeeds, with its report.
    fn gently(&mut self, number: usize, handle: &Arc<ConnectionHandle>, model: &ModelName) -> Result<(), Refused> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let mut permit = handle.acquire(model, &clock)?;
        permit.begin(Duration::ZERO);
        permit.settle(Outcome::Success);
        drop(permit);
        for report in take_lost() {
            if self.sabotage != Some(Sabotage::LoseReports) {
                self.members[number].actor.outcomes(&[report]);
            }
        }
        Ok(())
    }

    /// The last moment that something in force now may keep a connection away.
    fn promised(&self, number: usize) -> Moment {
        let handle = &self.members[number].handle;
        let (was, now) = (handle.remembered(), self.now());
        let locks = was.lockouts.iter().map(|(_, lockout)| lockout.until);
        let rest = was.cooldown.map(|cooldown| cooldown.until);
        let all = locks.chain(rest).chain([handle.gate().view().not_before, now]);
        all.max().unwrap_or(now).after(self.health.terminal_probe * 2)
    }
}
