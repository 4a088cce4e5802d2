//! Which client addresses are let in, before anybody asks who they are. Pure: the time is an argument.
//!
//! The address is the client's own as the configured proxies vouch for it; IPv4 in IPv6 clothes counts as IPv4.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Stored;
use crate::config::Network;

/// The words for modes.
pub const MODES: [&str; 4] = ["blacklist", "whitelist", "blocklist", "allowlist"];

/// Which list counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// All but these.
    #[default]
    #[serde(alias = "blocklist")]
    Blacklist,
    /// Only these.
    #[serde(alias = "allowlist")]
    Whitelist,
}

/// An address that is kept out for a while, whatever the lists say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The address.
    pub ip: IpAddr,
    /// Until when, in milliseconds since the epoch.
    pub until: i64,
    /// Why.
    pub reason: String,
}

/// The filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IpFilter {
    /// Whether any of it counts.
    pub enabled: bool,
    /// Which list counts.
    pub mode: Mode,
    /// Networks that are kept out.
    pub blacklist: Vec<Network>,
    /// Networks that are let in.
    pub whitelist: Vec<Network>,
    /// Addresses that are kept out for a while.
    pub temp_bans: Vec<Ban>,
}

impl<'de> Deserialize<'de> for IpFilter {
    /// A line that cannot be read must not open the door for all the others.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Row {
            #[serde(default)]
            enabled: bool,
            #[serde(default)]
            mode: Mode,
            #[serde(default)]
            blacklist: Vec<Value>,
            #[serde(default)]
            whitelist: Vec<Value>,
            #[serde(default)]
            temp_bans: Vec<Value>,
        }
        let Row { enabled, mode, blacklist, whitelist, temp_bans } = Row::deserialize(deserializer)?;
        let (blacklist, whitelist) = (readable(blacklist), readable(whitelist));
        Ok(Self { enabled, mode, blacklist, whitelist, temp_bans: readable(temp_bans) })
    }
}

fn readable<T: serde::de::DeserializeOwned>(lines: Vec<Value>) -> Vec<T> {
    let read = |line: Value| {
        serde_json::from_value(line.clone())
            .inspect_err(|error| tracing::error!(%error, %line, "a line of the stored address filter cannot be read"))
            .ok()
    };
    lines.into_iter().filter_map(read).collect()
}

impl Stored for IpFilter {
    const KEY: &'static str = "ipFilter";
}

impl IpFilter {
    /// Whether a client at this address is let in. Who has none is on no list.
    pub fn admits(&self, address: Option<IpAddr>, now: i64) -> bool {
        if !self.enabled {
            return true;
        }
        let Some(address) = address else { return self.mode == Mode::Blacklist };
        let address = address.to_canonical();
        let listed = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        let banned = self.temp_bans.iter().any(|ban| ban.until > now && ban.ip.to_canonical() == address);
        !banned
            && match self.mode {
                Mode::Blacklist => !listed(&self.blacklist),
                Mode::Whitelist => listed(&self.whitelist),
            }
    }

    /// Forget bans that are over.
    pub fn forget_past(&mut self, now: i64) {
        self.temp_bans.retain(|ban| ban.until > now);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn filter(value: Value) -> IpFilter {
        IpFilter::of(Some(&value))
    }

    #[rstest]
    #[case::listed("blacklist", "10.1.2.3", false)]
    #[case::mapped("blacklist", "::ffff:10.1.2.3", false)]
    #[case::other("blacklist", "11.0.0.1", true)]
    #[case::ipv6("blacklist", "2001:db8:1::5", false)]
    #[case::other_ipv6("blacklist", "2001:db9::5", true)]
    #[case::only_listed("whitelist", "10.1.2.3", true)]
    #[case::only_listed_mapped("allowlist", "::ffff:10.1.2.3", true)]
    #[case::not_listed("allowlist", "11.0.0.1", false)]
    fn each_mode_has_its_list(#[case] mode: &str, #[case] address: &str, #[case] admitted: bool) {
        let list = json!(["10.0.0.0/8", "2001:db8::/32"]);
        let filter = filter(json!({"enabled": true, "mode": mode, "blacklist": list, "whitelist": list}));

        assert_eq!(filter.admits(Some(address.parse().unwrap()), 0), admitted);
    }

    #[test]
    fn a_ban_ends_by_itself_and_counts_before_the_lists() {
        let bans = json!([{"ip": "::ffff:9.9.9.9", "until": 100, "reason": "x"}]);
        let filter = filter(json!({"enabled": true, "mode": "whitelist", "whitelist": ["9.9.9.9"], "tempBans": bans}));
        let address = Some("9.9.9.9".parse().unwrap());

        assert!(!filter.admits(address, 99));
        assert!(filter.admits(address, 100));
    }

    #[test]
    fn what_cannot_be_read_opens_nothing_else() {
        let filter = filter(json!({"enabled": true, "blacklist": ["nonsense", 7, "9.9.9.9"]}));

        assert!(!filter.admits(Some("9.9.9.9".parse().unwrap()), 0));
        assert!(filter.admits(Some("9.9.9.8".parse().unwrap()), 0));
        assert!(filter.admits(None, 0));
        assert!(!IpFilter { mode: Mode::Whitelist, ..filter }.admits(None, 0));
        assert!(IpFilter::default().admits(Some("9.9.9.9".parse().unwrap()), 0));
    }
}
