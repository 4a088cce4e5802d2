//! Rules that a single key's type cannot express: ranges, shapes, and how keys relate to each other.

use std::net::IpAddr;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::filter::LevelFilter;

use super::environment::Environment;
use super::resilience::{Breaker, Cooldown};
use super::secret::{Secret, SecretError};
use super::section::{Node, Violation};
use super::{Config, Server, Storage, Usage};

const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

impl Config {
    /// Every value that its type allows and its meaning does not.
    pub fn validate(&self, environment: &Environment) -> Vec<Violation> {
        let mut found = Vec::new();
        self.check("", &mut found);
        self.check_server(&mut found);
        self.check_secrets(environment, &mut found);
        self.check_admin(environment, &mut found);
        self.check_storage(environment, &mut found);
        self.check_upstream(&mut found);
        self.check_deadlines(&mut found);
        self.check_resilience(&mut found);
        self.check_logging(&mut found);
        found
    }

    fn check_server(&self, found: &mut Vec<Violation>) {
        let server = &self.server;
        let odd = |c: char| c.is_whitespace() || matches!(c, '/' | '@');
        let port_inside = server.host.contains(':') && server.host.parse::<IpAddr>().is_err();
        if server.host.is_empty() || server.host.contains(odd) || port_inside {
            found.push(Violation::new("server.host", "expected an address or a host name without a port"));
        }
        if !self.auth.require_api_key && !server.is_loopback() {
            let message = format!("must be true while server.host is {}, which others can reach", server.host);
            found.push(Violation::new("auth.require_api_key", message));
        }
        for origin in server.cors_allowed_origins.iter().filter(|origin| !is_origin(origin)) {
            let message = format!("`{origin}` is no origin; write it like https://example.org, or *");
            found.push(Violation::new("server.cors_allowed_origins", message));
        }
        if self.auth.session_idle_s > self.auth.session_absolute_s {
            found.push(Violation::new("auth.session_idle_s", "is longer than auth.session_absolute_s"));
        }
    }

    fn secrets(&self) -> [(&'static str, &Secret); 7] {
        [
            ("oidc.client_secret", &self.oidc.client_secret),
            ("sync.peer_token", &self.sync.peer_token),
            ("sync.shared_key", &self.sync.shared_key),
            ("auth.initial_password", &self.auth.initial_password),
            ("auth.service_key", &self.auth.service_key),
            ("storage.database_url", &self.storage.database_url),
            ("storage.master_key", &self.storage.master_key),
        ]
    }

    fn check_secrets(&self, environment: &Environment, found: &mut Vec<Violation>) {
        for (key, secret) in self.secrets() {
            if let Err(error) = secret.resolve_in(environment) {
                found.push(Violation::new(key, error.to_string()));
            }
        }
    }

    fn check_admin(&self, environment: &Environment, found: &mut Vec<Violation>) {
        let addresses = [
            ("server.public_url", &self.server.public_url),
            ("oidc.issuer", &self.oidc.issuer),
            ("sync.peer_url", &self.sync.peer_url),
        ];
        for (key, address) in addresses.into_iter().filter(|(_, address)| !address.is_empty() && !is_address(address)) {
            found.push(Violation::new(
                key,
                format!("`{address}` is no address; write it like https://example.org/path"),
            ));
        }
        if !self.oidc.issuer.is_empty() && self.oidc.client_id.is_empty() {
            found.push(Violation::new("oidc.client_id", "must be set when oidc.issuer is"));
        }
        if !self.oidc.issuer.is_empty() && self.server.public_url.is_empty() {
            found.push(Violation::new(
                "server.public_url",
                "must be set when oidc.issuer is: the provider sends browsers there",
            ));
        }
        if let Ok(Some(key)) = self.sync.shared_key.resolve_in(environment)
            && !key.expose_secret().is_empty()
            && key.expose_secret().chars().count() < 32
        {
            found.push(Violation::new("sync.shared_key", "must have at least 32 characters"));
        }
        if !self.sync.peer_url.is_empty() && self.sync.shared_key.is_empty() {
            found.push(Violation::new("sync.shared_key", "must be set when sync.peer_url is"));
        }
    }

    fn check_storage(&self, environment: &Environment, found: &mut Vec<Violation>) {
        if self.storage.data_dir.as_os_str().is_empty() {
            found.push(Violation::new("storage.data_dir", "expected a directory"));
        }
        let Ok(url) = self.storage.resolve_database_url(environment) else { return };
        let url = url.expose_secret();
        let postgres = POSTGRES.iter().any(|scheme| url.starts_with(scheme));
        if !postgres && url.strip_prefix("sqlite:").is_none_or(str::is_empty) {
            let message = "expected `sqlite:PATH` or `postgres://USER@HOST/DATABASE`";
            found.push(Violation::new("storage.database_url", message));
        }
        if postgres && self.storage.master_key.is_empty() {
            let message = "must be set when the database is PostgreSQL: several instances have to share it";
            found.push(Violation::new("storage.master_key", message));
        }
    }

    fn check_upstream(&self, found: &mut Vec<Violation>) {
        let upstream = &self.upstream;
        if upstream.keep_alive_s > upstream.lifetime_s {
            found.push(Violation::new("upstream.keep_alive_s", "is longer than upstream.lifetime_s"));
        }
        if url::Url::parse(&upstream.proxy_test_url).is_err() {
            found.push(Violation::new("upstream.proxy_test_url", "expected a URL"));
        }
        if !upstream.user_agent.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
            found.push(Violation::new("upstream.user_agent", "expected printable ASCII"));
        }
    }

    fn check_deadlines(&self, found: &mut Vec<Violation>) {
        let deadlines = &self.deadlines;
        let parts = [("first_content_ms", deadlines.first_content_ms), ("idle_ms", deadlines.idle_ms)];
        for (name, _) in parts.iter().filter(|(_, part)| *part > deadlines.total_ms) {
            found.push(Violation::new(format!("deadlines.{name}"), "is longer than deadlines.total_ms"));
        }
    }

    fn check_resilience(&self, found: &mut Vec<Violation>) {
        let breaker = &self.resilience.provider_breaker;
        for (class, breaker) in [("oauth", &breaker.oauth), ("apikey", &breaker.apikey), ("local", &breaker.local)] {
            check_breaker(&format!("resilience.provider_breaker.{class}"), breaker, found);
        }
        let cooldown = &self.resilience.connection_cooldown;
        for (class, cooldown) in [("oauth", &cooldown.oauth), ("apikey", &cooldown.apikey), ("local", &cooldown.local)]
        {
            check_cooldown(&format!("resilience.connection_cooldown.{class}"), cooldown, found);
        }
    }

    fn check_logging(&self, found: &mut Vec<Violation>) {
        let directive = |part: &str| match part.trim().rsplit_once('=') {
            Some((target, level)) => !target.is_empty() && level.parse::<LevelFilter>().is_ok(),
            None => part.trim().parse::<LevelFilter>().is_ok(),
        };
        if let Some(part) = self.logging.level.split(',').find(|part| !directive(part)) {
            let message = format!("`{part}` is neither error, warn, info, debug, trace, off nor `target=level`");
            found.push(Violation::new("logging.level", message));
        }
    }
}

fn check_breaker(path: &str, breaker: &Breaker, found: &mut Vec<Violation>) {
    if breaker.degradation_threshold > breaker.failure_threshold {
        let message = "is higher than failure_threshold, so it would never be reached";
        found.push(Violation::new(format!("{path}.degradation_threshold"), message));
    }
    if breaker.reset_timeout_ms > breaker.max_open_ms {
        found.push(Violation::new(format!("{path}.reset_timeout_ms"), "is longer than max_open_ms"));
    }
}

fn check_cooldown(path: &str, cooldown: &Cooldown, found: &mut Vec<Violation>) {
    if cooldown.base_cooldown_ms > cooldown.max_cooldown_ms {
        found.push(Violation::new(format!("{path}.base_cooldown_ms"), "is longer than max_cooldown_ms"));
    }
}

/// An address that a path can be appended to.
fn is_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "https" | "http")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

fn is_origin(text: &str) -> bool {
    let is_url = |url: url::Url| matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text;
    text == "*" || url::Url::parse(text).is_ok_and(is_url)
}

impl Server {
    /// Whether only this machine can reach the gateway.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl Storage {
    /// The URL of the database, that of the embedded one in the data directory when none is set.
    pub fn resolve_database_url(&self, environment: &Environment) -> Result<SecretString, SecretError> {
        let embedded = || format!("sqlite:{}", self.data_dir.join("omniroute.sqlite").display());
        Ok(self.database_url.resolve_in(environment)?.unwrap_or_else(|| SecretString::from(embedded())))
    }
}

impl Usage {
    /// The directory of the journal, the one in the data directory when none is set.
    pub fn journal_dir(&self, storage: &Storage) -> PathBuf {
        if self.journal_dir.as_os_str().is_empty() {
            storage.data_dir.join("journal")
        } else {
            self.journal_dir.clone()
        }
    }
}
