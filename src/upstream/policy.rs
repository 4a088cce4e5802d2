//! Which addresses a provider URL may name and reach: pure, asked when a URL is saved and again at each connect.
//!
//! A provider URL is typed in by somebody who may manage connections but not the machine, so it must not become a way
//! to reach the machine's own network. Public hosts are reached over https on 443 or 80; everything else has to be
//! listed in `upstream.allow_private_hosts`, one exact `host:port` (or `host:*`) at a time. A listed *name* may resolve
//! to private space; link-local (where clouds keep their metadata service), multicast and unspecified addresses must be
//! listed by address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

#[cfg(test)]
mod tests;

/// The setting that a refusal tells the operator about.
const SETTING: &str = "upstream.allow_private_hosts";

/// The rules and their exceptions.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    exceptions: Vec<Exception>,
    allow_http: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Exception {
    host: Host<String>,
    /// `None` is `*`: each port.
    port: Option<u16>,
}

/// An exception list that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// One entry is neither `host:port` nor `host:*`.
    #[error("`{entry}` in {SETTING} is not `host:port` or `host:*` (write IPv6 in brackets, one host per entry)")]
    BadException {
        /// The entry as it was written.
        entry: String,
    },
}

/// Why a URL or an address was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither `https` nor `http`.
    #[error("the scheme `{scheme}` is not allowed, use https")]
    Scheme {
        /// The scheme found.
        scheme: String,
    },
    /// Plain http to a host that is not listed.
    #[error("plain http to `{host}` is not allowed: use https, or list `{host}:{port}` in {SETTING}")]
    PlainHttp {
        /// The host named by the URL.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A name or password inside the URL.
    #[error("the URL must not carry a user name or password")]
    UserInfo,
    /// A URL without a usable host.
    #[error("the URL has no host")]
    NoHost,
    /// A port other than 80 and 443.
    #[error("port {port} on `{host}` is not allowed: list `{host}:{port}` in {SETTING}")]
    Port {
        /// The host named by the URL.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A name that means this machine by definition.
    #[error("`{host}` is this machine: list `{host}:{port}` in {SETTING} to allow it")]
    LocalName {
        /// The host named by the URL.
        host: String,
        /// Its port.
        port: u16,
    },
    /// An address outside the public internet.
    #[error(
        "`{host}` is at {address}, {} {range} address: list `{host}:{port}` (or the address itself) in {SETTING}",
        .range.article()
    )]
    Address {
        /// The host named by the URL.
        host: String,
        /// Its port.
        port: u16,
        /// The address it stands for.
        address: IpAddr,
        /// The range this address belongs to.
        range: AddressRange,
    },
}

impl Refusal {
    /// The host that was refused, where there is one.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::PlainHttp { host, .. }
            | Self::Port { host, .. }
            | Self::LocalName { host, .. }
            | Self::Address { host, .. } => Some(host),
            Self::Scheme { .. } | Self::UserInfo | Self::NoHost => None,
        }
    }
}

/// The kinds of address that are not the public internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressRange {
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// `10/8`, `172.16/12`, `192.168/16`.
    Private,
    /// `100.64/10`, shared by carriers and overlay networks.
    CarrierNat,
    /// `169.254/16`, `fe80::/10`.
    LinkLocal,
    /// `fc00::/7` and the older `fec0::/10`.
    UniqueLocal,
    /// `224/4`, `ff00::/8`.
    Multicast,
    /// `0/8`, `::`.
    Unspecified,
    /// `255.255.255.255`.
    Broadcast,
    /// Addresses reserved for examples in documents.
    Documentation,
    /// `198.18/15`, `2001:2::/48`.
    Benchmark,
    /// An IPv4 address inside an IPv6 one (mapped, NAT64, 6to4, Teredo).
    Translated,
    /// Everything else the registries keep back.
    Reserved,
}

impl std::fmt::Display for AddressRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::CarrierNat => "carrier-grade NAT",
            Self::LinkLocal => "link-local",
            Self::UniqueLocal => "unique local",
            Self::Multicast => "multicast",
            Self::Unspecified => "unspecified",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Benchmark => "benchmark",
            Self::Translated => "translated",
            Self::Reserved => "reserved",
        })
    }
}

impl AddressRange {
    const fn article(self) -> &'static str {
        if matches!(self, Self::Unspecified) { "an" } else { "a" }
    }

    /// Whether listing a host name is enough to reach this range, or the address itself has to be listed.
    const fn reachable_by_name(self) -> bool {
        matches!(
            self,
            Self::Loopback
                | Self::Private
                | Self::CarrierNat
                | Self::UniqueLocal
                | Self::Documentation
                | Self::Benchmark
                | Self::Translated
        )
    }
}

impl AddressPolicy {
    /// Read the exception list.
    pub fn new(allow_private_hosts: &[String], allow_http: bool) -> Result<Self, PolicyError> {
        let exceptions = allow_private_hosts.iter().map(|entry| Exception::parse(entry)).collect::<Result<_, _>>()?;
        Ok(Self { exceptions, allow_http })
    }

    /// May this URL be saved as a provider's?
    pub fn check_url(&self, url: &Url) -> Result<(), Refusal> {
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(Refusal::Scheme { scheme: other.to_owned() }),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        let host = url.host_str().ok_or(Refusal::NoHost)?;
        let port = url.port_or_known_default().ok_or(Refusal::NoHost)?;
        self.check_endpoint(secure, host, port)
    }

    /// May this host and port be dialled at all? What the name stands for is asked by [`Self::check_address`].
    pub fn check_endpoint(&self, secure: bool, host: &str, port: u16) -> Result<(), Refusal> {
        let named = normal_host(host).ok_or(Refusal::NoHost)?;
        if !self.lists(&named, port) {
            if !secure && !self.allow_http {
                return Err(Refusal::PlainHttp { host: host.to_owned(), port });
            }
            if !matches!(port, 80 | 443) {
                return Err(Refusal::Port { host: host.to_owned(), port });
            }
            if is_local_name(&named) {
                return Err(Refusal::LocalName { host: host.to_owned(), port });
            }
        }
        literal(&named).map_or(Ok(()), |address| self.check_address(host, port, address))
    }

    /// May a proxy stand at this host and port? Proxies listen at ports of their own.
    pub fn check_proxy(&self, host: &str, port: u16) -> Result<(), Refusal> {
        let named = normal_host(host).ok_or(Refusal::NoHost)?;
        if is_local_name(&named) && !self.lists(&named, port) {
            return Err(Refusal::LocalName { host: host.to_owned(), port });
        }
        literal(&named).map_or(Ok(()), |address| self.check_address(host, port, address))
    }

    /// May `address`, which `host` stands for right now, be connected to?
    pub fn check_address(&self, host: &str, port: u16, address: IpAddr) -> Result<(), Refusal> {
        let Some(range) = range_of(address) else { return Ok(()) };
        let listed = normal_host(host).is_some_and(|named| {
            let by_address = literal(&named) == Some(address);
            (by_address || range.reachable_by_name()) && self.lists(&named, port)
        });
        if listed { Ok(()) } else { Err(Refusal::Address { host: host.to_owned(), port, address, range }) }
    }

    fn lists(&self, host: &Host<String>, port: u16) -> bool {
        self.exceptions
            .iter()
            .any(|exception| exception.host == *host && exception.port.is_none_or(|listed| listed == port))
    }
}

impl Exception {
    fn parse(entry: &str) -> Result<Self, PolicyError> {
        Self::read(entry.trim()).ok_or_else(|| PolicyError::BadException { entry: entry.to_owned() })
    }

    fn read(entry: &str) -> Option<Self> {
        let (host, port) = entry.rsplit_once(':')?;
        let port = match port {
            "*" => None,
            number => Some(number.parse().ok().filter(|port| *port != 0)?),
        };
        // `*` is a legal character for the URL parser; here it would read like the wildcard that we do not offer.
        let host = if host.contains('*') { None } else { normal_host(host) }?;
        Some(Self { host, port })
    }
}

/// One spelling per host: lower case, punycode, no final dot, numbers in any base as an address.
fn normal_host(host: &str) -> Option<Host<String>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    match Host::parse(host).ok()? {
        Host::Domain(name) if name.is_empty() => None,
        parsed => Some(parsed),
    }
}

fn literal(host: &Host<String>) -> Option<IpAddr> {
    match host {
        Host::Ipv4(address) => Some(IpAddr::V4(*address)),
        Host::Ipv6(address) => Some(IpAddr::V6(*address)),
        Host::Domain(_) => None,
    }
}

fn is_local_name(host: &Host<String>) -> bool {
    matches!(host, Host::Domain(name) if name == "localhost" || name.ends_with(".localhost"))
}

/// The range that keeps `address` off the public internet, or `None` for a public one.
pub fn range_of(address: IpAddr) -> Option<AddressRange> {
    match address {
        IpAddr::V4(address) => range_of_v4(address),
        IpAddr::V6(address) => range_of_v6(address),
    }
}

fn range_of_v4(address: Ipv4Addr) -> Option<AddressRange> {
    use AddressRange as R;
    Some(match address.octets() {
        [0, ..] => R::Unspecified,
        [127, ..] => R::Loopback,
        [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => R::Private,
        [100, 64..=127, ..] => R::CarrierNat,
        [169, 254, ..] => R::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => R::Documentation,
        [192, 0, 0, _] => R::Reserved,
        [192, 88, 99, _] => R::Translated,
        [198, 18..=19, ..] => R::Benchmark,
        [224..=239, ..] => R::Multicast,
        [255, 255, 255, 255] => R::Broadcast,
        [240..=255, ..] => R::Reserved,
        _ => return None,
    })
}

fn range_of_v6(address: Ipv6Addr) -> Option<AddressRange> {
    use AddressRange as R;
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => R::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => R::Loopback,
        // IPv4-compatible, IPv4-mapped, SIIT and NAT64: judged by the IPv4 address inside, and never public.
        [0, 0, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => range_of_v4(embedded(high, low)).unwrap_or(R::Translated),
        [0x64, 0xff9b, ..] | [0x2001, 0, ..] => R::Translated,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => R::Documentation,
        [0x2001, 2, 0, ..] => R::Benchmark,
        [0x2001, 1..=0x1ff, ..] => R::Reserved,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => R::UniqueLocal,
        [0xfe80..=0xfebf, ..] => R::LinkLocal,
        [0xff00..=0xffff, ..] => R::Multicast,
        [0x2000..=0x3fff, ..] => return None,
        _ => R::Reserved,
    })
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}
