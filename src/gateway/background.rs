//! Answers that are made while nobody waits: the Responses API with `background: true`.
//!
//! ```text
//! POST ── room? ── stored as queued ── answered at once
//!                        '── run (this worker): in_progress ── the usual pipeline ── completed, incomplete or failed
//!                                 | cancelled, forgotten: what runs is dropped, and with it the upstream call
//! ```
//! The store says how far a run is and of two ends lets one win; a run says every few seconds that it goes on, so that
//! one whose process is gone is known to have failed, and learns in the same step that nobody wants it any more.
//!
//! With `stream: true` as well the client gets the events from the beginning, may leave, and comes back for the rest by
//! their numbers, here while the answer is made and from any process when it is.

mod account;
pub mod follow;
mod run;

use std::time::Duration;

use actix_web::HttpResponse;
use omniroute_actors::background::{BeginRun, NoRoom, RunTicket};
use serde_json::Value;
use tokio::time::Instant;

use self::account::Account;
use self::run::Run;
use super::pipeline::{Call, Taken};
use crate::app::App;
use crate::config::Routing;
use crate::error::{ApiError, Problem};
use crate::store::{Engine, KeptResponse, ResponseRow, RunStatus, StoreError};
use crate::wire::responses::encode_begun;
use crate::wire::responses::stored::StoredResponse;

/// How often a run says that it goes on.
const SAID_EVERY: Duration = Duration::from_secs(5);
/// How long that is believed.
const BELIEVED_MS: i64 = 30_000;
/// When a client may ask again for room.
const COME_BACK: Duration = Duration::from_secs(5);

/// An answer to be made in the background.
#[derive(Debug)]
pub struct Job {
    /// For whom.
    pub owner: String,
    /// How long it is kept, in milliseconds.
    pub ttl: i64,
    /// The client's own body, without what was said before.
    pub request: Value,
}

/// Let a run begin; the answer says under which id it will be, or streams it.
///
/// # Errors
/// Why it does not begin.
pub async fn start(mut taken: Taken, started: Instant) -> Result<HttpResponse, ApiError> {
    let Some(job) = taken.ask.background.take() else { return Err(ApiError::new(Problem::Internal, "No job.")) };
    let app = taken.app.clone();
    let id = format!("resp_{}", uuid::Uuid::now_v7().simple());
    let ticket = room(&app, &taken.config.routing, &id, &job.owner).await?;
    let mut queued = queued(&taken, &job, &id)?;
    let account = taken.ask.stream.then(|| Account::open(&queued, ticket.voice()));
    queued.events = account.as_ref().map(|_| Vec::new());
    let now = app.clock.wall().0;
    let row = ResponseRow {
        id,
        owner: job.owner,
        created_at: now,
        expires_at: now.saturating_add(job.ttl),
        body: body(&queued)?,
        run: Some((RunStatus::Queued, now.saturating_add(BELIEVED_MS))),
    };
    let kept = KeptResponse { items: queued.item_ids(), row: row.clone() };
    app.store.responses().insert(kept).await.map_err(unwritable)?;
    let shown = match &account {
        Some(_) => follow::live(ticket.follow(), 0),
        None => HttpResponse::Ok().content_type("application/json").body(queued.body()),
    };
    let router = taken.router.clone();
    let (call, pass) = Call::open(taken, started);
    let in_flight = app.lifecycle.enter().carrying(pass);
    actix_rt::spawn(Run { app, router, ticket, row, queued, request: job.request, account, in_flight }.make(call));
    Ok(shown)
}

async fn room(app: &App, routing: &Routing, id: &str, owner: &str) -> Result<RunTicket, ApiError> {
    let asked = BeginRun {
        id: id.to_owned(),
        owner: owner.to_owned(),
        most_of_owner: routing.background_max_per_key,
        most: routing.background_max,
        runs: app.runs.clone(),
    };
    let given = app.runs.send(asked).await;
    let given = given.map_err(|_| ApiError::new(Problem::Internal, "The gateway cannot begin a response now."))?;
    given.map_err(|full| {
        let problem = match full {
            NoRoom::ForOwner => Problem::KeyRateLimited,
            NoRoom::AtAll => Problem::Saturated,
        };
        ApiError::new(problem, format!("No room in the background: {full}.")).after(Some(COME_BACK))
    })
}

/// The answer before there is one.
fn queued(taken: &Taken, job: &Job, id: &str) -> Result<StoredResponse, ApiError> {
    let request = taken.ask.neutral()?;
    let reply = taken.ask.reply(id, taken.app.clock.wall().0 / 1_000, request);
    let object: Value = serde_json::from_slice(&encode_begun(&reply)).unwrap_or_default();
    let stored = StoredResponse::of_exchange(&job.request, object);
    let stored = stored.ok_or_else(|| ApiError::new(Problem::Internal, "The response cannot be written."))?;
    Ok(stored.in_background(id, RunStatus::Queued.as_str()))
}

fn body(stored: &StoredResponse) -> Result<String, ApiError> {
    serde_json::to_string(stored).map_err(|_| ApiError::new(Problem::Internal, "The response cannot be written."))
}

fn unwritable(error: StoreError) -> ApiError {
    tracing::warn!(%error, "an answer in the background cannot be kept");
    ApiError::new(Problem::LedgerUnavailable, "Kept answers cannot be changed at the moment.").after(Some(COME_BACK))
}

/// At the start: whatever this database says to be running has no process any more, unless others share it.
///
/// # Errors
/// When the store does not answer.
pub async fn give_up_abandoned(app: &App) -> Result<(), StoreError> {
    let before = match app.store.engine() {
        Engine::Sqlite => i64::MAX,
        Engine::Postgres => app.clock.wall().0,
    };
    let count = app.store.responses().fail_abandoned(before).await?;
    if count > 0 {
        tracing::warn!(count, "answers that were made in the background have failed with the process that made them");
    }
    Ok(())
}
