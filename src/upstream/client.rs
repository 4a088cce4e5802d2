//! The one place where `awc::Client` is built, with the settings that awc's defaults get wrong for long streams.

use std::{
    cell::RefCell,
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use awc::{
    Client, Connector,
    http::header::{HeaderValue, USER_AGENT},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{
    connector::{PolicyConnector, Through},
    policy::{AddressPolicy, PolicyError},
    proxy::{Caller, Proxy, Ways},
    resolver::{DnsCache, DnsSettings, Lookup, Resolver, system_lookup},
};

/// awc's own connect timeout is only a backstop behind ours, which tells more.
const BACKSTOP: Duration = Duration::from_secs(1);

/// How the gateway talks to providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Name lookup and TCP handshake together.
    pub connect_timeout: Duration,
    /// TLS handshake.
    pub handshake_timeout: Duration,
    /// How long an idle connection is kept; shorter than the provider's own.
    pub keep_alive: Duration,
    /// How old a connection may grow.
    pub connection_lifetime: Duration,
    /// How long a resolved name is used without asking again.
    pub dns_cache: Duration,
    /// How much longer it serves while the name cannot be resolved.
    pub dns_stale: Duration,
    /// Exact exceptions to the address policy, `host:port` or `host:*`.
    pub allow_private_hosts: Vec<String>,
    /// Allow plain http to public hosts.
    pub allow_http: bool,
    /// PEM files with certificate authorities to trust beside the public ones.
    pub extra_roots: Vec<PathBuf>,
    /// The `user-agent` of each request.
    pub user_agent: String,
    /// A proxy is told the address that was checked, never a name that it would resolve itself.
    pub checked_addresses: bool,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            handshake_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(55),
            connection_lifetime: Duration::from_secs(3600),
            dns_cache: Duration::from_secs(60),
            dns_stale: Duration::from_secs(300),
            allow_private_hosts: Vec::new(),
            allow_http: false,
            extra_roots: Vec::new(),
            user_agent: concat!("omniroute/", env!("CARGO_PKG_VERSION")).to_owned(),
            checked_addresses: false,
        }
    }
}

/// Settings from which no client can be built.
#[derive(Debug, thiserror::Error)]
pub enum FactoryError {
    /// The exception list is malformed.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A file of `extra_roots` cannot be used.
    #[error("cannot use the certificate authority file `{}`: {detail}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// Why not.
        detail: String,
    },
    /// The user agent is not a legal header value.
    #[error("the user agent is not a valid header value")]
    UserAgent,
    /// The TLS library refuses its configuration.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Builds the clients. Share it between threads; each thread gets its own client, because awc's is bound to one.
/// Clones share the settings: [`ClientFactory::reconfigure`] reaches all of them.
#[derive(Clone)]
pub struct ClientFactory {
    current: Arc<ArcSwap<Inner>>,
    ways: Arc<ArcSwap<Ways>>,
}

struct Inner {
    lookup: Lookup,
    settings: UpstreamSettings,
    user_agent: HeaderValue,
    policy: Arc<AddressPolicy>,
    dns: Arc<DnsCache>,
    tls: Arc<ClientConfig>,
}

thread_local! {
    /// One client per factory and proxy that are still alive; after a change the old one goes with its factory or proxy.
    static CLIENTS: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

struct Kept {
    factory: Weak<Inner>,
    proxy: Option<Weak<Proxy>>,
    client: Client,
}

impl Kept {
    fn lives(&self) -> bool {
        self.factory.strong_count() > 0 && self.proxy.as_ref().is_none_or(|proxy| proxy.strong_count() > 0)
    }

    /// A held weak reference keeps its address from being used again, so equal addresses are equal things.
    fn is(&self, factory: &Arc<Inner>, proxy: Option<&Arc<Proxy>>) -> bool {
        self.factory.as_ptr() == Arc::as_ptr(factory) && self.proxy.as_ref().map(Weak::as_ptr) == proxy.map(Arc::as_ptr)
    }
}

impl Inner {
    fn new(settings: UpstreamSettings, lookup: Lookup) -> Result<Self, FactoryError> {
        // awc builds a default TLS configuration before it takes ours and panics without a process-wide provider.
        // An error means that somebody installed one before us, which serves as well.
        let _ = ring::default_provider().install_default();
        let policy = AddressPolicy::new(&settings.allow_private_hosts, settings.allow_http)?;
        let user_agent = HeaderValue::from_str(&settings.user_agent).map_err(|_| FactoryError::UserAgent)?;
        let dns = DnsSettings { fresh_for: settings.dns_cache, stale_for: settings.dns_stale };
        let tls = Arc::new(tls_config(&settings.extra_roots)?);
        let (policy, dns) = (Arc::new(policy), DnsCache::new(dns, Arc::clone(&lookup)));
        Ok(Self { lookup, settings, user_agent, policy, dns, tls })
    }
}

impl ClientFactory {
    /// Check the settings and load the roots.
    pub fn new(settings: UpstreamSettings) -> Result<Self, FactoryError> {
        Self::with_lookup(settings, system_lookup())
    }

    /// As [`Self::new`], with another source of addresses.
    pub fn with_lookup(settings: UpstreamSettings, lookup: Lookup) -> Result<Self, FactoryError> {
        let current = Arc::new(ArcSwap::from_pointee(Inner::new(settings, lookup)?));
        Ok(Self { current, ways: Arc::default() })
    }

    /// Use these settings for the calls from now on; those that run keep theirs. Nothing happens when they are the
    /// same, so that the pools live on.
    pub fn reconfigure(&self, settings: UpstreamSettings) -> Result<(), FactoryError> {
        let current = self.current.load_full();
        if current.settings != settings {
            self.current.store(Arc::new(Inner::new(settings, Arc::clone(&current.lookup))?));
        }
        Ok(())
    }

    /// Which calls go through which proxy, from now on; calls that run keep their way.
    pub fn set_ways(&self, ways: Ways) {
        let before = self.ways.load_full();
        if *before != ways {
            self.ways.store(Arc::new(ways.keeping(&before)));
        }
    }

    /// Which calls go through which proxy.
    #[must_use]
    pub fn ways(&self) -> Arc<Ways> {
        self.ways.load_full()
    }

    /// The address policy, for the check when a URL is saved.
    #[must_use]
    pub fn policy(&self) -> Arc<AddressPolicy> {
        Arc::clone(&self.current.load().policy)
    }

    /// This thread's client for this caller: built at the first call, the same pool afterwards.
    #[must_use]
    pub fn thread_client(&self, caller: Caller<'_>) -> Client {
        let (current, proxy) = (self.current.load(), self.ways.load().of(caller));
        CLIENTS.with_borrow_mut(|clients| {
            clients.retain(Kept::lives);
            if let Some(known) = clients.iter().find(|known| known.is(&current, proxy.as_ref())) {
                return known.client.clone();
            }
            let client = current.client(proxy.clone());
            let (factory, proxy) = (Arc::downgrade(&current), proxy.as_ref().map(Arc::downgrade));
            clients.push(Kept { factory, proxy, client: client.clone() });
            client
        })
    }

    /// A new client with a pool of its own, without any proxy.
    #[must_use]
    pub fn client(&self) -> Client {
        self.current.load().client(None)
    }

    /// The same through this proxy, whatever is set.
    #[must_use]
    pub fn client_through(&self, proxy: Proxy) -> Client {
        self.current.load().client(Some(Arc::new(proxy)))
    }
}

impl Inner {
    fn client(&self, proxy: Option<Arc<Proxy>>) -> Client {
        let Self { settings, user_agent, policy, dns, tls, .. } = self;
        let resolver = Resolver::new(Arc::clone(dns), Arc::clone(policy));
        // A proxy has to be found and reached, then to open its tunnel, and may be given up for the direct way.
        let steps = if proxy.is_some() { 4 } else { 1 };
        let (tls_to_proxy, checked_addresses) = (Arc::clone(tls), settings.checked_addresses);
        let through = proxy.map(|proxy| Through { proxy, tls: tls_to_proxy, checked_addresses });
        let tcp = PolicyConnector::new(Arc::clone(policy), resolver, settings.connect_timeout).through(through);
        let connector = Connector::new()
            .connector(tcp)
            .rustls_0_23(Arc::clone(tls))
            .timeout(settings.connect_timeout.saturating_mul(steps).saturating_add(BACKSTOP))
            .handshake_timeout(settings.handshake_timeout)
            // 0 is "no limit": awc's 100 counts all hosts together and queues the rest without a word.
            .limit(0)
            .conn_lifetime(settings.connection_lifetime)
            .conn_keep_alive(settings.keep_alive);
        Client::builder()
            .connector(connector)
            // awc's timeout runs on into the body and would cut each longer stream; deadlines are the caller's.
            .disable_timeout()
            // A redirect would take `x-api-key` along.
            .disable_redirects()
            .add_default_header((USER_AGENT, user_agent.clone()))
            .finish()
    }
}

impl std::fmt::Debug for ClientFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientFactory").field("settings", &self.current.load().settings).finish_non_exhaustive()
    }
}

fn tls_config(extra_roots: &[PathBuf]) -> Result<ClientConfig, FactoryError> {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for path in extra_roots {
        add_roots(&mut roots, path).map_err(|detail| FactoryError::Root { path: path.clone(), detail })?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // HTTP/1.1 only: awc's HTTP/2 pool opens a connection per cold request and cannot be told where a request ended.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn add_roots(roots: &mut RootCertStore, path: &PathBuf) -> Result<(), String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut found = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        found += 1;
    }
    if found == 0 { Err("it holds no certificate".to_owned()) } else { Ok(()) }
}
