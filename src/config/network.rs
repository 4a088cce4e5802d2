//! Addresses in the configuration: networks of trusted proxies and exceptions to the address policy.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A network such as `10.0.0.0/8`; a bare address is the network of that one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    /// Whether the address lies inside; an IPv4 address in IPv6 clothes counts as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| format!("`{text}` is no network; write it like 10.0.0.0/8 or ::1"))
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

/// One exact exception to the address policy: a host with one port, or with any (`host:*`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostException {
    host: String,
    port: Option<u16>,
}

impl HostException {
    /// Whether this exception names the host and the port. IPv6 hosts may come with or without brackets.
    pub fn allows(&self, host: &str, port: u16) -> bool {
        self.host.eq_ignore_ascii_case(bare(host)) && self.port.is_none_or(|own| own == port)
    }

    /// The host, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The one port, or `None` for any.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host)
}

impl FromStr for HostException {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no `host:port` or `host:*`");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = match port {
            "*" => None,
            port => Some(port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(wrong)?),
        };
        let unbracketed = bare(host);
        let ambiguous = unbracketed == host && host.contains(':');
        if unbracketed.is_empty() || ambiguous || unbracketed.contains(['/', '@', ' ', '*', '[', ']']) {
            return Err(wrong());
        }
        Ok(Self { host: unbracketed.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for HostException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) => write!(f, "{host}:{port}"),
            None => write!(f, "{host}:*"),
        }
    }
}

impl TryFrom<String> for HostException {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HostException> for String {
    fn from(exception: HostException) -> Self {
        exception.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_allows_its_host_and_port_only() {
        let exact: HostException = "127.0.0.1:8000".parse().unwrap();
        let any_port: HostException = "LLM.internal:*".parse().unwrap();

        let verdicts = [
            exact.allows("127.0.0.1", 8000),
            exact.allows("127.0.0.1", 8001),
            exact.allows("127.0.0.2", 8000),
            any_port.allows("llm.internal", 1),
            any_port.allows("other.internal", 1),
        ];

        assert_eq!(verdicts, [true, false, false, true, false]);
    }

    #[test]
    fn an_ipv6_exception_is_written_with_brackets_and_matches_with_and_without() {
        let exception: HostException = "[::1]:8000".parse().unwrap();

        let verdicts = [exception.allows("::1", 8000), exception.allows("[::1]", 8000)];

        assert_eq!(verdicts, [true, true]);
        assert_eq!(exception.to_string(), "[::1]:8000");
    }

    #[test]
    fn what_is_no_host_and_port_is_refused() {
        for text in ["", "localhost", ":80", "localhost:0", "localhost:99999", "::1:80", "http://a:80", "*:*", "a:b"] {
            assert!(text.parse::<HostException>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_bare_address_is_a_network_of_one_host() {
        let network: Network = "10.1.2.3".parse().unwrap();

        let inside = network.contains("::ffff:10.1.2.3".parse().unwrap());
        let outside = network.contains("10.1.2.4".parse().unwrap());

        assert!(inside && !outside);
    }
}
