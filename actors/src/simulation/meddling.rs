//! What else happens to a gateway: operators reset and change things, actors meet a panic, the process is started again.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::audit::{Extras, Verdict};
use super::fleet::Member;
use super::world::{Event, World};
use super::{Sabotage, scenario};
use crate::ids::ModelName;
use crate::resilience::health::{Cooldown, ResetScope};
use crate::resilience::outcome::Outcome;
use crate::resilience::retry_budget::RetryBudget;
use crate::router::Router;
use crate::router::plan::RoutingPlan;

impl World {
    /// An operator resets or changes something, or an actor meets a panic.
    pub(super) fn meddle(&mut self) -> Verdict {
        let number = self.rng.random_range(0..self.members.len());
        let (now, kind) = (self.now(), self.rng.random_range(0..9));
        let member = &mut self.members[number];
        match kind {
            0 | 1 => {
                self.summary.resets += 1;
                let model = self
                    .rng
                    .random_bool(0.5)
                    .then(|| ModelName::from(*scenario::MODELS.choose(&mut self.rng).unwrap()));
                let scopes = [
                    ResetScope::Breakers,
                    ResetScope::Cooldowns,
                    ResetScope::Lockouts(model),
                    ResetScope::Limiters,
                    ResetScope::All,
                ];
                let scope = scopes.choose(&mut self.rng).unwrap();
                member.actor.reset(scope);
                member.books.resets(scope);
            }
            2 => {
                let until = now.after(Duration::from_millis(self.rng.random_range(0..5_000)));
                member.actor.set_cooldown(Some(Cooldown { until, reason: Outcome::RateLimited }));
                member.books.cooldowns_cleared();
            }
            3 | 4 => {
                let mut config = (*member.handle.config()).clone();
                scenario::bound(&mut config, &mut self.rng);
                config.is_active = self.rng.random_bool(0.8);
                if self.rng.random_bool(0.3) {
                    config.credential_version += 1;
                    member.books.cooldowns_cleared();
                }
                member.actor.configure(config);
                member.books.limits_changed();
            }
            5 | 6 => {
                self.summary.crashes += 1;
                member.actor.crash();
                member.books.queue_lost();
            }
            7 => {
                self.summary.plans += 1;
                self.publish();
            }
            _ => return self.restart(),
        }
        let member = &mut self.members[number];
        member.books.may_publish(&member.handle);
        self.stirred.push(number);
        Ok(())
    }

    fn publish(&mut self) {
        let handles: Vec<_> = self.members.iter().map(|member| Arc::clone(&member.handle)).collect();
        let before = self.plan.load_full();
        let before: &RoutingPlan = &before;
        let mut plan = scenario::plan(&handles, before.generation + 1, &mut self.rng);
        plan.remember(before);
        self.plan.store(Arc::new(plan.ready()));
    }

    /// The process dies where it stands and another one begins with what the store has: requests and reports that were
    /// under way are gone, what an operator or a provider said is not.
    fn restart(&mut self) -> Verdict {
        self.summary.restarts += 1;
        for number in 0..self.requests.len() {
            self.dies(number)?;
        }
        self.only_keep(|event| matches!(event, Event::Arrive(_) | Event::Change(..) | Event::Meddle));
        let budgets: Vec<_> = self.providers.iter().map(|_| Arc::new(RetryBudget::default())).collect();
        for number in 0..self.members.len() {
            let seed = self.rng.random();
            let member = &self.members[number];
            let (config, provider) = ((*member.handle.config()).clone(), member.provider);
            let was = self.shelf.get(member.handle.id());
            let was = was.filter(|_| self.sabotage != Some(Sabotage::ForgetStatesAtRestart));
            let budget = Arc::clone(&budgets[provider]);
            let begun = Member::begin(config, was.as_ref(), provider, budget, self.ports.clone(), seed);
            let before = std::mem::replace(&mut self.members[number], begun);
            self.members[number].books = before.books.after_restart();
        }
        self.providers.iter_mut().for_each(|provider| provider.in_flight = 0);
        self.extras = self.providers.iter().map(|_| Extras::default()).collect();
        self.keys = (0..scenario::KEYS).map(|_| RetryBudget::default()).collect();
        self.publish();
        self.router = Router::seeded(Arc::clone(&self.plan), self.clock.clone(), self.rng.random());
        Ok(())
    }
}
