//! Breakers, cooldowns and queues, for the three classes of connections: oauth, apikey and local.
//!
//! Each class has its own defaults, so a single class read on its own (not through the loader) would get those of
//! `apikey`; the loader always lays a file over the complete defaults.

use super::section::section;

section! {
    /// What keeps a failing account or provider from spoiling calls.
    pub struct Resilience {
        /// Pace of the calls through one connection.
        request_queue: RequestQueue = RequestQueue::default();
        /// How long a connection rests after a failure.
        connection_cooldown: ConnectionCooldown = ConnectionCooldown::default();
        /// When a connection is taken out, and how it comes back.
        provider_breaker: ProviderBreaker = ProviderBreaker::default();
        /// Waiting for the first connection to come back when all of them rest.
        wait_for_cooldown: WaitForCooldown = WaitForCooldown::default();
    }
}

section! {
    /// Pace of the calls through one connection.
    pub struct RequestQueue {
        /// Pace every connection that has an API key, not only those switched to rate limit protection.
        auto_enable_api_key_providers: bool = false;
        /// Calls per minute.
        requests_per_minute: u32 = 100, within 1..=1_000_000;
        /// Tokens per minute, prompt and answer together; 0 = no limit.
        tokens_per_minute: u64 = 0, within 0..=1_000_000_000_000;
        /// Smallest gap between two calls.
        min_time_between_requests_ms: u64 = 200, within 0..=3_600_000;
        /// Calls at the same time.
        concurrent_requests: u32 = 10, within 1..=10_000;
        /// Calls that may wait for a turn; 0 = none does.
        max_queue_depth: u32 = 64, within 0..=10_000;
        /// Longest wait for a turn.
        max_wait_ms: u64 = 120_000, within 1..=86_400_000;
    }
}

section! {
    /// How long a connection rests after a failure, per class.
    pub struct ConnectionCooldown {
        /// Connections that signed in with an account.
        oauth: Cooldown = Cooldown { base_cooldown_ms: 5000, max_backoff_steps: 8, ..Cooldown::default() };
        /// Connections with an API key.
        apikey: Cooldown = Cooldown::default();
        /// Servers of one's own.
        local: Cooldown = Cooldown { base_cooldown_ms: 2000, max_backoff_steps: 3, ..Cooldown::default() };
    }
}

section! {
    /// The rest after a failure, doubling from failure to failure.
    pub struct Cooldown {
        /// First rest.
        base_cooldown_ms: u64 = 3000, within 0..=86_400_000;
        /// Believe `Retry-After` and rate-limit headers instead.
        use_upstream_retry_hints: bool = true;
        /// How many times the rest doubles.
        max_backoff_steps: u32 = 5, within 0..=32;
        /// Longest rest that no provider asked for.
        max_cooldown_ms: u64 = 60_000, within 0..=86_400_000;
        /// How often one request tries a connection that is out of service (expired, banned, out of credits), so that it
        /// comes back by itself; 0 = never.
        terminal_probe_interval_s: u64 = 900, within 0..=604_800;
    }
}

section! {
    /// When a connection is taken out, per class.
    pub struct ProviderBreaker {
        /// Connections that signed in with an account.
        oauth: Breaker = Breaker {
            failure_threshold: 8, degradation_threshold: 5, reset_timeout_ms: 60_000, ..Breaker::default()
        };
        /// Connections with an API key.
        apikey: Breaker = Breaker::default();
        /// Servers of one's own.
        local: Breaker = Breaker {
            failure_threshold: 2, degradation_threshold: 1, reset_timeout_ms: 15_000, minimum_calls: 4,
            ..Breaker::default()
        };
    }
}

section! {
    /// A breaker opens on consecutive failures or on a failure rate over a rolling window.
    pub struct Breaker {
        /// Consecutive failures that open it.
        failure_threshold: u32 = 12, within 1..=1000;
        /// Consecutive failures that mark the connection as degraded.
        degradation_threshold: u32 = 7, within 1..=1000;
        /// Time until the first probe; doubles while probes fail.
        reset_timeout_ms: u64 = 30_000, within 1000..=86_400_000;
        /// Window of the failure rate.
        window_ms: u64 = 30_000, within 1000..=3_600_000;
        /// Calls in the window before the rate counts.
        minimum_calls: u32 = 10, within 1..=100_000;
        /// Share of failures that opens it.
        failure_rate_percent: u32 = 50, within 1..=100;
        /// A call whose first content takes longer is a slow one.
        slow_call_ms: u64 = 60_000, within 1..=86_400_000;
        /// Share of slow calls that opens it; 0 = slowness opens nothing.
        slow_call_rate_percent: u32 = 0, within 0..=100;
        /// How long the traffic of a busy connection takes to come back after the last probe; 0 = all of it at once.
        ramp_ms: u64 = 10_000, within 0..=3_600_000;
        /// Longest time until the next probe.
        max_open_ms: u64 = 300_000, within 1000..=86_400_000;
        /// Probes that must succeed to close it.
        half_open_successes: u32 = 1, within 1..=100;
        /// A probe that has not ended by then gives its place to another.
        probe_lease_ms: u64 = 30_000, within 100..=3_600_000;
    }
}

section! {
    /// Waiting for the first connection to come back when all of them rest.
    pub struct WaitForCooldown {
        /// Wait at all; off, the client gets 429 with `Retry-After` at once.
        enabled: bool = false;
        /// How many times a call waits.
        max_retries: u32 = 3, within 0..=10;
        /// Longest single wait; a longer rest is answered at once with its `Retry-After`.
        max_retry_wait_sec: u64 = 30, within 0..=300;
    }
}
