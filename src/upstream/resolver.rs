//! Names to addresses: cached, never on a worker's own time, and filtered by the address policy.
//!
//! A good answer is used for `fresh_for`. After that the name is asked again, and if that fails or dawdles the old answer
//! serves for `stale_for` more: a provider's address rarely changes in the minutes in which a name server is down.

use std::{
    cell::RefCell,
    collections::HashMap,
    error::Error,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_tls::connect::Resolve;
use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, Shared},
};
use tokio::time::{Instant, timeout};

use super::{connector::ConnectFailure, policy::AddressPolicy};

/// How a name is looked up; it may block, it runs on the blocking pool.
pub type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

type Addresses = Arc<[IpAddr]>;
type Pending = Shared<LocalBoxFuture<'static, Result<Addresses, String>>>;
type InFlight = RefCell<HashMap<String, Pending>>;

/// How long a renewed lookup may keep a request waiting while an older answer is at hand.
const PATIENCE: Duration = Duration::from_secs(1);
const CACHED_NAMES: u64 = 4096;

/// How long answers live.
#[derive(Debug, Clone, Copy)]
pub struct DnsSettings {
    /// Use an answer without asking again for this long.
    pub fresh_for: Duration,
    /// Afterwards, use it this much longer while the name cannot be looked up.
    pub stale_for: Duration,
}

/// Ask the operating system.
pub fn system_lookup() -> Lookup {
    Arc::new(|host| Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
}

#[derive(Clone)]
struct Answer {
    addresses: Addresses,
    at: Instant,
}

/// The answers of all worker threads.
pub(super) struct DnsCache {
    answers: moka::sync::Cache<String, Answer>,
    settings: DnsSettings,
    lookup: Lookup,
}

impl DnsCache {
    pub(super) fn new(settings: DnsSettings, lookup: Lookup) -> Arc<Self> {
        let answers = moka::sync::Cache::builder()
            .max_capacity(CACHED_NAMES)
            .time_to_live(settings.fresh_for.saturating_add(settings.stale_for))
            .build();
        Arc::new(Self { answers, settings, lookup })
    }
}

/// One per worker thread; lookups of the same name that overlap on a thread are one lookup.
#[derive(Clone)]
pub struct Resolver {
    cache: Arc<DnsCache>,
    policy: Arc<AddressPolicy>,
    in_flight: Rc<InFlight>,
}

impl Resolver {
    pub(super) fn new(cache: Arc<DnsCache>, policy: Arc<AddressPolicy>) -> Self {
        Self { cache, policy, in_flight: Rc::default() }
    }

    /// The addresses of `host` that may be connected to, IPv4 and IPv6 taking turns.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectFailure> {
        let addresses = match literal(host) {
            Some(address) => Arc::from([address]),
            None => self.look_up(host).await.map_err(|detail| ConnectFailure::Dns { host: host.to_owned(), detail })?,
        };
        self.permitted(host, port, &addresses)
    }

    /// The same for a proxy, which may listen at any port of a public address.
    pub async fn resolve_any_port(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectFailure> {
        self.policy.check_proxy(host, port)?;
        self.resolve(host, port).await
    }

    fn permitted(&self, host: &str, port: u16, addresses: &[IpAddr]) -> Result<Vec<SocketAddr>, ConnectFailure> {
        let mut refused = None;
        let mut permitted = Vec::with_capacity(addresses.len());
        for address in interleaved(addresses) {
            match self.policy.check_address(host, port, address) {
                Ok(()) => permitted.push(SocketAddr::new(address, port)),
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        match refused {
            Some(refusal) if permitted.is_empty() => Err(ConnectFailure::Refused(refusal)),
            _ => Ok(permitted),
        }
    }

    async fn look_up(&self, host: &str) -> Result<Addresses, String> {
        let known = self.cache.answers.get(host);
        match known {
            None => self.ask(host).await,
            Some(answer) if answer.at.elapsed() < self.cache.settings.fresh_for => Ok(answer.addresses),
            Some(answer) => match timeout(PATIENCE, self.ask(host)).await {
                Ok(Ok(addresses)) => Ok(addresses),
                Ok(Err(_)) | Err(_) => Ok(answer.addresses),
            },
        }
    }

    fn ask(&self, host: &str) -> Pending {
        if let Some(pending) = self.in_flight.borrow().get(host) {
            return pending.clone();
        }
        let pending = self.question(host.to_owned()).boxed_local().shared();
        self.in_flight.borrow_mut().insert(host.to_owned(), pending.clone());
        pending
    }

    fn question(&self, host: String) -> impl Future<Output = Result<Addresses, String>> + 'static {
        let cache = Arc::clone(&self.cache);
        // Weak, because the question is itself kept in this table.
        let in_flight = Rc::downgrade(&self.in_flight);
        async move {
            let (lookup, name) = (Arc::clone(&cache.lookup), host.clone());
            let found = actix_rt::task::spawn_blocking(move || lookup(&name)).await;
            if let Some(in_flight) = in_flight.upgrade() {
                in_flight.borrow_mut().remove(&host);
            }
            let addresses = addresses_of(found)?;
            cache.answers.insert(host, Answer { addresses: Arc::clone(&addresses), at: Instant::now() });
            Ok(addresses)
        }
    }
}

fn addresses_of(found: Result<io::Result<Vec<IpAddr>>, tokio::task::JoinError>) -> Result<Addresses, String> {
    match found {
        Ok(Ok(addresses)) if addresses.is_empty() => Err("the name has no addresses".to_owned()),
        Ok(Ok(addresses)) => Ok(addresses.into()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the lookup was abandoned".to_owned()),
    }
}

impl Resolve for Resolver {
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> LocalBoxFuture<'a, Result<Vec<SocketAddr>, Box<dyn Error>>> {
        Box::pin(async move { self.resolve(host, port).await.map_err(Into::into) })
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// IPv4 first, then in turns, so that a broken IPv6 path costs one stagger and not the deadline.
fn interleaved(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(IpAddr::is_ipv4);
    let turns = v4.len().max(v6.len());
    (0..turns).flat_map(|turn| [v4.get(turn), v6.get(turn)]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const FRESH: Duration = Duration::from_secs(60);
    const STALE: Duration = Duration::from_secs(300);

    fn resolver(lookup: Lookup) -> Resolver {
        let cache = DnsCache::new(DnsSettings { fresh_for: FRESH, stale_for: STALE }, lookup);
        Resolver::new(cache, Arc::default())
    }

    fn counted(
        count: &Arc<AtomicUsize>,
        answer: impl Fn(usize) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Lookup {
        let count = Arc::clone(count);
        Arc::new(move |_| answer(count.fetch_add(1, Ordering::SeqCst)))
    }

    fn public() -> Vec<IpAddr> {
        vec!["8.8.8.8".parse().unwrap()]
    }

    #[actix_rt::test]
    async fn a_fresh_answer_is_not_asked_for_again() {
        let asked = Arc::default();
        let resolver = resolver(counted(&asked, |_| Ok(public())));

        resolver.resolve("api.example.com", 443).await.unwrap();
        resolver.resolve("api.example.com", 443).await.unwrap();

        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[actix_rt::test]
    async fn overlapping_lookups_of_one_name_are_one_lookup() {
        let asked = Arc::default();
        let resolver = resolver(counted(&asked, |_| Ok(public())));

        let all = futures_util::future::join_all((0..50).map(|_| resolver.resolve("api.example.com", 443))).await;

        assert!(all.iter().all(Result::is_ok));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(resolver.in_flight.borrow().is_empty());
    }

    #[actix_rt::test]
    async fn an_old_answer_serves_while_the_name_server_is_down() {
        let asked = Arc::default();
        let cache = DnsCache::new(
            DnsSettings { fresh_for: Duration::ZERO, stale_for: STALE },
            counted(&asked, |n| if n == 0 { Ok(public()) } else { Err(io::Error::other("SERVFAIL")) }),
        );
        let resolver = Resolver::new(cache, Arc::default());

        resolver.resolve("api.example.com", 443).await.unwrap();
        let second = resolver.resolve("api.example.com", 443).await.unwrap();

        assert_eq!(second, vec!["8.8.8.8:443".parse().unwrap()]);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[actix_rt::test]
    async fn an_unknown_name_is_a_dns_failure_and_not_a_refusal() {
        let resolver = resolver(Arc::new(|_| Err(io::Error::other("NXDOMAIN"))));

        let failure = resolver.resolve("nowhere.example", 443).await.unwrap_err();

        assert!(matches!(failure, ConnectFailure::Dns { .. }), "{failure:?}");
        assert!(resolver.in_flight.borrow().is_empty());
    }

    #[actix_rt::test]
    async fn private_addresses_are_filtered_and_alone_they_are_a_refusal() {
        let mixed = resolver(Arc::new(|_| Ok(vec!["10.0.0.1".parse().unwrap(), "8.8.8.8".parse().unwrap()])));
        let inside = resolver(Arc::new(|_| Ok(vec!["10.0.0.1".parse().unwrap()])));

        let permitted = mixed.resolve("api.example.com", 443).await.unwrap();
        let failure = inside.resolve("api.example.com", 443).await.unwrap_err();

        assert_eq!(permitted, vec!["8.8.8.8:443".parse().unwrap()]);
        assert!(matches!(failure, ConnectFailure::Refused(_)), "{failure:?}");
    }

    #[test]
    fn addresses_take_turns_with_ipv4_first() {
        let [a, b, c, d]: [IpAddr; 4] =
            ["2606::1", "2606::2", "8.8.8.8", "8.8.4.4"].map(|address| address.parse().unwrap());

        assert_eq!(interleaved(&[a, b, c, d]), vec![c, a, d, b]);
        assert_eq!(interleaved(&[a, b]), vec![a, b]);
    }
}
