//! The sections about the process itself: where it listens, whom it lets in, where it keeps things, what it says.

use std::path::PathBuf;

use super::network::Network;
use super::secret::Secret;
use super::section::section;
use super::setting::{LedgerUnavailable, LogFormat, When};

section! {
    /// Where the gateway listens and how it treats its clients' connections.
    pub struct Server {
        /// Address to listen on; leave it on loopback and put nginx in front.
        host: String = "127.0.0.1".to_owned();
        /// Port to listen on; 0 takes a free one.
        port: u16 = 20128;
        /// Where clients and browsers find the gateway, for example `https://gateway.example.org`; empty takes what a
        /// request names.
        public_url: String = String::new();
        /// Worker threads; 0 takes one per core.
        workers: usize = 0, within 0..=1024;
        /// Client connections at a time over all workers; more wait to be accepted.
        max_connections: usize = 25_000, within 1..=10_000_000;
        /// Largest request body; keep nginx's `client_max_body_size` equal.
        max_body_bytes: usize = 64 * 1024 * 1024, within 1024..=1_073_741_824;
        /// Time a client has to send its whole body.
        body_read_timeout_ms: u64 = 30_000, within 100..=3_600_000;
        /// How long an idle client connection stays open; must outlive nginx's 60 s.
        keep_alive_s: u64 = 75, within 61..=3600;
        /// Networks of proxies whose `X-Forwarded-For` is believed.
        trusted_proxies: Vec<Network> = Vec::new();
        /// After SIGTERM: time during which new calls are still accepted while readiness says no.
        drain_delay_ms: u64 = 5000, within 0..=600_000;
        /// After SIGTERM: time that running streams have to end.
        drain_timeout_s: u64 = 600, within 0..=86_400;
        /// Origins of web pages that may call the API (`*` for any); none by default.
        cors_allowed_origins: Vec<String> = Vec::new();
    }
}

section! {
    /// Who may call, and how the management session behaves.
    pub struct Auth {
        /// Whether `/v1` asks for a client key; may be false only while the host is loopback.
        require_api_key: bool = true;
        /// Whether a client key may stand in the address (`?key=`), as Google's examples have it. Addresses end up in
        /// the logs of proxies.
        query_key: bool = false;
        /// First management password; used once, while none is stored.
        initial_password: Secret = Secret::default();
        /// Whether the session cookie carries `Secure`; auto does when the client came over https.
        cookie_secure: When = When::Auto;
        /// A management session ends after this time without a call.
        session_idle_s: u64 = 1800, within 60..=2_592_000;
        /// A management session ends after this time in any case.
        session_absolute_s: u64 = 43_200, within 60..=2_592_000;
        /// Failed logins from one address before it is locked out.
        login_attempts: u32 = 5, within 1..=1000;
        /// How long an address is locked out.
        login_lockout_s: u64 = 900, within 1..=86_400;
        /// A client key that is valid beside those in the store.
        service_key: Secret = Secret::default();
    }
}

section! {
    /// Where everything durable lives.
    pub struct Storage {
        /// Directory of the database, the journal and the generated master key.
        data_dir: PathBuf = PathBuf::from("data");
        /// `sqlite:PATH` or `postgres://...`; empty is `omniroute.sqlite` in the data directory.
        database_url: Secret = Secret::default();
        /// Key that encrypts stored credentials; empty makes one in the data directory (SQLite only).
        master_key: Secret = Secret::default();
        /// Connections that read from the database.
        readers: u32 = 4, within 1..=64;
        /// While usage cannot be written to the journal: answer and keep the last records in memory, or refuse calls.
        ledger_unavailable: LedgerUnavailable = LedgerUnavailable::Spool;
        /// Size of a journal that waits for the database beyond which `refuse` refuses; `spool` goes on.
        spool_max_bytes: u64 = 1024 * 1024 * 1024, within 1_048_576..=1_099_511_627_776;
    }
}

section! {
    /// What is written to standard error.
    pub struct Logging {
        /// A level (error, warn, info, debug, trace), or directives such as `info,omniroute=debug`.
        level: String = "info".to_owned();
        /// text, json, or auto (text on a terminal).
        format: LogFormat = LogFormat::Auto;
    }
}

section! {
    /// The built-in provider that lets a fresh installation answer.
    pub struct Demo {
        /// auto starts it only while no provider is configured.
        enabled: When = When::Auto;
        /// Same seed, same answers and same faults.
        seed: u64 = 7, within 0..=9_007_199_254_740_991;
        /// How often the misbehaving one of its two connections fails.
        failure_percent: u32 = 30, within 0..=100;
    }
}

section! {
    /// The append-only journal in which usage is safe before it reaches the store.
    pub struct Usage {
        /// Directory of the journal; empty is `journal` in the data directory.
        journal_dir: PathBuf = PathBuf::new();
        /// Longest time a record may wait to be forced to disk; 0 forces each one.
        fsync_ms: u64 = 100, within 0..=60_000;
        /// Size at which a new journal file is begun.
        segment_bytes: u64 = 16 * 1024 * 1024, within 65_536..=1_073_741_824;
        /// Keep a row for each attempt beside the one for the call.
        record_attempts: bool = true;
    }
}
