//! TLS to PostgreSQL, beside the client library instead of inside it.
//!
//! The bundled libpq is built without TLS so that a bare machine can build the gateway. When the url asks for TLS,
//! libpq is pointed at a unix socket in a private directory; for each connection on it we dial the server, ask for
//! TLS the way PostgreSQL wants it asked, and relay.

mod handshake;
mod tunnel;
mod verify;

pub(crate) use tunnel::Tunnel;

use std::path::PathBuf;

use url::{Host, Url};

use super::StoreError;

/// How much of the server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verify {
    /// Encryption only.
    Nothing,
    /// The chain up to a given root.
    Chain,
    /// The chain and the host name.
    Full,
}

/// Where the server is and how to trust it.
#[derive(Debug, Clone)]
pub(crate) struct TlsSettings {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) verify: Verify,
    pub(crate) root_file: Option<PathBuf>,
}

/// Take the TLS parameters out of the url; `None` when it asks for no TLS.
pub(crate) fn take_settings(url: &mut Url) -> Result<Option<TlsSettings>, StoreError> {
    let mode = take_parameter(url, "sslmode");
    let root_file = take_parameter(url, "sslrootcert").filter(|file| file != "system").map(PathBuf::from);
    for unsupported in ["sslcert", "sslkey", "sslcrl", "sslnegotiation", "channel_binding"] {
        if url.query_pairs().any(|(key, _)| key == unsupported) {
            return Err(StoreError::Invalid(format!("the postgres url parameter {unsupported} is not supported")));
        }
    }
    let verify = match mode.as_deref() {
        None | Some("disable") => {
            warn_if_remote(url);
            return Ok(None);
        }
        Some("require") if root_file.is_none() => Verify::Nothing,
        Some("require" | "verify-ca") => Verify::Chain,
        Some("verify-full") => Verify::Full,
        Some(_) => {
            let text = "sslmode must be disable, require, verify-ca or verify-full: a mode that falls back to plain text is refused";
            return Err(StoreError::Invalid(text.into()));
        }
    };
    if verify == Verify::Chain && root_file.is_none() {
        let text = "sslmode=verify-ca needs sslrootcert: any public authority would vouch for any server";
        return Err(StoreError::Invalid(text.into()));
    }
    let host = tcp_host(url)?;
    Ok(Some(TlsSettings { host, port: url.port().unwrap_or(5432), verify, root_file }))
}

/// Send libpq to the tunnel, which listens under the server's own port number.
pub(crate) fn point_at_tunnel(url: &mut Url, tunnel: &Tunnel) -> Result<(), StoreError> {
    let invalid = |_| StoreError::Invalid("the postgres url cannot be changed to use the TLS tunnel".into());
    url.set_port(None).map_err(|()| invalid(()))?;
    // Without a host in the authority, libpq takes it from the parameters, where it may be a directory.
    url.set_host(Some("")).or_else(|_| url.set_host(Some("localhost"))).map_err(|_| invalid(()))?;
    url.query_pairs_mut()
        .append_pair("host", &tunnel.directory().to_string_lossy())
        .append_pair("port", &tunnel.port().to_string())
        .append_pair("sslmode", "disable");
    Ok(())
}

fn tcp_host(url: &Url) -> Result<String, StoreError> {
    let host = match url.host() {
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(host) => host.to_string(),
        None => String::new(),
    };
    let unsupported = ["host", "hostaddr", "port"].iter().any(|name| url.query_pairs().any(|(key, _)| key == *name));
    if host.is_empty() || host.contains(',') || host.contains('%') || unsupported {
        return Err(StoreError::Invalid("TLS to postgres needs exactly one host, in the url's authority".into()));
    }
    Ok(host)
}

fn warn_if_remote(url: &Url) {
    let local = match url.host() {
        None => true,
        Some(Host::Domain(name)) => {
            name.is_empty() || name == "localhost" || name.starts_with("%2F") || name.starts_with("%2f")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
    };
    if !local {
        tracing::warn!("the connection to postgres is not encrypted; add sslmode=verify-full to its url");
    }
}

fn take_parameter(url: &mut Url, name: &str) -> Option<String> {
    let all: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let (taken, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(|(key, _)| key == name);
    if !taken.is_empty() {
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
    }
    taken.into_iter().next_back().map(|(_, value)| value)
}
