//! The numbers of the resilience core, as the configuration gives them.

use std::time::Duration;

/// How a breaker decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it.
    pub failure_threshold: u32,
    /// Failures in a row that mark it degraded.
    pub degradation_threshold: u32,
    /// First time it stays open; doubles with every cycle.
    pub reset_timeout: Duration,
    /// Longest time it stays open.
    pub max_open: Duration,
    /// Length of the rolling window.
    pub window: Duration,
    /// Calls in the window below which the rate is not looked at.
    pub minimum_calls: u32,
    /// Share of failures in the window that opens it, in percent.
    pub failure_rate_percent: u32,
    /// Probes that must succeed one after the other to close it.
    pub half_open_successes: u32,
    /// How long a probe may hold its place.
    pub probe_lease: Duration,
    /// A call whose first content takes longer is a slow one.
    pub slow_call: Duration,
    /// Share of slow calls in the window that opens it, in percent; 0 = slowness opens nothing.
    pub slow_call_rate_percent: u32,
    /// How long traffic takes to come back to a busy connection; zero = at once.
    pub ramp: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failure_threshold: 12,
            degradation_threshold: 7,
            reset_timeout: Duration::from_secs(30),
            max_open: Duration::from_secs(300),
            window: Duration::from_secs(30),
            minimum_calls: 10,
            failure_rate_percent: 50,
            half_open_successes: 1,
            probe_lease: Duration::from_secs(30),
            slow_call: Duration::from_secs(60),
            slow_call_rate_percent: 0,
            ramp: Duration::from_secs(10),
        }
    }
}

/// How long a refusing connection is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CooldownSettings {
    /// First step of the ladder.
    pub base: Duration,
    /// Steps after which the ladder stops growing.
    pub max_steps: u32,
    /// Longest cooldown without a hint.
    pub max: Duration,
    /// Whether the provider's own hint is believed.
    pub use_hints: bool,
}

impl Default for CooldownSettings {
    fn default() -> Self {
        Self { base: Duration::from_secs(3), max_steps: 5, max: Duration::from_secs(60), use_hints: true }
    }
}

/// All of them, for one class of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthSettings {
    /// The breaker.
    pub breaker: BreakerSettings,
    /// The cooldown.
    pub cooldown: CooldownSettings,
    /// How often a connection that is out of service is tried; zero = never.
    pub terminal_probe: Duration,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            breaker: BreakerSettings::default(),
            cooldown: CooldownSettings::default(),
            terminal_probe: Duration::from_secs(900),
        }
    }
}
