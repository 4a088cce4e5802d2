//! Where a request comes from, believed only as far as the configured proxies reach.
//!
//! The list in `X-Forwarded-For` is read from the right: each proxy we trust vouches for the entry to its left, and the
//! first entry that is no trusted proxy is the client. Whatever stands further left was written by the client itself.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;

use crate::config::Network;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The client's address; unknown on a socket without one.
    pub ip: Option<IpAddr>,
    /// Whether the client came over https, as far as a trusted proxy says so.
    pub secure: bool,
}

impl Origin {
    /// Of this request.
    pub fn of(request: &HttpRequest, trusted: &[Network]) -> Self {
        let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
        let by_proxy = peer.is_some_and(|peer| is_trusted(peer, trusted));
        Self { ip: client_ip(peer, request.headers(), trusted), secure: by_proxy && says_https(request.headers()) }
    }
}

/// The client's address: the right-most entry that no trusted proxy is.
pub fn client_ip(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    let mut client = peer?.to_canonical();
    let entries: Vec<&str> =
        headers.get_all(FORWARDED_FOR).flat_map(|value| value.to_str().unwrap_or("unreadable").split(',')).collect();
    for entry in entries.into_iter().rev() {
        if !is_trusted(client, trusted) {
            break;
        }
        // Beyond an entry that is no address nobody vouches for anything.
        let Some(address) = address(entry) else { break };
        client = address;
    }
    Some(client)
}

fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5`.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse::<IpAddr>().ok().or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

fn says_https(headers: &HeaderMap) -> bool {
    let last = headers.get_all(FORWARDED_PROTO).last().and_then(|value| value.to_str().ok());
    last.and_then(|value| value.rsplit(',').next()).is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use rstest::rstest;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(HeaderName::from_static(FORWARDED_FOR), HeaderValue::from_str(value).unwrap());
        }
        let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        client_ip(Some(ip(peer)), &headers, &trusted).unwrap().to_string()
    }

    #[rstest]
    #[case::without_a_trusted_proxy_the_header_is_noise("9.9.9.9", &["1.1.1.1"], &[], "9.9.9.9")]
    #[case::a_direct_client_cannot_pretend("9.9.9.9", &["127.0.0.1"], &["10.0.0.0/8"], "9.9.9.9")]
    #[case::the_proxys_entry_counts("10.0.0.1", &["9.9.9.9"], &["10.0.0.0/8"], "9.9.9.9")]
    #[case::an_entry_of_the_clients_own_is_ignored("10.0.0.1", &["1.1.1.1, 9.9.9.9"], &["10.0.0.0/8"], "9.9.9.9")]
    #[case::two_proxies_are_walked_back("10.0.0.1", &["9.9.9.9, 10.0.0.2"], &["10.0.0.0/8"], "9.9.9.9")]
    #[case::a_spoofed_trusted_address_left_of_the_client("10.0.0.1", &["10.9.9.9, 9.9.9.9"], &["10.0.0.0/8"], "9.9.9.9")]
    #[case::several_headers_are_one_list("10.0.0.1", &["1.1.1.1", "9.9.9.9"], &["10.0.0.1"], "9.9.9.9")]
    #[case::garbage_stops_the_walk("10.0.0.1", &["9.9.9.9, unknown"], &["10.0.0.0/8"], "10.0.0.1")]
    #[case::an_empty_header_is_no_entry("10.0.0.1", &[""], &["10.0.0.0/8"], "10.0.0.1")]
    #[case::ports_are_cut_off("10.0.0.1", &["9.9.9.9:4711"], &["10.0.0.0/8"], "9.9.9.9")]
    #[case::ipv6_with_brackets_and_port("10.0.0.1", &["[2001:db8::1]:4711"], &["10.0.0.0/8"], "2001:db8::1")]
    #[case::ipv4_in_ipv6_clothes_is_itself("::ffff:10.0.0.1", &["::ffff:9.9.9.9"], &["10.0.0.0/8"], "9.9.9.9")]
    #[case::only_proxies_means_the_farthest_one("10.0.0.1", &["10.0.0.3, 10.0.0.2"], &["10.0.0.0/8"], "10.0.0.3")]
    fn a_client_cannot_choose_its_address(
        #[case] peer: &str,
        #[case] forwarded: &[&str],
        #[case] trusted: &[&str],
        #[case] expected: &str,
    ) {
        assert_eq!(seen(peer, forwarded, trusted), expected);
    }

    #[test]
    fn the_last_word_on_the_protocol_is_the_proxys() {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(FORWARDED_PROTO), HeaderValue::from_static("https, http"));

        assert!(!says_https(&headers));
    }
}
