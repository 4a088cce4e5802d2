//! One run: waits for its place, asks case by case, writes down how far it is, and ends when nobody wants it any more.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_rt::task::JoinHandle;
use actix_web::web;
use futures_util::StreamExt;
use omniroute_actors::background::{BeginRun, RunTicket};
use omniroute_actors::router::Router;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::case;
use super::inheritance::Leftover;
use super::progress::Progress;
use super::suite::{Case, Suite};
use crate::app::App;
use crate::auth::Principal;
use crate::gateway::errand::Errand;
use crate::infra::lifecycle::Phase;
use crate::store::{EvalRunRow, EvalStatus, StoreError};

/// How often a run says that it goes on, and how far it is.
const SAID_EVERY: Duration = Duration::from_secs(1);
/// How long that is believed.
const BELIEVED_MS: i64 = 30_000;
/// A store that is away for a moment does not cost a finished run.
const KEEPING_TRIES: u32 = 10;
/// All runs have one owner: the operators.
const OWNER: &str = "evals";

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Whom each case names.
    SuiteDefault,
    /// A model string.
    Model(String),
    /// A combo.
    Combo(String),
}

impl Target {
    /// The word for its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SuiteDefault => "suite-default",
            Self::Model(_) => "model",
            Self::Combo(_) => "combo",
        }
    }

    /// The model or combo.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::SuiteDefault => None,
            Self::Model(id) | Self::Combo(id) => Some(id),
        }
    }

    pub(super) fn model_of<'a>(&'a self, case: &'a Case) -> Option<&'a str> {
        self.id().or(case.model.as_deref())
    }
}

/// In whose name a run asks, and where.
pub(super) struct Asker {
    app: web::Data<App>,
    router: web::Data<Addr<Router>>,
    operator: Arc<Principal>,
    key: Option<String>,
}

impl Asker {
    /// The key is looked up for every question: one that is revoked meanwhile asks nothing more.
    pub(super) fn errand(&self) -> Result<Errand, String> {
        let principal = match &self.key {
            None => Arc::clone(&self.operator),
            Some(id) => self.app.keys.by_id(id).map_err(|_| "the key cannot be used any more".to_owned())?,
        };
        Ok(Errand { principal, app: self.app.clone(), router: self.router.clone() })
    }

    /// How long a question may take.
    pub(super) fn within(&self) -> Duration {
        Duration::from_secs(self.app.config.load().evals.case_timeout_s)
    }
}

/// What shall be run.
pub struct Job {
    /// What handlers share.
    pub app: web::Data<App>,
    /// This worker's router.
    pub router: web::Data<Addr<Router>>,
    /// Who wants it.
    pub operator: Arc<Principal>,
    /// The client key in whose name it asks, if it is not the operator's own.
    pub key: Option<String>,
    /// The suite.
    pub suite: Suite,
    /// Who is asked; one run each.
    pub targets: Vec<Target>,
}

/// Why runs do not begin.
#[derive(Debug, thiserror::Error)]
pub enum NotBegun {
    /// There are enough of them.
    #[error("as many runs as there may be wait or are worked on")]
    NoRoom,
    /// They cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Begin one run for each target. What is handed out resolves when it has ended; dropping that stops nothing.
///
/// # Errors
/// Why none of them began.
pub async fn begin(job: Job) -> Result<Vec<(String, JoinHandle<()>)>, NotBegun> {
    let Job { app, router, operator, key, suite, targets } = job;
    let group = (targets.len() > 1).then(|| uuid::Uuid::now_v7().to_string());
    let rows: Vec<_> =
        targets.iter().map(|target| row(&app, &suite, target, key.as_deref(), group.as_deref())).collect();
    let mut tickets = Vec::with_capacity(rows.len());
    for row in &rows {
        tickets.push(ticket(&app, &row.id).await?);
    }
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    app.store.eval_runs().insert(rows).await?;
    let (asker, suite) = (Arc::new(Asker { app, router, operator, key }), Arc::new(suite));
    let started = ids.into_iter().zip(tickets).zip(targets).map(|((id, ticket), target)| {
        let progress = Progress::of(suite.cases.len());
        let run = Run { id: id.clone(), asker: Arc::clone(&asker), suite: Arc::clone(&suite), target, progress };
        (id, actix_rt::spawn(run.make(ticket)))
    });
    Ok(started.collect())
}

/// On each worker: go on with the runs that the start before this one left behind.
pub async fn take_over(app: web::Data<App>, router: web::Data<Addr<Router>>) {
    while let Some(leftover) = app.evals.inheritance.next().await {
        let Leftover { id, operator, key, suite, target, progress } = leftover;
        let asker = Arc::new(Asker { app: app.clone(), router: router.clone(), operator, key });
        let run = Run { id, asker, suite, target, progress };
        match ticket(&app, &run.id).await {
            Ok(ticket) => drop(actix_rt::spawn(run.make(ticket))),
            // There are enough without it.
            Err(_) => run.keep(&End::Leaving).await,
        }
    }
}

async fn ticket(app: &App, id: &str) -> Result<RunTicket, NotBegun> {
    let most = app.config.load().evals.max_queued;
    let runs = app.evals.runs.clone();
    let asked = BeginRun { id: id.to_owned(), owner: OWNER.to_owned(), most_of_owner: most, most, runs: runs.clone() };
    runs.send(asked).await.map_err(|_| NotBegun::NoRoom)?.map_err(|_| NotBegun::NoRoom)
}

fn row(app: &App, suite: &Suite, target: &Target, key: Option<&str>, group: Option<&str>) -> EvalRunRow {
    let now = app.clock.wall().0;
    EvalRunRow {
        id: uuid::Uuid::now_v7().to_string(),
        group_id: group.map(ToOwned::to_owned),
        suite_id: suite.id.clone(),
        suite_name: suite.name.clone(),
        target_type: target.kind().to_owned(),
        target_id: target.id().map(ToOwned::to_owned),
        key_id: key.map(ToOwned::to_owned),
        status: EvalStatus::Queued.as_str().to_owned(),
        run_until: now.saturating_add(BELIEVED_MS),
        total: i32::try_from(suite.cases.len()).unwrap_or(i32::MAX),
        done: 0,
        passed: 0,
        failed: 0,
        errors: 0,
        prompt_tokens: 0,
        completion_tokens: 0,
        cost_nano_usd: 0,
        latency_ms: 0,
        results: json!([]),
        error: None,
        created_at: now,
        started_at: None,
        finished_at: None,
    }
}

/// A run at work.
struct Run {
    id: String,
    asker: Arc<Asker>,
    suite: Arc<Suite>,
    target: Target,
    progress: Progress,
}

/// Why a run ends.
enum End {
    /// Every case has its result.
    Done,
    /// The store says that nobody wants it, or an operator did.
    Unwanted,
    /// The process goes away.
    Leaving,
    /// It cannot be begun.
    Failed(String),
}

impl End {
    fn status(&self) -> EvalStatus {
        match self {
            Self::Done => EvalStatus::Done,
            Self::Unwanted => EvalStatus::Cancelled,
            Self::Leaving => EvalStatus::Interrupted,
            Self::Failed(_) => EvalStatus::Failed,
        }
    }

    fn why(&self) -> Option<&str> {
        match self {
            Self::Failed(why) => Some(why),
            _ => None,
        }
    }
}

impl Run {
    async fn make(mut self, mut ticket: RunTicket) {
        // Who goes away waits until what was found out is in good hands.
        let _in_flight = self.asker.app.lifecycle.enter();
        let end = tokio::select! {
            end = self.go_on() => end,
            () = ticket.stopped() => End::Unwanted,
        };
        let inheritance = Arc::clone(&self.asker.app.evals.inheritance);
        if !matches!(end, End::Leaving) || !inheritance.has_heir() {
            return self.keep(&end).await;
        }
        drop(ticket);
        let Self { id, asker, suite, target, progress } = self;
        let (operator, key) = (Arc::clone(&asker.operator), asker.key.clone());
        inheritance.leave(Leftover { id, operator, key, suite, target, progress });
    }

    async fn go_on(&mut self) -> End {
        let Self { id, asker, suite, target, progress } = self;
        let (asker, target, app) = (&*asker, &*target, &asker.app);
        let open = progress.open();
        let cases = suite.cases.iter().enumerate().filter(|(place, _)| open.contains(place));
        let mut tick = interval(SAID_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut place = std::pin::pin!(app.evals.places.acquire());
        let _place = loop {
            tokio::select! {
                place = &mut place => break place,
                _ = tick.tick() => if let Some(end) = say(app, id, None, progress).await { return end },
            }
        };
        if let Some(end) = say(app, id, Some(app.clock.wall().0), progress).await {
            return end;
        }
        if let Err(why) = asker.errand() {
            return End::Failed(why);
        }
        let at_once = app.config.load().evals.parallel_cases;
        let one = |(place, case)| async move { (place, case::run(asker, target, case).await) };
        let results = futures_util::stream::iter(cases.map(one)).buffer_unordered(at_once);
        let mut results = std::pin::pin!(results);
        loop {
            tokio::select! {
                next = results.next() => match next {
                    Some((place, outcome)) => progress.add(place, outcome),
                    None => return End::Done,
                },
                _ = tick.tick() => if let Some(end) = say(app, id, None, progress).await { return end },
            }
        }
    }

    /// What was found out is kept, whoever ended the run.
    async fn keep(&self, end: &End) {
        let app = &self.asker.app;
        let runs = app.store.eval_runs();
        for tries in 1..=KEEPING_TRIES {
            let kept = async {
                runs.save(&self.id, self.progress.tally()).await?;
                runs.end(&self.id, end.status(), end.why(), app.clock.wall().0).await
            };
            match kept.await {
                Ok(_) => return,
                Err(error) => tracing::warn!(%error, tries, run.id = self.id, "an eval run cannot be kept"),
            }
            tokio::time::sleep_until(Instant::now() + SAID_EVERY).await;
        }
    }
}

/// Say that a run goes on and how far it is; tells when it shall not.
async fn say(app: &App, id: &str, first: Option<i64>, progress: &mut Progress) -> Option<End> {
    if app.lifecycle.phase() == Phase::Draining {
        return Some(End::Leaving);
    }
    let until = app.clock.wall().0.saturating_add(BELIEVED_MS);
    let runs = app.store.eval_runs();
    if let Some(tally) = progress.news()
        && let Err(error) = runs.save(id, tally).await
    {
        tracing::warn!(%error, run.id = id, "how far an eval run is cannot be stored now");
    }
    match runs.keep_running(id, until, first).await {
        Ok(true) => None,
        Ok(false) => Some(End::Unwanted),
        // It is away for a moment; the run goes on.
        Err(error) => {
            tracing::warn!(%error, run.id = id, "an eval run cannot be noted");
            None
        }
    }
}
