//! The proxies of the way out as they are stored: the password sealed for its own place, so that it opens nowhere else.
//!
//! A proxy that cannot be read is not left out: its calls would go past it. They fail with a word about it instead.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Stored;
use crate::infra::crypto::{CryptoError, KEY_VERSION, Vault};
use crate::upstream::{Proxy, ProxyKind, Way, Ways};

/// Nothing has this name (RFC 2606), so nothing is reached under it.
const UNREADABLE: &str = "unreadable-proxy-setting.invalid";

/// Where a proxy is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// For everything.
    Global,
    /// For a provider, by its id.
    Provider(String),
    /// For a combo, by its name.
    Combo(String),
    /// For a connection, by its id.
    Connection(String),
}

impl Place {
    /// The word of its level.
    pub const fn level(&self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Provider(_) => "provider",
            Self::Combo(_) => "combo",
            Self::Connection(_) => "key",
        }
    }

    /// Whose it is.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Global => None,
            Self::Provider(id) | Self::Combo(id) | Self::Connection(id) => Some(id),
        }
    }

    fn aad(&self) -> String {
        format!("settings.proxies|{}|{}|password|{KEY_VERSION}", self.level(), self.id().unwrap_or_default())
    }
}

/// A proxy, or the word that there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// `http`, `https`, `socks5` or `direct`.
    pub r#type: String,
    /// Where it is.
    #[serde(default)]
    pub host: String,
    /// At which port.
    #[serde(default)]
    pub port: u16,
    /// Who it knows us as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The sealed password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    /// Go without it when it cannot be used.
    #[serde(default)]
    pub fallback_to_direct: bool,
}

/// The word for no proxy at all.
pub const DIRECT: &str = "direct";

impl Entry {
    /// Put the password under seal.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn seal(&mut self, place: &Place, password: &SecretString, vault: &Vault) -> Result<(), CryptoError> {
        self.sealed = Some(vault.seal(&place.aad(), password)?);
        Ok(())
    }

    /// The password, if there is one and it opens here.
    pub fn password(&self, place: &Place, vault: &Vault) -> Option<SecretString> {
        vault.open(&place.aad(), self.sealed.as_ref()?).ok()
    }

    /// Whether both are the same place to log in at: a password goes nowhere else.
    pub fn is_at(&self, other: &Self) -> bool {
        (&self.r#type, &self.host, self.port, &self.username)
            == (&other.r#type, &other.host, other.port, &other.username)
    }

    /// The proxy, or what fails in its place.
    pub fn way(&self, place: &Place, vault: &Vault) -> Way {
        if self.r#type == DIRECT {
            return Way::Direct;
        }
        let read = || {
            let password = match &self.sealed {
                Some(sealed) => vault.open(&place.aad(), sealed).ok()?,
                None => SecretString::default(),
            };
            let login = self.username.clone().map(|name| (name, password));
            let kind = ProxyKind::parse(&self.r#type)?;
            let (host, port) = (self.host.clone(), self.port);
            Some(Proxy { kind, host, port, login, fallback_to_direct: self.fallback_to_direct })
        };
        Way::Through(Arc::new(read().unwrap_or_else(|| unreadable(place))))
    }
}

fn unreadable(place: &Place) -> Proxy {
    tracing::error!(level = place.level(), id = place.id(), "a stored proxy cannot be read, its calls will fail");
    let (kind, host) = (ProxyKind::Http, UNREADABLE.to_owned());
    Proxy { kind, host, port: 1, login: None, fallback_to_direct: false }
}

/// Every proxy that operators set.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Proxies {
    /// For everything.
    pub global: Option<Value>,
    /// By the provider's id.
    pub providers: BTreeMap<String, Value>,
    /// By the combo's name.
    pub combos: BTreeMap<String, Value>,
    /// By the connection's id.
    pub keys: BTreeMap<String, Value>,
}

impl<'de> Deserialize<'de> for Proxies {
    /// Entries are read one by one when they are used.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(default)]
        #[derive(Default)]
        struct Row {
            global: Option<Value>,
            providers: BTreeMap<String, Value>,
            combos: BTreeMap<String, Value>,
            keys: BTreeMap<String, Value>,
        }
        let Row { global, providers, combos, keys } = Row::deserialize(deserializer)?;
        Ok(Self { global, providers, combos, keys })
    }
}

impl Stored for Proxies {
    const KEY: &'static str = "proxies";
}

impl Proxies {
    /// What is set at a place, as it is stored.
    pub fn at(&self, place: &Place) -> Option<Entry> {
        let value = match place {
            Place::Global => self.global.as_ref(),
            Place::Provider(id) => self.providers.get(id),
            Place::Combo(id) => self.combos.get(id),
            Place::Connection(id) => self.keys.get(id),
        };
        serde_json::from_value(value?.clone()).ok()
    }

    /// Set it, or clear the place.
    pub fn set(&mut self, place: &Place, entry: Option<&Entry>) {
        let value = entry.map(|entry| serde_json::to_value(entry).unwrap_or_default());
        let (list, id) = match place {
            Place::Global => return self.global = value,
            Place::Provider(id) => (&mut self.providers, id),
            Place::Combo(id) => (&mut self.combos, id),
            Place::Connection(id) => (&mut self.keys, id),
        };
        match value {
            Some(value) => drop(list.insert(id.clone(), value)),
            None => drop(list.remove(id)),
        }
    }

    /// Every place where something is set.
    pub fn places(&self) -> Vec<Place> {
        let named = |list: &BTreeMap<String, Value>, place: fn(String) -> Place| -> Vec<Place> {
            list.keys().cloned().map(place).collect()
        };
        let global = self.global.iter().filter(|value| !value.is_null()).map(|_| Place::Global);
        let named = [
            named(&self.providers, Place::Provider),
            named(&self.combos, Place::Combo),
            named(&self.keys, Place::Connection),
        ];
        global.chain(named.into_iter().flatten()).collect()
    }

    /// The ways out. `homes` are the providers of the connections.
    pub fn ways(&self, vault: &Vault, homes: HashMap<String, String>) -> Ways {
        let mut ways = Ways { homes, ..Ways::default() };
        for place in self.places() {
            let entry = self.at(&place);
            let way = match &entry {
                Some(entry) => entry.way(&place, vault),
                None => Way::Through(Arc::new(unreadable(&place))),
            };
            match place {
                Place::Global => ways.global = Some(way),
                Place::Provider(id) => drop(ways.providers.insert(id, way)),
                Place::Combo(id) => drop(ways.combos.insert(id, way)),
                Place::Connection(id) => drop(ways.connections.insert(id, way)),
            }
        }
        ways
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::infra::crypto::MasterKey;
    use crate::upstream::Caller;

    fn vault() -> Vault {
        Vault::new(&MasterKey::from_bytes([7; 32]))
    }

    fn entry() -> Entry {
        let value = json!({"type": "socks5", "host": "proxy.example", "port": 1080, "username": "me"});
        serde_json::from_value(value).unwrap()
    }

    fn host(ways: &Ways, connection: &str) -> Option<String> {
        ways.of(Caller { connection: Some(connection), ..Caller::default() }).map(|proxy| proxy.host.clone())
    }

    #[test]
    fn a_password_opens_only_where_it_was_set() {
        let (here, there) = (Place::Connection("c1".into()), Place::Connection("c2".into()));
        let mut sealed = entry();
        sealed.seal(&here, &"canary".into(), &vault()).unwrap();
        let mut proxies = Proxies::default();
        proxies.set(&here, Some(&sealed));
        proxies.set(&there, Some(&sealed));

        let ways = proxies.ways(&vault(), HashMap::new());

        assert!(!serde_json::to_string(&proxies).unwrap().contains("canary"));
        assert_eq!(host(&ways, "c1").as_deref(), Some("proxy.example"));
        assert_eq!(host(&ways, "c2").as_deref(), Some(UNREADABLE));
    }

    #[test]
    fn what_cannot_be_read_is_not_passed_by() {
        let proxies =
            Proxies::of(Some(&json!({"global": {"type": "direct"}, "keys": {"c1": 7, "c2": {"type": "ftp"}}})));

        let ways = proxies.ways(&vault(), HashMap::new());

        assert_eq!([host(&ways, "c1"), host(&ways, "c2")], [Some(UNREADABLE.into()), Some(UNREADABLE.into())]);
        assert_eq!(host(&ways, "c3"), None);
    }

    #[test]
    fn a_cleared_place_is_empty() {
        let mut proxies = Proxies::default();
        let places =
            [Place::Global, Place::Provider("p".into()), Place::Combo("c".into()), Place::Connection("k".into())];
        for place in &places {
            proxies.set(place, Some(&entry()));
        }
        assert_eq!(proxies.places(), places);

        for place in &places {
            proxies.set(place, None);
        }

        assert_eq!(proxies, Proxies::default());
    }
}
