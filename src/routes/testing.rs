//! A whole gateway's management side over a database of its own, for the tests of the routes.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Arbiter};
use actix_http::Request;
use actix_web::body::{BoxBody, EitherBody, to_bytes};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::{Error, test};
use arc_swap::ArcSwap;
use omniroute_actors::background::BackgroundRuns;
use omniroute_actors::clock::{Clock, ManualClock, Moment};
use omniroute_actors::ports::{Nowhere, Ports};
use omniroute_actors::router::plan::ReadyPlan;
use omniroute_actors::supervisor::Registry;
use serde_json::Value;

use super::{Management, Reloader, RouteSpec, Scope, edge, mount, routes};
use crate::app::App;
use crate::auth::{Admin, KeyRing, LoginThrottle, Sessions};
use crate::config::{Config, ConfigHandle, ConfigProblems, Environment, ReloadReport};
use crate::evals::Evals;
use crate::gateway::directory::{Directory, DirectoryParts, Egress};
use crate::infra::backups::Shelf;
use crate::infra::crypto::{MasterKey, Vault};
use crate::infra::lifecycle::Lifecycle;
use crate::infra::orders::{OrderBook, orders};
use crate::infra::recorder::{Recorder, RecorderOptions};
use crate::infra::stats::Stats;
use crate::providers::oauth::{Oauth, OauthBook};
use crate::providers::{Catalog, TokenMinter, discover};
use crate::store::{Store, StoreOptions};
use crate::upstream::{ClientFactory, Outside, UpstreamSettings};

pub(super) const PASSWORD: &str = "a long test password";

/// Everything handlers share, and what the test holds on to.
pub(super) struct Bed {
    pub(super) app: App,
    pub(super) management: Management,
    pub(super) clock: Arc<ManualClock>,
    pub(super) orders: RefCell<OrderBook>,
    _dir: tempfile::TempDir,
}

struct NothingNew;

impl Reloader for NothingNew {
    fn check(&self) -> Result<(), ConfigProblems> {
        Ok(())
    }

    fn reload(&self) -> Result<ReloadReport, ConfigProblems> {
        Ok(ReloadReport { applied: vec![], unchanged: 1, needs_restart: vec![] })
    }
}

/// A bed before anybody set it up.
pub(super) async fn bare(change: impl FnOnce(&mut Config)) -> Bed {
    bare_in(Outside::default(), change).await
}

/// The same in other surroundings.
pub(super) async fn bare_in(outside: Outside, change: impl FnOnce(&mut Config)) -> Bed {
    let dir = tempfile::tempdir().unwrap();
    let vault = Arc::new(Vault::new(&MasterKey::from_bytes([7; 32])));
    let (url, data_dir) = ("sqlite:test.db".to_owned(), dir.path().to_owned());
    let store = Store::open(&StoreOptions { url, data_dir, readers: 2, vault: vault.clone() }).unwrap();
    let clock = Arc::new(ManualClock::at(Moment::from_millis(10_000)));
    let shared: Arc<dyn Clock> = clock.clone();
    let mut config = Config::default();
    config.storage.data_dir = dir.path().to_owned();
    change(&mut config);
    let config = ConfigHandle::new(config);
    // No name is remembered: where one points may change in the middle of a test.
    let forgetful = UpstreamSettings { dns_cache: Duration::ZERO, dns_stale: Duration::ZERO, ..Default::default() };
    let settings = UpstreamSettings { allow_private_hosts: vec!["127.0.0.1:*".into()], ..forgetful.clone() };
    let clients = ClientFactory::with_outside(settings, outside.clone()).unwrap();
    let web = ClientFactory::with_outside(forgetful, outside).unwrap();
    let book = OauthBook::read(&config.load().oauth.file, &Environment::default()).unwrap();
    let oauth = Arc::new(Oauth::new(clients.clone(), store.clone(), shared.clone(), book));
    let minter = Arc::new(TokenMinter::new(clients.clone(), oauth.clone()));
    let (stats, keeper) = Stats::new(shared.clone(), Some(store.clone()));
    actix_web::rt::spawn(keeper.run());
    let (saved, heard) = (Arc::new(Nowhere), Arc::new(stats.clone()));
    let ports = Ports { clock: shared.clone(), store: saved, observer: heard, minter: minter.clone() };
    let registry = Registry::new(Arbiter::current(), ports, Vec::new()).start();
    let plan = Arc::new(ArcSwap::from_pointee(ReadyPlan::default()));
    let variables = Environment::from_iter([("OPENAI_API_KEY", "sk-canary-environment")]);
    let directory = Directory::new(DirectoryParts {
        config: config.clone(),
        store: store.clone(),
        registry: registry.clone(),
        plan: plan.clone(),
        environment: discover(&variables, Catalog::builtin()),
        demo_url: None,
        egress: Some(Egress { clients: clients.clone(), web: web.clone(), vault: vault.clone() }),
    });
    let recorder = Recorder::new(RecorderOptions {
        dir: dir.path().join("journal"),
        segment_bytes: 1 << 20,
        spool_max_bytes: 1 << 20,
        refuse: false,
        fsync: Duration::from_secs(1),
    })
    .unwrap();
    let lifecycle = Arc::new(Lifecycle::new(shared.now()));
    lifecycle.ready();
    let (orders, book) = orders();
    let management = Management {
        backups: Arc::new(Shelf::new(config.clone(), store.clone(), shared.clone())),
        sessions: Sessions::new(store.clone(), &vault, config.clone(), shared.clone()),
        admin: Arc::new(Admin::new(store.clone(), &vault, shared.clone())),
        reloader: Arc::new(NothingNew),
        orders,
    };
    let app = App {
        keys: KeyRing::new(&vault, config.clone(), shared.clone()),
        logins: Arc::new(LoginThrottle::new(config.clone(), shared.clone())),
        alarms: Arc::default(),
        exchanges: Arc::default(),
        clients,
        minter,
        oauth,
        web,
        directory: Arc::new(directory),
        clock: shared,
        config,
        store,
        vault,
        plan,
        registry,
        seals: Default::default(),
        handoffs: Default::default(),
        runs: BackgroundRuns::default().start(),
        evals: Evals::new(BackgroundRuns::default().start(), 2),
        lifecycle,
        overload: Arc::default(),
        recorder,
        stats,
    };
    app.directory.refresh().await.unwrap();
    app.keys.reload(&app.store).await.unwrap();
    Bed { app, management, clock, orders: RefCell::new(book), _dir: dir }
}

/// A bed whose administrator has the usual password.
pub(super) async fn bed() -> Bed {
    let bed = bare(|_| ()).await;
    assert!(bed.management.admin.setup_token(Some(&PASSWORD.into())).await.unwrap().is_none());
    bed
}

/// All routes and one of the data plane.
pub(super) fn all_routes() -> Vec<RouteSpec> {
    let probe = RouteSpec::post("/v1/probe", Scope::Inference, "A probe", || async { "probed" }).also("/models");
    [routes(), vec![probe]].concat()
}

pub(super) type Answering = EitherBody<BoxBody, BoxBody>;

/// The running service and, once signed in, a cookie or a key.
pub(super) struct Site<S> {
    service: S,
    pub(super) bed: Bed,
    credential: RefCell<Vec<(String, String)>>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The fields that a refused form names.
    pub(super) fn fields(&self) -> Vec<String> {
        let body = self.json();
        let details = body.pointer("/error/details").and_then(Value::as_array).cloned().unwrap_or_default();
        details.iter().filter_map(|detail| Some(detail["field"].as_str()?.to_owned())).collect()
    }
}

pub(super) async fn site(
    bed: Bed,
) -> Site<impl Service<Request, Response = ServiceResponse<Answering>, Error = Error>> {
    site_of(bed, Vec::new()).await
}

/// A site with more routes than the built-in ones.
pub(super) async fn site_of(
    bed: Bed,
    more: Vec<RouteSpec>,
) -> Site<impl Service<Request, Response = ServiceResponse<Answering>, Error = Error>> {
    let (app, management) = (bed.app.clone(), bed.management.clone());
    let routes = [all_routes(), more].concat();
    let service = actix_web::App::new()
        .wrap(from_fn(edge))
        .configure(|config| mount(config, app.clone(), management.clone(), routes.clone()));
    Site { service: test::init_service(service).await, bed, credential: RefCell::default() }
}

/// A site on which the administrator is signed in.
pub(super) async fn signed_in() -> Site<impl Service<Request, Response = ServiceResponse<Answering>, Error = Error>> {
    let site = site(bed().await).await;
    site.sign_in().await;
    site
}

impl<S> Site<S>
where
    S: Service<Request, Response = ServiceResponse<Answering>, Error = Error>,
{
    /// What a model string means now, in words.
    pub(super) fn app_resolves(&self, model: &str) -> String {
        self.bed.app.plan.load().resolve(model).map_or_else(|why| why.to_string(), |found| found.resolved.to_string())
    }

    pub(super) async fn sign_in(&self) {
        let answer = self.send("POST", "/api/auth/login", Some(serde_json::json!({"password": PASSWORD})), &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        self.keep_cookie(&answer);
    }

    pub(super) fn keep_cookie(&self, answer: &Answer) {
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        self.carry(&[("cookie", &cookie)]);
    }

    /// Send these headers with every request from now on.
    pub(super) fn carry(&self, headers: &[(&str, &str)]) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        *self.credential.borrow_mut() = headers.collect();
    }

    pub(super) async fn send(&self, method: &str, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Answer {
        let mut request = test::TestRequest::with_uri(path)
            .method(method.parse::<Method>().unwrap())
            .peer_addr("127.0.0.1:4711".parse::<SocketAddr>().unwrap())
            .insert_header(("host", "gw.example"));
        if let Some(body) = body {
            request = request.set_json(body);
        }
        let kept = self.credential.borrow().clone();
        for (name, value) in
            kept.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(headers.iter().copied())
        {
            request = request.insert_header((name, value));
        }
        let response = test::call_service(&self.service, request.to_request()).await;
        let status = response.status().as_u16();
        let text_of = |value: &actix_web::http::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text_of(value))).collect();
        let bytes = to_bytes(response.into_body()).await.ok().unwrap_or_default();
        Answer { status, headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    /// A request from our own page that must succeed.
    pub(super) async fn ok(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let answer = self.ask(method, path, body).await;
        assert!(
            StatusCode::from_u16(answer.status).unwrap().is_success(),
            "{method} {path}: {} {}",
            answer.status,
            answer.text
        );
        answer.json()
    }

    /// A request from our own page.
    pub(super) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send(method, path, body, &[("sec-fetch-site", "same-origin")]).await
    }
}
