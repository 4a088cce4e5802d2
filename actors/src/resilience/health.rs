//! The health of one connection: breaker, cooldown, lockouts and terminal state, changed by reports and
//! resets, and told as a list of transitions.
//!
//! The four are kept apart on purpose. A 429 is a cooldown and no failure of the provider; a missing model
//! locks that model only; a dead key is terminal until somebody acts; only provider faults trip the breaker.

use std::time::Duration;

use serde::Serialize;

use super::backoff::{self, Jitter, LONGEST_HINT, LONGEST_QUOTA_HINT};
use super::breaker::{Breaker, Ended};
use super::gate::{Admission, BreakerState, GateView};
use super::lockout::Lockouts;
use super::outcome::{Cool, Outcome, Signal, Terminal};
use super::settings::HealthSettings;
pub use super::transition::Transition;
use super::window::Counts;
use crate::clock::Moment;
use crate::ids::ModelName;

/// What is remembered of the last error. The message is made safe to show by the caller: no secret, no echo of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorNote {
    /// What it was taken for.
    pub outcome: Outcome,
    /// HTTP status, 0 when there was none.
    pub status: u16,
    /// The provider's code, or else its type.
    pub code: Option<String>,
    /// The provider's words; empty when they are about the request.
    pub message: String,
    /// Whether a person has to look at it: what answers there is no API, and waiting does not make it one.
    pub needs_attention: bool,
}

/// What the health hears about one finished attempt.
#[derive(Debug, Clone)]
pub struct Heard {
    /// How it ended.
    pub outcome: Outcome,
    /// The pass it ran under.
    pub admission: Admission,
    /// The model it asked for.
    pub model: ModelName,
    /// When it was admitted.
    pub admitted_at: Moment,
    /// The provider's word on when to come back.
    pub retry_after: Option<Duration>,
    /// The error, for operators.
    pub error: Option<ErrorNote>,
    /// How long its first content took, or all of it when none came.
    pub took: Option<Duration>,
    /// It tried a connection that was out of service.
    pub terminal_probe: bool,
}

/// What a reset clears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResetScope {
    /// Breakers only: what a reset without a body has always meant.
    Breakers,
    /// Cooldowns of connections.
    Cooldowns,
    /// Lockouts: of one model, or of all.
    Lockouts(Option<ModelName>),
    /// What was learned about limits, and what paces now.
    Limiters,
    /// Everything, terminal states included.
    All,
}

/// The cooldown in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cooldown {
    /// Until then.
    pub until: Moment,
    /// Why.
    pub reason: Outcome,
}

/// What is known about a connection, beside the gate word.
#[derive(Debug, Clone)]
pub struct Health {
    settings: HealthSettings,
    breaker: Breaker,
    cooldown: Option<Cooldown>,
    level: u32,
    lockouts: Lockouts,
    terminal: Option<Terminal>,
    /// The first refused credential, waiting for a second opinion.
    suspected_at: Option<Moment>,
    since: Moment,
    last_error: Option<(Moment, ErrorNote)>,
    attention: Option<(Moment, ErrorNote)>,
}

/// Everything that outlives a crash of the actor and, in wall time, of the process.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    /// The cooldown in force.
    pub cooldown: Option<Cooldown>,
    /// The step of the ladder.
    pub level: u32,
    /// Failures in a row.
    pub consecutive: u32,
    /// Cycles of the breaker.
    pub cycles: u32,
    /// Locked models.
    pub lockouts: Lockouts,
    /// The terminal state.
    pub terminal: Option<Terminal>,
    /// Since when the state is as it is.
    pub since: Moment,
    /// The last error and when.
    pub last_error: Option<(Moment, ErrorNote)>,
    /// The first error since the last success that a person has to look at, and when.
    pub attention: Option<(Moment, ErrorNote)>,
    /// The window's counts when this was written.
    pub counts: Counts,
}

impl Health {
    /// A healthy connection.
    pub fn new(settings: HealthSettings) -> Self {
        Self::restore(settings, Remembered::default())
    }

    /// A connection as it was.
    pub fn restore(settings: HealthSettings, was: Remembered) -> Self {
        Self {
            breaker: Breaker::restore(settings.breaker, was.consecutive, was.cycles),
            settings,
            cooldown: was.cooldown,
            level: was.level,
            lockouts: was.lockouts,
            terminal: was.terminal,
            suspected_at: None,
            since: was.since,
            last_error: was.last_error,
            attention: was.attention,
        }
    }

    /// What must be remembered.
    pub fn remembered(&self, now: Moment) -> Remembered {
        Remembered {
            cooldown: self.cooldown,
            level: self.level,
            consecutive: self.breaker.consecutive(),
            cycles: self.breaker.cycles(),
            lockouts: self.lockouts.clone(),
            terminal: self.terminal,
            since: self.since,
            last_error: self.last_error.clone(),
            attention: self.attention.clone(),
            counts: self.breaker.counts(now),
        }
    }

    /// New numbers.
    pub fn configure(&mut self, settings: HealthSettings) {
        self.breaker.configure(settings.breaker);
        self.settings = settings;
    }

    /// The numbers in force.
    pub const fn settings(&self) -> &HealthSettings {
        &self.settings
    }

    /// Hear one report; what changed.
    pub fn hear(&mut self, gate: GateView, heard: &Heard, now: Moment, jitter: Jitter) -> Vec<Transition> {
        let verdict = heard.outcome.verdict();
        let mut changes = Vec::new();
        if let Some(note) = &heard.error {
            self.last_error = Some((now, note.clone()));
            changes.extend(self.call_for_attention(note, now));
        }
        let ended = Ended { admission: heard.admission, signal: verdict.signal, took: heard.took };
        if let Some(to) = self.breaker.hear(gate, ended, now, jitter) {
            changes.push(Transition::Breaker { from: gate, to });
        }
        match verdict.cool {
            Cool::Connection => changes.extend(self.cool(heard.outcome, heard.retry_after, now, jitter)),
            Cool::Model => changes.push(self.lock(heard, now)),
            Cool::Nothing => {}
        }
        if let Some(terminal) = verdict.terminal.or_else(|| self.confirmed_dead(heard, now)) {
            changes.extend(self.end(terminal));
        }
        if verdict.signal == Signal::Alive && heard.outcome == Outcome::Success {
            changes.extend(self.proved_alive(heard));
        }
        self.stamp(&changes, now);
        changes
    }

    /// An operator clears something; what changed. The gate's move is the caller's (it owns the word).
    pub fn reset(&mut self, scope: &ResetScope, now: Moment) -> Vec<Transition> {
        let mut changes = Vec::new();
        if matches!(scope, ResetScope::Breakers | ResetScope::All) {
            self.breaker.reset(now);
        }
        if matches!(scope, ResetScope::Cooldowns | ResetScope::All) {
            changes.extend(self.cooldown.take().map(|_| Transition::CooldownCleared));
            self.level = 0;
        }
        match scope {
            ResetScope::Lockouts(Some(model)) => {
                changes.extend(self.lockouts.clear(model.as_str()).then_some(Transition::ModelsUnlocked(1)));
            }
            ResetScope::Lockouts(None) | ResetScope::All => {
                let cleared = self.lockouts.clear_all();
                changes.extend((cleared > 0).then_some(Transition::ModelsUnlocked(cleared)));
            }
            ResetScope::Breakers | ResetScope::Cooldowns | ResetScope::Limiters => {}
        }
        if *scope == ResetScope::All {
            self.suspected_at = None;
            changes.extend(self.attention.take().map(|_| Transition::AttentionOver));
            changes.extend(self.terminal.take().map(Transition::TerminalCleared));
        }
        self.stamp(&changes, now);
        changes
    }

    /// Put a cooldown that an operator or another instance asks for.
    pub fn set_cooldown(&mut self, cooldown: Option<Cooldown>, now: Moment) -> Vec<Transition> {
        let change = match cooldown {
            Some(Cooldown { until, reason }) => Some(Transition::CoolingDown { until, reason }),
            None => self.cooldown.map(|_| Transition::CooldownCleared),
        };
        self.cooldown = cooldown;
        let changes: Vec<_> = change.into_iter().collect();
        self.stamp(&changes, now);
        changes
    }

    /// The credential was replaced: what it was blamed for no longer holds.
    pub fn forgive_credential(&mut self, now: Moment) -> Vec<Transition> {
        self.suspected_at = None;
        let mut changes: Vec<_> = self.terminal.take().map(Transition::TerminalCleared).into_iter().collect();
        changes.extend(self.attention.take().map(|_| Transition::AttentionOver));
        changes.extend(self.set_cooldown(None, now));
        self.stamp(&changes, now);
        changes
    }

    /// What the credential is exchanged for is not given any more: no second call has to confirm that.
    pub fn credential_ended(&mut self, now: Moment) -> Vec<Transition> {
        let changes: Vec<_> = self.end(Terminal::Expired).into_iter().collect();
        self.stamp(&changes, now);
        changes
    }

    /// There is no token to call with, for a reason that passes: asking for one with every call would not help.
    pub fn rest_without_token(
        &mut self,
        outcome: Outcome,
        retry_after: Option<Duration>,
        now: Moment,
        jitter: Jitter,
    ) -> Vec<Transition> {
        let passes = matches!(
            outcome,
            Outcome::ServerFault | Outcome::ConnectFailed | Outcome::BrokenAnswer | Outcome::RateLimited
        );
        let change = if passes { self.cool(outcome, retry_after, now, jitter) } else { None };
        let changes: Vec<_> = change.into_iter().collect();
        self.stamp(&changes, now);
        changes
    }

    /// The cooldown, when it is still running.
    pub fn cooling(&self, now: Moment) -> Option<Cooldown> {
        self.cooldown.filter(|cooldown| cooldown.until > now)
    }

    /// Whether a breaker that closed now should let traffic back step by step.
    pub const fn returns_slowly(&self) -> bool {
        self.breaker.returns_slowly()
    }

    /// The terminal state.
    pub const fn terminal(&self) -> Option<Terminal> {
        self.terminal
    }

    /// The locked models.
    pub const fn lockouts(&self) -> &Lockouts {
        &self.lockouts
    }

    fn cool(
        &mut self,
        outcome: Outcome,
        retry_after: Option<Duration>,
        now: Moment,
        jitter: Jitter,
    ) -> Option<Transition> {
        // Calls that were already on their way when the cooldown began must not climb the ladder again.
        let already = self.cooling(now).filter(|_| retry_after.is_none());
        if already.is_some() {
            return None;
        }
        let longest = match outcome {
            Outcome::QuotaExhausted => LONGEST_QUOTA_HINT,
            _ => LONGEST_HINT,
        };
        let calm = self.cooldown.map_or(Duration::ZERO, |over| now.since(over.until));
        let level = backoff::decayed(self.level, calm);
        let wait = backoff::cooldown(&self.settings.cooldown, level, retry_after, longest, jitter);
        let until = now.after(wait).max(self.cooling(now).map_or(Moment::START, |running| running.until));
        self.level = if retry_after.is_some() { 0 } else { level.saturating_add(1).min(32) };
        self.cooldown = Some(Cooldown { until, reason: outcome });
        Some(Transition::CoolingDown { until, reason: outcome })
    }

    fn lock(&mut self, heard: &Heard, now: Moment) -> Transition {
        let until = self.lockouts.lock(&heard.model, heard.retry_after, now);
        Transition::ModelLocked { model: heard.model.clone(), until }
    }

    /// One 401 may be a hiccup of an account pool. A second one, from a call admitted after the first was
    /// heard, is the truth.
    fn confirmed_dead(&mut self, heard: &Heard, now: Moment) -> Option<Terminal> {
        if heard.outcome != Outcome::AuthRefused {
            return None;
        }
        match self.suspected_at {
            Some(first) if heard.admitted_at > first => Some(Terminal::Expired),
            Some(_) => None,
            None => {
                self.suspected_at = Some(now);
                None
            }
        }
    }

    /// Said once, not with every request that meets it.
    fn call_for_attention(&mut self, note: &ErrorNote, now: Moment) -> Option<Transition> {
        (note.needs_attention && self.attention.is_none()).then(|| {
            self.attention = Some((now, note.clone()));
            Transition::NeedsAttention
        })
    }

    fn end(&mut self, terminal: Terminal) -> Option<Transition> {
        (self.terminal != Some(terminal)).then(|| {
            self.terminal = Some(terminal);
            Transition::BecameTerminal(terminal)
        })
    }

    /// A success proves the credential and the model. It ends a cooldown only if it was admitted after it
    /// began: calls in flight when the limit struck may still succeed.
    fn proved_alive(&mut self, heard: &Heard) -> Vec<Transition> {
        let mut changes: Vec<_> = self.attention.take().map(|_| Transition::AttentionOver).into_iter().collect();
        if heard.terminal_probe {
            self.suspected_at = None;
            changes.extend(self.terminal.take().map(Transition::TerminalCleared));
        }
        if self.suspected_at.is_some_and(|first| heard.admitted_at > first) {
            self.suspected_at = None;
        }
        if self.cooldown.is_some_and(|cooldown| heard.admitted_at >= cooldown.until) {
            self.cooldown = None;
            self.level = 0;
            changes.push(Transition::CooldownCleared);
        }
        let reopened =
            self.lockouts.iter().any(|(model, lockout)| *model == heard.model && heard.admitted_at >= lockout.until);
        if reopened && self.lockouts.clear(heard.model.as_str()) {
            changes.push(Transition::ModelsUnlocked(1));
        }
        changes
    }

    fn stamp(&mut self, changes: &[Transition], now: Moment) {
        let relabelled = |change: &Transition| {
            matches!(change, Transition::Breaker { from, to } if from.state == to.state)
                || matches!(
                    change,
                    Transition::ModelLocked { .. }
                        | Transition::ModelsUnlocked(_)
                        | Transition::LimitsForgotten
                        | Transition::NeedsAttention
                        | Transition::AttentionOver
                )
        };
        if changes.iter().any(|change| !relabelled(change)) {
            self.since = now;
        }
    }
}

/// The state that an operator reads, in the order of what matters most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// Switched off by an operator.
    Disabled,
    /// Out of service until somebody acts.
    Terminal(Terminal),
    /// The breaker is open or half open.
    Breaker(BreakerState),
    /// Resting.
    CoolingDown,
    /// In service.
    Ready,
}

#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod tests;
