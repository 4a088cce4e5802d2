//! The fallback loop over real actors and a scripted upstream, without HTTP in front.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Arbiter};
use actix_web::body::MessageBody;
use arc_swap::ArcSwap;
use bytes::Bytes;
use omniroute_actors::clock::{Clock, Moment, SystemClock};
use omniroute_actors::connection::config::{ConnectionConfig, Source, UpstreamTarget};
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::ports::{Nowhere, Ports};
use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::resilience::retry_budget::RetryBudget;
use omniroute_actors::resilience::settings::HealthSettings;
use omniroute_actors::router::config::ComboConfig;
use omniroute_actors::router::plan::{self, Combo, ReadyPlan, RoutingPlan, Strategy};
use omniroute_actors::router::{Only, PublishedPlan, Route, Router};
use omniroute_actors::supervisor::{ApplyConnections, Registry};
use omniroute_actors::usage::journal::{self, JournalReader};
use omniroute_actors::usage::record::UsageRecord;
use omniroute_testkit::mock::MockUpstream;
use tokio::time::Instant;

use super::ask::Ask;
use super::attempt::{Answer, Means};
use super::dispatch::{Dispatched, Failed, Waiting, dispatch, retries};
use super::handoff::Handoffs;
use super::inbound::{Caller, Deadlines, Inbound};
use super::race::Step;
use super::refusal::refusal;
use super::relay_body::{RelayBody, StreamParts};
use super::tally::{Opening, Tally};
use crate::config::Config;
use crate::infra::lifecycle::Lifecycle;
use crate::infra::recorder::{Recorder, RecorderOptions};
use crate::upstream::{ClientFactory, UpstreamSettings};
use crate::wire::openai_chat::ChatRequest;

mod attempts;

/// A gateway without its front: a combo `team` over one connection per mock.
struct Rig {
    clients: ClientFactory,
    config: Config,
    clock: Arc<dyn Clock>,
    router: Addr<Router>,
    plan: PublishedPlan,
    handles: Vec<Arc<ConnectionHandle>>,
    recorder: Arc<Recorder>,
    lifecycle: Arc<Lifecycle>,
    retries: Arc<RetryBudget>,
    dir: tempfile::TempDir,
}

impl Rig {
    async fn over(mocks: &[&MockUpstream]) -> Self {
        Self::over_with(mocks, |config| config).await
    }

    async fn over_with(mocks: &[&MockUpstream], change: fn(ConnectionConfig) -> ConnectionConfig) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let ports = Ports {
            clock: Arc::clone(&clock),
            store: Arc::new(Nowhere),
            observer: Arc::new(Nowhere),
            minter: Arc::new(Nowhere),
        };
        let registry = Registry::new(Arbiter::current(), ports, Vec::new()).start();
        let configs =
            mocks.iter().enumerate().map(|(index, mock)| change(connection(index, &mock.base_url()))).collect();
        let handles = registry.send(ApplyConnections(configs)).await.unwrap().unwrap();
        let plan = Arc::new(ArcSwap::from_pointee(plan(&handles)));
        let dir = tempfile::tempdir().unwrap();
        let options = RecorderOptions {
            dir: dir.path().to_owned(),
            segment_bytes: 1 << 20,
            spool_max_bytes: 1 << 30,
            refuse: false,
            fsync: Duration::from_millis(100),
        };
        let allowed = vec!["127.0.0.1:*".to_owned()];
        Self {
            clients: ClientFactory::new(UpstreamSettings { allow_private_hosts: allowed, ..Default::default() })
                .unwrap(),
            config: Config::default(),
            router: Router::new(Arc::clone(&plan), Arc::clone(&clock)).start(),
            plan,
            clock,
            handles,
            recorder: Recorder::new(options).unwrap(),
            lifecycle: Arc::new(Lifecycle::new(Moment::START)),
            retries: Arc::default(),
            dir,
        }
    }

    fn inbound(&self, stream: bool) -> Inbound {
        let body = format!(r#"{{"model":"team","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#);
        Inbound {
            id: uuid::Uuid::now_v7().to_string(),
            ask: Box::new(Ask::chat(ChatRequest::parse(Bytes::from(body)).unwrap())),
            forwarded: Vec::new(),
            created: 1,
            only: Only::default(),
            features: Arc::default(),
            session: None,
            deadlines: Deadlines::new(&self.config, Instant::now(), None),
            narrowed: Default::default(),
            max_attempts: 3,
            caller: Caller { key: "".into(), retries: Arc::clone(&self.retries) },
            handoff: Default::default(),
        }
    }

    fn tally(&self, inbound: &Inbound) -> Tally {
        let opening = Opening {
            id: &inbound.id,
            at: self.clock.wall(),
            started: inbound.deadlines.started,
            key_id: None,
            model: &inbound.ask.model,
            streamed: inbound.ask.stream,
            session: None,
            affinity: None,
        };
        let (stats, _) = crate::infra::stats::Stats::new(self.clock.clone(), None);
        Tally::open(Arc::clone(&self.recorder), stats, opening)
    }

    async fn dispatch(&self, inbound: &Inbound, tally: &mut Tally) -> Result<Dispatched, Failed> {
        let means = Means {
            clients: &self.clients,
            web: &self.clients,
            config: &self.config,
            settings: Arc::default(),
            now: self.clock.wall(),
            clock: self.clock.as_ref(),
            handoffs: &Handoffs::default(),
        };
        let start = Route::of(&inbound.ask.model, inbound.features.clone(), inbound.only.clone());
        let retries = retries(&inbound.caller.retries, &self.config);
        let to = Step { router: &self.router, means: &means, inbound, tally, retries };
        dispatch(to, start, Waiting::NONE).await
    }

    /// Ask, read the whole stream, and return the status-like verdict with the text that went out.
    async fn stream(&self) -> Result<String, u16> {
        let inbound = self.inbound(true);
        let mut tally = self.tally(&inbound);
        let dispatched = match self.dispatch(&inbound, &mut tally).await {
            Ok(dispatched) => dispatched,
            Err(failed) => return Err(refusal(failed, "team").0.status),
        };
        let body = self.body(&inbound, dispatched, tally);
        let bytes = actix_web::body::to_bytes(body).await.unwrap_or_default();
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn body(&self, inbound: &Inbound, dispatched: Dispatched, tally: Tally) -> RelayBody {
        let Answer::Stream(stream) = dispatched.answer else { panic!("a stream was asked for") };
        RelayBody::new(StreamParts {
            stream,
            lease: dispatched.lease,
            tally,
            in_flight: self.lifecycle.enter(),
            cut: self.lifecycle.watch_cut(),
            deadlines: inbound.deadlines,
            prompt_chars: inbound.ask.prompt_chars,
            attempt_started: dispatched.attempt_started,
            place: dispatched.place,
            go_on: None,
        })
    }

    async fn whole(&self) -> Result<Bytes, u16> {
        let inbound = self.inbound(false);
        let mut tally = self.tally(&inbound);
        match self.dispatch(&inbound, &mut tally).await {
            Ok(Dispatched { answer: Answer::Whole { body, .. }, .. }) => Ok(body),
            Ok(_) => panic!("no stream was asked for"),
            Err(failed) => Err(refusal(failed, "team").0.status),
        }
    }

    fn records(&self) -> Vec<UsageRecord> {
        let files = journal::files(self.dir.path()).unwrap();
        files.into_iter().flat_map(|file| JournalReader::new(file).read::<UsageRecord>().unwrap().records).collect()
    }

    fn in_flight(&self) -> u32 {
        self.handles.iter().map(|handle| handle.in_flight()).sum()
    }
}

fn connection(index: usize, base_url: &str) -> ConnectionConfig {
    ConnectionConfig {
        id: format!("c{index}").into(),
        provider: format!("p{index}").into(),
        name: format!("c{index}"),
        source: Source::Database,
        priority: 1,
        is_active: true,
        max_concurrent: 0,
        requests_per_minute: 0,
        limits: Default::default(),
        health: Default::default(),
        target: Arc::new(UpstreamTarget {
            chat_url: format!("{base_url}/chat/completions"),
            stream_url: None,
            models_url: None,
            auth_header: Some(("authorization".into(), "Bearer sk-own-credential".into())),
            headers: Vec::new(),
            quirks: 0,
            wire: 0,
            by_model: Vec::new(),
        }),
        exchange: None,
        tags: Arc::from([]),
        region: None,
        credential_version: 1,
    }
}

fn plan(handles: &[Arc<ConnectionHandle>]) -> ReadyPlan {
    plan_with(handles, ComboConfig::default())
}

fn plan_with(handles: &[Arc<ConnectionHandle>], config: ComboConfig) -> ReadyPlan {
    let mut plan = RoutingPlan { max_combo_depth: 5, ..RoutingPlan::default() };
    let step = |handle: &Arc<ConnectionHandle>| plan::Step::model(handle.provider().clone(), "m");
    let steps = handles.iter().map(step).collect();
    for handle in handles {
        plan.providers.entry(handle.provider().clone()).or_default().connections.push(Arc::clone(handle));
    }
    plan.add(Combo { config, ..Combo::new("team", Strategy::Priority, steps) });
    plan.ready()
}

#[actix::test]
async fn a_whole_answer_comes_back_byte_for_byte_and_is_recorded() {
    let mock = MockUpstream::start().await;
    let rig = Rig::over(&[&mock]).await;

    let body = rig.whole().await.unwrap();

    assert!(serde_json::from_slice::<serde_json::Value>(&body).unwrap()["choices"].is_array());
    mock.stop().await;
}

#[actix::test]
async fn every_way_to_fail_before_content_moves_on_unseen() {
    let ways = [
        "status code=503",
        "status code=429 retry_after=60",
        "status code=401",
        "status code=404",
        "fin_before_any_byte",
        "reset",
        "empty_sse",
        "empty_200",
        "error_in_200",
        "error_event_first",
        "html_200",
        "redirect",
        "role_only_then_eof",
        "storm_1xx",
        "gzip_bomb",
        "cut_content_length",
    ];
    let (bad, good) = (MockUpstream::start().await, MockUpstream::start().await);
    for way in ways {
        let rig = Rig::over(&[&bad, &good]).await;
        bad.control.always(way);

        let streamed = rig.stream().await;
        let rig = Rig::over(&[&bad, &good]).await;
        let whole = rig.whole().await;

        assert!(streamed.as_ref().is_ok_and(|text| text.ends_with("data: [DONE]\n\n")), "{way}: {streamed:?}");
        assert!(whole.is_ok(), "{way}: {whole:?}");
        assert_eq!(rig.in_flight(), 0, "{way}");
    }
    bad.stop().await;
    good.stop().await;
}

#[actix::test]
async fn a_stream_that_breaks_after_content_ends_with_an_error_and_never_with_done() {
    let mock = MockUpstream::start().await;
    for way in ["cut_chunked n=3", "rst_after n=3", "no_end_marker", "error_event_mid n=3", "invalid_json_event n=3"] {
        mock.control.always(way);
        let rig = Rig::over(&[&mock]).await;

        let text = rig.stream().await.unwrap();

        assert!(text.contains("\"error\""), "{way}: {text}");
        assert!(!text.contains("[DONE]"), "{way}: {text}");
        let record = rig.records().pop().unwrap();
        assert_ne!(record.outcome, "success", "{way}");
    }
    mock.stop().await;
}

#[actix::test]
async fn a_bad_request_is_not_tried_twice() {
    let (first, second) = (MockUpstream::start().await, MockUpstream::start().await);
    first.control.always("status code=422");
    let rig = Rig::over(&[&first, &second]).await;

    assert_eq!(rig.whole().await, Err(422));

    assert_eq!(second.control.stats().total.started, 0);
    first.stop().await;
    second.stop().await;
}

#[actix::test]
async fn a_dropped_body_cancels_the_upstream_returns_the_slot_and_is_recorded() {
    let mock = MockUpstream::start().await;
    mock.control.always("ok tokens=1000 delay_ms=20");
    let rig = Rig::over(&[&mock]).await;
    let inbound = rig.inbound(true);
    let mut tally = rig.tally(&inbound);
    let dispatched = rig.dispatch(&inbound, &mut tally).await.unwrap();
    let mut body = Box::pin(rig.body(&inbound, dispatched, tally));
    let first = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await;
    assert!(first.is_some());

    drop(body);

    assert!(mock.control.wait_until(Duration::from_millis(100), |stats| stats.total.cancelled == 1).await);
    assert_eq!(rig.in_flight(), 0);
    assert_eq!(rig.records().pop().unwrap().outcome, Outcome::ClientGone.as_str());
    mock.stop().await;
}

#[actix::test]
async fn a_request_dropped_while_it_waits_for_the_head_leaves_nothing_behind() {
    let mock = MockUpstream::start().await;
    mock.control.always("hang_before_head");
    let rig = Rig::over(&[&mock]).await;
    let inbound = rig.inbound(false);
    let mut tally = rig.tally(&inbound);

    let given_up = tokio::time::timeout(Duration::from_millis(200), rig.dispatch(&inbound, &mut tally)).await;
    drop(tally);

    assert!(given_up.is_err());
    assert!(mock.control.wait_until(Duration::from_millis(100), |stats| stats.total.cancelled == 1).await);
    assert_eq!(rig.in_flight(), 0);
    assert_eq!(rig.records().pop().unwrap().outcome, "client_gone");
    mock.stop().await;
}

#[actix::test]
async fn the_process_going_away_ends_streams_with_an_error_event() {
    let mock = MockUpstream::start().await;
    mock.control.always("ok tokens=1000 delay_ms=20");
    let rig = Rig::over(&[&mock]).await;
    let lifecycle = Arc::clone(&rig.lifecycle);
    actix_rt::spawn(async move {
        tokio::time::sleep(Duration::from_millis(150)).await;
        lifecycle.cut();
    });

    let text = rig.stream().await.unwrap();

    assert!(text.contains("shutting_down"), "{text}");
    assert!(!text.contains("[DONE]"));
    mock.stop().await;
}

fn one_at_a_time(config: ConnectionConfig) -> ConnectionConfig {
    ConnectionConfig { max_concurrent: 1, ..config }
}

#[actix::test]
async fn a_request_waits_for_its_turn_and_its_record_says_how_long() {
    let mock = MockUpstream::start().await;
    mock.control.always("ok first_delay_ms=50");
    let rig = Rig::over_with(&[&mock], one_at_a_time).await;

    let (first, second) = tokio::join!(rig.whole(), rig.whole());

    assert!(first.is_ok() && second.is_ok());
    let waits: Vec<_> = rig.records().iter().map(|record| record.attempts[0].waited_ms).collect();
    assert!(waits.contains(&0) && waits.iter().any(|waited| *waited > 0), "{waits:?}");
    assert_eq!(rig.in_flight(), 0);
    mock.stop().await;
}

#[actix::test]
async fn a_request_without_the_time_for_a_turn_is_refused_by_us_and_blames_nobody() {
    let mock = MockUpstream::start().await;
    let rig = Rig::over_with(&[&mock], one_at_a_time).await;
    let held = rig.handles[0].acquire(&"m".into(), &rig.clock).unwrap();
    let mut inbound = rig.inbound(false);
    inbound.deadlines.total = Instant::now() + Duration::from_millis(300);
    let mut tally = rig.tally(&inbound);

    let failed = rig.dispatch(&inbound, &mut tally).await.err().unwrap();

    let (error, outcome) = refusal(failed, "team");
    assert_eq!(
        (error.status, error.body.code.as_deref(), error.should_retry),
        (429, Some("local_queue_full"), Some(true))
    );
    assert!(error.retry_after.is_some() && outcome == Outcome::Abandoned);
    assert_eq!(mock.control.stats().total.started, 0);
    drop(held);
    mock.stop().await;
}

#[actix::test]
async fn without_a_retry_budget_a_provider_is_not_asked_again_on_another_account() {
    let (bad, good) = (MockUpstream::start().await, MockUpstream::start().await);
    bad.control.always("status code=500");
    let accounts = |config: ConnectionConfig| {
        let priority = if config.id.as_str() == "c0" { 1 } else { 2 };
        ConnectionConfig { provider: "p".into(), priority, ..config }
    };
    let mut rig = Rig::over_with(&[&bad, &good], accounts).await;
    rig.config.routing.retry_budget_percent = 0;
    rig.config.routing.retry_budget_floor_per_s = 0;
    assert_eq!(rig.whole().await, Err(502));
    assert_eq!(good.control.stats().total.started, 0);

    rig.config.routing.retry_budget_percent = 100;

    assert!(rig.whole().await.is_ok(), "two requests earned an extra attempt");
    bad.stop().await;
    good.stop().await;
}

#[actix::test]
async fn no_request_fails_because_it_tried_a_dead_connection() {
    let (poor, good) = (MockUpstream::start().await, MockUpstream::start().await);
    poor.control.always("status code=402");
    let probing = |config: ConnectionConfig| {
        let health = HealthSettings { terminal_probe: Duration::from_millis(50), ..config.health };
        ConnectionConfig { health, ..config }
    };
    let rig = Rig::over_with(&[&poor, &good], probing).await;
    let mut inbound = rig.inbound(false);
    inbound.max_attempts = 1;
    assert!(rig.whole().await.is_ok(), "402 moves on");
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let mut tally = rig.tally(&inbound);
        assert!(rig.dispatch(&inbound, &mut tally).await.is_ok(), "the probe is no attempt of the request");
    }
    let probes = poor.control.stats().total.started - 1;

    poor.control.always("ok");
    tokio::time::sleep(Duration::from_millis(60)).await;
    let mut tally = rig.tally(&inbound);
    let mut back = rig.dispatch(&inbound, &mut tally).await.unwrap();
    assert!(back.lease.permit.is_terminal_probe());
    back.lease.permit.settle(Outcome::Success);
    drop(back);
    omniroute_actors::connection::report::flush();
    tokio::time::sleep(Duration::from_millis(30)).await;

    assert!((3..=5).contains(&probes), "{probes}");
    assert!(rig.handles[0].look("m", rig.clock.now()).is_ok());
    assert_eq!(rig.handles[0].remembered().terminal, None);
    poor.stop().await;
    good.stop().await;
}
