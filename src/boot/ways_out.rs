//! The settings of the ways out: to providers, and to what clients name by URL.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{Config, Upstream};
use crate::providers::exchange::odd_hosts;
use crate::upstream::UpstreamSettings;

/// The settings of the one way out. The demo's address is an exception of its own, and so are the places of the catalogue
/// on odd ports: nobody has to list them.
pub(super) fn upstream_settings(upstream: &Upstream, demo: Option<SocketAddr>) -> UpstreamSettings {
    let listed = upstream.allow_private_hosts.iter().map(ToString::to_string);
    let connect_timeout = Duration::from_millis(upstream.connect_timeout_ms);
    UpstreamSettings {
        connect_timeout,
        handshake_timeout: connect_timeout,
        keep_alive: Duration::from_secs(upstream.keep_alive_s),
        connection_lifetime: Duration::from_secs(upstream.lifetime_s),
        dns_cache: Duration::from_secs(upstream.dns_cache_s),
        dns_stale: Duration::from_secs(upstream.dns_stale_s),
        allow_private_hosts: listed.chain(demo.map(|address| address.to_string())).chain(odd_hosts()).collect(),
        allow_http: upstream.allow_http,
        extra_roots: upstream.extra_roots.clone(),
        user_agent: upstream.user_agent.clone(),
        checked_addresses: false,
    }
}

/// The settings of the way to what clients name by URL. Who may call the gateway does not for that reason reach what an
/// operator let it reach as a provider.
pub(super) fn web_settings(config: &Config) -> UpstreamSettings {
    let listed = config.routing.fetch_private_hosts.iter().map(ToString::to_string).collect();
    UpstreamSettings {
        allow_private_hosts: listed,
        checked_addresses: true,
        ..upstream_settings(&config.upstream, None)
    }
}
