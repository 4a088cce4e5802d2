//! Proxies on the way out: which call takes which one, and how a tunnel through it is opened.
//!
//! ```text
//! connection > combo > provider > global > none        `direct` at a nearer level overrides a proxy at a farther one
//! ```
//! Every proxy has clients, and so pools, of its own: a tunnel is never used by a call that takes another way. A proxy that
//! cannot be used is a fault of our own path, never of the provider; only where an operator said `fallbackToDirect` the call
//! goes without it.

mod tunnel;

use std::collections::HashMap;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

pub(super) use tunnel::{Goal, Socket, open};

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// `CONNECT`.
    Http,
    /// `CONNECT` over TLS.
    Https,
    /// SOCKS version 5; the proxy resolves names.
    Socks5,
}

impl ProxyKind {
    /// Their words.
    pub const WORDS: [&'static str; 3] = ["http", "https", "socks5"];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        }
    }

    /// Reads a word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::Socks5].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// One proxy.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// How it is spoken to.
    pub kind: ProxyKind,
    /// Where it is; an IPv6 address without brackets.
    pub host: String,
    /// At which port.
    pub port: u16,
    /// Name and password, if it wants them.
    pub login: Option<(String, SecretString)>,
    /// Go without it when it cannot be used.
    pub fallback_to_direct: bool,
}

impl PartialEq for Proxy {
    fn eq(&self, other: &Self) -> bool {
        let login = |proxy: &Self| {
            proxy.login.as_ref().map(|(name, password)| (name.clone(), password.expose_secret().to_owned()))
        };
        (self.kind, &self.host, self.port, self.fallback_to_direct)
            == (other.kind, &other.host, other.port, other.fallback_to_direct)
            && login(self) == login(other)
    }
}

impl Proxy {
    /// Where it is, without its login.
    pub fn address(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{}://{host}:{}", self.kind.as_str(), self.port)
    }
}

/// How calls of one kind go out.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// Without a proxy, whatever is said farther away.
    Direct,
    /// Through this one.
    Through(Arc<Proxy>),
}

impl Way {
    fn proxy(&self) -> Option<Arc<Proxy>> {
        match self {
            Self::Direct => None,
            Self::Through(proxy) => Some(Arc::clone(proxy)),
        }
    }
}

/// Who makes a call, as far as its way out goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller<'a> {
    /// The connection's id.
    pub connection: Option<&'a str>,
    /// The combo that it serves.
    pub combo: Option<&'a str>,
    /// The provider's id, where it is known; else the connection tells.
    pub provider: Option<&'a str>,
}

impl<'a> Caller<'a> {
    /// This connection of this provider.
    pub const fn at(connection: &'a str, provider: &'a str) -> Self {
        Self { connection: Some(connection), combo: None, provider: Some(provider) }
    }
}

/// Every way that operators set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ways {
    /// For everything.
    pub global: Option<Way>,
    /// By the provider's id.
    pub providers: HashMap<String, Way>,
    /// By the combo's name.
    pub combos: HashMap<String, Way>,
    /// By the connection's id.
    pub connections: HashMap<String, Way>,
    /// The provider of each connection.
    pub homes: HashMap<String, String>,
}

impl Ways {
    /// The proxy of this caller.
    pub fn of(&self, caller: Caller<'_>) -> Option<Arc<Proxy>> {
        self.choice(caller).and_then(|(_, _, way)| way.proxy())
    }

    /// What is said for this caller: at which level, for whom, and what.
    pub fn choice<'a>(&'a self, caller: Caller<'a>) -> Option<(&'static str, Option<&'a str>, &'a Way)> {
        let home = || caller.connection.and_then(|id| self.homes.get(id)).map(String::as_str);
        let provider = caller.provider.or_else(home);
        let levels = [
            ("key", caller.connection, &self.connections),
            ("combo", caller.combo, &self.combos),
            ("provider", provider, &self.providers),
        ];
        let near = levels.into_iter().find_map(|(level, id, ways)| Some((level, id, ways.get(id?)?)));
        near.or_else(|| Some(("global", None, self.global.as_ref()?)))
    }

    /// The same, with the proxies of `before` where they are the same: their pools live on.
    pub(super) fn keeping(mut self, before: &Self) -> Self {
        let known: Vec<Arc<Proxy>> = before.all().filter_map(Way::proxy).collect();
        for way in self.all_mut() {
            if let Way::Through(proxy) = way
                && let Some(same) = known.iter().find(|known| *known == proxy)
            {
                *proxy = Arc::clone(same);
            }
        }
        self
    }

    fn all(&self) -> impl Iterator<Item = &Way> {
        let named = [&self.providers, &self.combos, &self.connections].into_iter().flat_map(HashMap::values);
        self.global.iter().chain(named)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Way> {
        let named = [&mut self.providers, &mut self.combos, &mut self.connections];
        self.global.iter_mut().chain(named.into_iter().flat_map(HashMap::values_mut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(port: u16) -> Way {
        let (kind, host) = (ProxyKind::Http, "proxy.example".to_owned());
        Way::Through(Arc::new(Proxy { kind, host, port, login: None, fallback_to_direct: false }))
    }

    fn one(id: &str, way: Way) -> HashMap<String, Way> {
        HashMap::from([(id.to_owned(), way)])
    }

    fn ways() -> Ways {
        Ways {
            global: Some(proxy(1)),
            providers: one("openai", proxy(2)),
            combos: one("team", proxy(3)),
            connections: one("c1", proxy(4)),
            homes: HashMap::from([("c2".to_owned(), "openai".to_owned())]),
        }
    }

    #[test]
    fn the_nearer_level_wins_and_direct_overrides() {
        let mut ways = ways();
        let port = |ways: &Ways, caller: Caller<'_>| ways.of(caller).map(|proxy| proxy.port);
        let team = |connection| Caller { combo: Some("team"), ..Caller::at(connection, "openai") };

        assert_eq!(port(&ways, team("c1")), Some(4));
        assert_eq!(port(&ways, team("c2")), Some(3));
        assert_eq!(port(&ways, Caller::at("c2", "openai")), Some(2));
        assert_eq!(port(&ways, Caller { connection: Some("c2"), ..Caller::default() }), Some(2));
        assert_eq!(port(&ways, Caller::at("c3", "groq")), Some(1));
        ways.connections.insert("c1".into(), Way::Direct);
        assert_eq!((port(&ways, team("c1")), port(&Ways::default(), team("c1"))), (None, None));
    }

    #[test]
    fn a_proxy_that_stays_the_same_stays_the_same_object() {
        let (before, mut after) = (ways(), ways());
        after.global = Some(proxy(9));

        let kept = after.keeping(&before);

        let c1 = Caller::at("c1", "openai");
        assert!(Arc::ptr_eq(&kept.of(c1).unwrap(), &before.of(c1).unwrap()));
        assert_eq!(kept.of(Caller::default()).unwrap().port, 9);
    }

    #[test]
    fn an_address_shows_no_login() {
        let login = Some(("name".to_owned(), SecretString::from("canary")));
        let proxy = Proxy { kind: ProxyKind::Socks5, host: "::1".into(), port: 1080, login, fallback_to_direct: false };

        assert_eq!(proxy.address(), "socks5://[::1]:1080");
        assert!(!format!("{proxy:?}").contains("canary"));
    }
}
