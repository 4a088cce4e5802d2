//! The sections about the way to the providers: connections, deadlines, routing.

use std::path::PathBuf;

use super::network::HostException;
use super::section::section;

section! {
    /// Connections to providers and what may be reached.
    pub struct Upstream {
        /// Private hosts that providers may live on all the same, as `host:port` or `host:*`.
        allow_private_hosts: Vec<HostException> = Vec::new();
        /// Allow plain http to public hosts; private hosts that are listed may always use it.
        allow_http: bool = false;
        /// Files in PEM form with certificate authorities to trust beside the public ones.
        extra_roots: Vec<PathBuf> = Vec::new();
        /// Time to resolve, connect and shake hands.
        connect_timeout_ms: u64 = 3000, within 50..=300_000;
        /// How long an idle connection to a provider is kept for the next call.
        keep_alive_s: u64 = 55, within 1..=3600;
        /// Age at which a connection to a provider is no longer reused.
        lifetime_s: u64 = 3600, within 1..=86_400;
        /// How long a resolved address is used.
        dns_cache_s: u64 = 60, within 0..=86_400;
        /// How long an old address is used when resolving fails.
        dns_stale_s: u64 = 300, within 0..=604_800;
        /// Largest answer that is not a stream.
        max_response_bytes: usize = 32 * 1024 * 1024, within 1024..=1_073_741_824;
        /// Largest single event of a stream.
        max_event_bytes: usize = 1024 * 1024, within 1024..=67_108_864;
        /// What the test of a proxy asks: a place that answers with the address of whoever asks.
        proxy_test_url: String = "https://api.ipify.org?format=json".to_owned();
        /// Value of `User-Agent` towards providers.
        user_agent: String = concat!("omniroute/", env!("CARGO_PKG_VERSION")).to_owned();
    }
}

section! {
    /// How long a call may take, phase by phase.
    pub struct Deadlines {
        /// Time to the first real content of one attempt.
        first_content_ms: u64 = 60_000, within 10..=3_600_000;
        /// Time to the whole answer of one attempt that is not streamed; then the next candidate is asked.
        whole_answer_ms: u64 = 300_000, within 10..=3_600_000;
        /// Longest silence between two pieces of content.
        idle_ms: u64 = 60_000, within 10..=3_600_000;
        /// Tokens per second below which a stream counts as stalled, looked at over the time of `idle_ms`; 0 = never.
        min_tokens_per_s: u64 = 0, within 0..=1_000_000;
        /// Whole call, all attempts together.
        total_ms: u64 = 600_000, within 10..=86_400_000;
        /// How long a client may refuse to read before its answer is given up and its connection closed.
        write_stall_ms: u64 = 60_000, within 10..=3_600_000;
    }
}

section! {
    /// How a call finds its connection.
    pub struct Routing {
        /// Attempts per call, the first included.
        max_attempts: u32 = 3, within 1..=6;
        /// Extra attempts per hundred calls of the last ten seconds, for each provider and for each client key.
        retry_budget_percent: u32 = 20, within 0..=1_000;
        /// Extra attempts per second that are always there beside it.
        retry_budget_floor_per_s: u32 = 3, within 0..=10_000;
        /// Refuse what a provider's format cannot carry (400) instead of leaving it out with a word in
        /// `x-omniroute-params-dropped`; a request may ask for it with `x-omniroute-strict: true`.
        strict_params: bool = false;
        /// Keep the turns of a conversation on one connection while that is healthy and not overloaded, so that they meet
        /// the provider's prompt cache; the session is shown as `x-omniroute-session`.
        affinity: bool = true;
        /// Name the session to providers that take one (`prompt_cache_key`), unless the client does it itself.
        forward_cache_key: bool = true;
        /// Try another candidate after an attempt whose request was written and never answered. The provider may have done
        /// that work, so it may be charged twice; off, such a request ends with 502 or 504.
        retry_maybe_accepted: bool = true;
        /// Give an attempt of a stream up when it is far slower than its connection usually is (four times the slowest
        /// hundredth, 2 s at least) and another candidate is free.
        learned_deadlines: bool = true;
        /// Hours for which answers of the Responses API are kept, so that `previous_response_id` works with every
        /// provider; 0 keeps none.
        responses_ttl_h: u64 = 24, within 0..=8_760;
        /// Answers of the Responses API that are made in the background at a time (`background: true`); 0 makes none.
        background_max: usize = 64, within 0..=100_000;
        /// The same for one client key.
        background_max_per_key: usize = 16, within 1..=100_000;
        /// Fetch pictures and documents that a request names by URL when the chosen provider takes bytes only; off, such
        /// a request is refused (400).
        fetch_urls: bool = true;
        /// Bytes that all URLs of one request may hold together.
        fetch_max_bytes: usize = 20 * 1024 * 1024, within 1024..=268_435_456;
        /// Time that all of them may take.
        fetch_timeout_ms: u64 = 10_000, within 10..=600_000;
        /// Private hosts from which they may come all the same, as `host:port` or `host:*`; anybody with a client key can
        /// make the gateway ask there. The list of providers does not count.
        fetch_private_hosts: Vec<HostException> = Vec::new();
        /// How deep combos may contain combos.
        max_combo_depth: u32 = 5, within 1..=16;
        /// Combo for calls that name no model; empty refuses them.
        default_combo: String = String::new();
    }
}

section! {
    /// Where providers come from beside the store.
    pub struct Providers {
        /// Make a connection of each provider key found under its usual name, such as OPENAI_API_KEY.
        from_environment: bool = true;
        /// Ask each provider for its list of models this often, for windows and prices that it tells; 0 = only when an operator
        /// looks at the list.
        learn_models_every_h: u64 = 24, within 0..=8760;
    }
}
