//! What changed about a connection, and how it is told to people.

use std::fmt;
use std::time::Duration;

use super::gate::{BreakerState, GateView};
use super::outcome::{Outcome, Terminal};
use crate::clock::Moment;
use crate::ids::ModelName;

/// Something changed; logged, counted, persisted and broadcast by the actor.
#[derive(Debug, Clone, PartialEq)]
pub enum Transition {
    /// The gate moved.
    Breaker {
        /// From this view.
        from: GateView,
        /// To that one.
        to: GateView,
    },
    /// The connection rests.
    CoolingDown {
        /// Until then.
        until: Moment,
        /// Why.
        reason: Outcome,
    },
    /// The rest is over because a call succeeded or an operator said so.
    CooldownCleared,
    /// One model rests.
    ModelLocked {
        /// The model.
        model: ModelName,
        /// Until then.
        until: Moment,
    },
    /// Models answer again.
    ModelsUnlocked(usize),
    /// Out of service until somebody acts.
    BecameTerminal(Terminal),
    /// Back in service.
    TerminalCleared(Terminal),
    /// What answers is no API: a person has to look at it.
    NeedsAttention,
    /// It answered as it should, or somebody looked at it.
    AttentionOver,
    /// What was learned about limits is forgotten.
    LimitsForgotten,
}

impl Transition {
    /// In words, as of now: a moment means nothing to a reader, how long it is until then does.
    pub const fn told(&self, now: Moment) -> Told<'_> {
        Told { change: self, now }
    }
}

/// A transition in words.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    change: &'a Transition,
    now: Moment,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = |until: Moment| Seconds(until.since(self.now));
        match self.change {
            Transition::Breaker { from, to } if to.state == BreakerState::Open => {
                write!(f, "breaker {} -> open for {}", from.state.as_str(), left(to.not_before))
            }
            Transition::Breaker { from, to } => write!(f, "breaker {} -> {}", from.state.as_str(), to.state.as_str()),
            Transition::CoolingDown { until, reason } => {
                write!(f, "cools down for {}: {}", left(*until), reason.as_str())
            }
            Transition::CooldownCleared => f.write_str("cooldown over"),
            Transition::ModelLocked { model, until } => write!(f, "model {model} locked for {}", left(*until)),
            Transition::ModelsUnlocked(1) => f.write_str("1 model unlocked"),
            Transition::ModelsUnlocked(count) => write!(f, "{count} models unlocked"),
            Transition::BecameTerminal(terminal) => write!(f, "out of service: {}", terminal.as_str()),
            Transition::LimitsForgotten => f.write_str("learned limits forgotten"),
            Transition::NeedsAttention => f.write_str("needs attention: what answers is no API"),
            Transition::AttentionOver => f.write_str("needs no attention any more"),
            Transition::TerminalCleared(terminal) => write!(f, "back in service, was {}", terminal.as_str()),
        }
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_told_without_a_moment_or_a_type_of_ours() {
        let now = Moment::from_millis(10_000);
        let until = now.after(Duration::from_millis(2_500));
        let open = GateView::CLOSED.moved(BreakerState::Open, until);
        let changes = [
            Transition::Breaker { from: GateView::CLOSED, to: open },
            Transition::Breaker { from: open, to: GateView::CLOSED },
            Transition::CoolingDown { until, reason: Outcome::RateLimited },
            Transition::CooldownCleared,
            Transition::ModelLocked { model: ModelName::from("gpt"), until },
            Transition::ModelsUnlocked(1),
            Transition::ModelsUnlocked(2),
            Transition::BecameTerminal(Terminal::Expired),
            Transition::TerminalCleared(Terminal::Expired),
            Transition::LimitsForgotten,
            Transition::NeedsAttention,
            Transition::AttentionOver,
        ];

        let told = changes.map(|change| change.told(now).to_string());

        let expected = [
            "breaker closed -> open for 2.5 s",
            "breaker open -> closed",
            "cools down for 2.5 s: rate_limited",
            "cooldown over",
            "model gpt locked for 2.5 s",
            "1 model unlocked",
            "2 models unlocked",
            "out of service: expired",
            "back in service, was expired",
            "learned limits forgotten",
            "needs attention: what answers is no API",
            "needs no attention any more",
        ];
        assert_eq!(told, expected);
    }
}
