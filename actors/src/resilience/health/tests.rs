//! The health of one connection, told by its transitions.

use super::super::gate::Gate;
use super::*;

struct Rig {
    gate: Gate,
    health: Health,
    now: Moment,
    terminal_probe: bool,
}

impl Rig {
    fn new() -> Self {
        let health = Health::new(HealthSettings::default());
        Self { gate: Gate::default(), health, now: Moment::from_millis(1_000), terminal_probe: false }
    }

    fn admitted(&self) -> (Admission, Moment) {
        (self.gate.admit(self.now, Duration::from_secs(30)).unwrap(), self.now)
    }

    fn ends(
        &mut self,
        (admission, admitted_at): (Admission, Moment),
        outcome: Outcome,
        hint: Option<u64>,
    ) -> Vec<Transition> {
        self.now = self.now.after(Duration::from_millis(5));
        let heard = Heard {
            outcome,
            admission,
            model: "m".into(),
            admitted_at,
            retry_after: hint.map(Duration::from_secs),
            error: None,
            took: None,
            terminal_probe: self.terminal_probe,
        };
        self.health.hear(self.gate.view(), &heard, self.now, Jitter::NONE)
    }

    fn call(&mut self, outcome: Outcome, hint: Option<u64>) -> Vec<Transition> {
        let admitted = self.admitted();
        self.ends(admitted, outcome, hint)
    }
}

#[test]
fn a_rate_limit_cools_for_as_long_as_the_provider_says() {
    let mut rig = Rig::new();

    rig.call(Outcome::RateLimited, Some(20));

    assert_eq!(rig.health.cooling(rig.now).unwrap().until.since(rig.now), Duration::from_secs(20));
    assert_eq!(rig.health.cooling(rig.now.after(Duration::from_secs(20))), None);
    assert_eq!(rig.gate.view().state, BreakerState::Closed);
}

#[test]
fn a_burst_of_refusals_climbs_the_ladder_once() {
    let mut rig = Rig::new();
    let burst: Vec<_> = (0..50).map(|_| rig.admitted()).collect();

    let changes: usize = burst.into_iter().map(|call| rig.ends(call, Outcome::RateLimited, None).len()).sum();

    assert_eq!(changes, 1);
    assert!(rig.health.cooling(rig.now).unwrap().until.since(rig.now) <= Duration::from_secs(3));
}

#[test]
fn client_faults_and_hang_ups_change_nothing() {
    for outcome in [Outcome::ClientFault, Outcome::ClientGone, Outcome::Abandoned, Outcome::GatewayFault] {
        let mut rig = Rig::new();
        for _ in 0..100 {
            assert_eq!(rig.call(outcome, None), [], "{outcome:?}");
        }
    }
}

#[test]
fn a_missing_model_locks_that_model_only() {
    let mut rig = Rig::new();

    rig.call(Outcome::ModelFault, None);

    assert!(rig.health.lockouts().until("m", rig.now).is_some());
    assert_eq!(rig.health.cooling(rig.now), None);
}

#[test]
fn a_dead_key_needs_two_opinions_and_simultaneous_ones_are_one() {
    let mut rig = Rig::new();
    let burst: Vec<_> = (0..10).map(|_| rig.admitted()).collect();
    burst.into_iter().for_each(|call| drop(rig.ends(call, Outcome::AuthRefused, None)));
    assert_eq!(rig.health.terminal(), None);

    rig.now = rig.now.after(Duration::from_secs(10));
    let changes = rig.call(Outcome::AuthRefused, None);

    assert!(changes.contains(&Transition::BecameTerminal(Terminal::Expired)));
}

#[test]
fn a_success_between_two_refusals_clears_the_suspicion() {
    let mut rig = Rig::new();
    rig.call(Outcome::AuthRefused, None);
    rig.now = rig.now.after(Duration::from_secs(10));
    rig.call(Outcome::Success, None);

    rig.call(Outcome::AuthRefused, None);

    assert_eq!(rig.health.terminal(), None);
}

#[test]
fn terminal_states_outlive_cooldowns_and_end_with_a_new_credential() {
    let mut rig = Rig::new();
    rig.call(Outcome::CreditsExhausted, None);
    rig.call(Outcome::RateLimited, Some(1));
    rig.now = rig.now.after(Duration::from_secs(60));
    assert_eq!(rig.health.terminal(), Some(Terminal::CreditsExhausted));

    rig.health.forgive_credential(rig.now);

    assert_eq!(rig.health.terminal(), None);
}

#[test]
fn each_scope_of_a_reset_clears_its_own() {
    let mut rig = Rig::new();
    rig.call(Outcome::RateLimited, Some(600));
    rig.call(Outcome::ModelFault, None);

    assert_eq!(rig.health.reset(&ResetScope::Breakers, rig.now), []);
    assert!(rig.health.cooling(rig.now).is_some());
    assert_eq!(rig.health.reset(&ResetScope::Cooldowns, rig.now), [Transition::CooldownCleared]);
    assert!(rig.health.lockouts().until("m", rig.now).is_some());
    assert_eq!(rig.health.reset(&ResetScope::Lockouts(None), rig.now), [Transition::ModelsUnlocked(1)]);
}

#[test]
fn what_is_remembered_restores_the_same_health() {
    let mut rig = Rig::new();
    rig.call(Outcome::RateLimited, Some(600));
    rig.call(Outcome::ModelFault, None);
    rig.call(Outcome::Banned, None);

    let copy = Health::restore(HealthSettings::default(), rig.health.remembered(rig.now));

    assert_eq!(copy.cooling(rig.now), rig.health.cooling(rig.now));
    assert_eq!(copy.lockouts(), rig.health.lockouts());
    assert_eq!(copy.terminal(), Some(Terminal::Banned));
}

#[test]
fn only_a_success_that_tried_it_on_purpose_brings_a_dead_connection_back() {
    let mut rig = Rig::new();
    let early = rig.admitted();
    rig.call(Outcome::CreditsExhausted, None);

    rig.ends(early, Outcome::Success, None);
    assert_eq!(rig.health.terminal(), Some(Terminal::CreditsExhausted), "it was on its way before");
    rig.terminal_probe = true;
    rig.call(Outcome::CreditsExhausted, None);
    assert_eq!(rig.health.terminal(), Some(Terminal::CreditsExhausted));
    let changes = rig.call(Outcome::Success, None);

    assert_eq!(changes, [Transition::TerminalCleared(Terminal::CreditsExhausted)]);
}

#[test]
fn a_ladder_that_nobody_climbed_for_long_begins_lower() {
    let mut rig = Rig::new();
    for _ in 0..4 {
        rig.call(Outcome::RateLimited, None);
        rig.now = rig.health.cooling(rig.now).unwrap().until;
    }
    rig.now = rig.now.after(backoff::HALF_LIFE);

    rig.call(Outcome::RateLimited, None);

    assert_eq!(rig.health.cooling(rig.now).unwrap().until.since(rig.now), Duration::from_secs(12));
}
