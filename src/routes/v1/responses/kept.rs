//! Kept answers: shown, listed, cancelled while they are made, forgotten.

use actix_web::http::StatusCode;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use omniroute_actors::background::{FollowRun, StopRun};
use serde::Deserialize;

use super::{CLIENT, unsupported};
use crate::app::App;
use crate::auth::Principal;
use crate::error::{ApiError, Problem};
use crate::gateway::background::follow;
use crate::gateway::pipeline::owner;
use crate::store::{RunStatus, StoreError};
use crate::wire::bad_request::BadRequest;
use crate::wire::responses::stored::{self, StoredResponse};

/// A kept answer.
pub(super) struct Kept {
    /// The answer, as far as it is.
    pub(super) response: StoredResponse,
    /// How far that is, when it is made in the background.
    pub(super) run: Option<RunStatus>,
}

/// The answer of this id, if this owner has it.
pub(super) async fn kept(app: &App, id: &str, owner: &str) -> Result<Option<Kept>, ApiError> {
    let now = app.clock.wall().0;
    let Some(row) = app.store.responses().find(id, owner, now).await.map_err(unreadable)? else { return Ok(None) };
    let Ok(response) = serde_json::from_str::<StoredResponse>(&row.body) else { return Ok(None) };
    let Some((mut status, until)) = row.run else { return Ok(Some(Kept { response, run: None })) };
    if status.is_running() && until < now {
        // Whoever made it is gone.
        app.store.responses().fail_abandoned(now).await.map_err(unwritable)?;
        status = RunStatus::Failed;
    }
    Ok(Some(Kept { response: response.at(status.as_str()), run: Some(status) }))
}

pub(super) fn unreadable(error: StoreError) -> ApiError {
    tracing::warn!(%error, "a kept answer cannot be read");
    ApiError::new(Problem::LedgerUnavailable, "Kept answers cannot be read at the moment.")
}

fn unwritable(error: StoreError) -> ApiError {
    tracing::warn!(%error, "a kept answer cannot be changed");
    ApiError::new(Problem::LedgerUnavailable, "Kept answers cannot be changed at the moment.")
}

/// How a client wants to see an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct View {
    stream: Option<String>,
    /// The number of the last event that the client has.
    starting_after: Option<usize>,
}

/// `GET /v1/responses/{id}`.
pub async fn show(
    request: HttpRequest,
    id: web::Path<String>,
    app: web::Data<App>,
    view: Option<web::Query<View>>,
) -> HttpResponse {
    let View { stream, starting_after } = view.map(web::Query::into_inner).unwrap_or_default();
    if stream.as_deref() == Some("true") {
        let from = starting_after.map_or(0, |last| last.saturating_add(1));
        return match events(app, &id, caller(&request), from).await {
            Ok(Some(response)) => response,
            Ok(None) => not_found(&id),
            Err(error) => error.to_response_for(CLIENT, None),
        };
    }
    answer(&request, &id, &app, StoredResponse::body).await
}

/// The events of an answer from this number on, live where it is made here.
async fn events(app: web::Data<App>, id: &str, owner: String, from: usize) -> Result<Option<HttpResponse>, ApiError> {
    let Some(now) = kept(&app, id, &owner).await? else { return Ok(None) };
    let Some(told) = told(now) else {
        let message =
            "The events of this answer are not kept; they are of one that was made with 'background' and 'stream'.";
        return Err(unsupported("stream", message));
    };
    Ok(Some(match told {
        follow::Kept::Over(status, events) => follow::replay(status, &events, from),
        follow::Kept::Elsewhere => {
            let run = FollowRun { id: id.to_owned(), owner: owner.clone() };
            match app.runs.send(run).await.ok().flatten() {
                Some(said) => follow::live(said, from),
                None => elsewhere(app, id.to_owned(), owner, from),
            }
        }
    }))
}

fn elsewhere(app: web::Data<App>, id: String, owner: String, from: usize) -> HttpResponse {
    follow::awaited(app, from, move |app| {
        let (id, owner) = (id.clone(), owner.clone());
        async move {
            match kept(&app, &id, &owner).await {
                Ok(now) => now.and_then(told),
                // The store is away for a moment.
                Err(_) => Some(follow::Kept::Elsewhere),
            }
        }
    })
}

fn told(kept: Kept) -> Option<follow::Kept> {
    let events = kept.response.events?;
    match kept.run? {
        status if status.is_running() => Some(follow::Kept::Elsewhere),
        status => Some(follow::Kept::Over(status, events)),
    }
}

/// `GET /v1/responses/{id}/input_items`.
pub async fn input_items(
    request: HttpRequest,
    id: web::Path<String>,
    app: web::Data<App>,
    page: Option<web::Query<Listing>>,
) -> HttpResponse {
    let Listing { after, limit, order } = page.map(web::Query::into_inner).unwrap_or_default();
    let page = stored::Page { after, limit, ascending: order.as_deref() == Some("asc") };
    answer(&request, &id, &app, |kept| kept.input_items(&page)).await
}

/// Which items a client wants to see.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Listing {
    after: Option<String>,
    limit: Option<usize>,
    order: Option<String>,
}

async fn answer(
    request: &HttpRequest,
    id: &str,
    app: &App,
    show: impl FnOnce(&StoredResponse) -> Bytes,
) -> HttpResponse {
    match kept(app, id, &caller(request)).await {
        Ok(Some(kept)) => shown(show(&kept.response)),
        Ok(None) => not_found(id),
        Err(error) => error.to_response_for(CLIENT, None),
    }
}

fn shown(body: Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(body)
}

/// `POST /v1/responses/{id}/cancel`: nobody wants the answer any more that is made in the background.
pub async fn cancel(request: HttpRequest, id: web::Path<String>, app: web::Data<App>) -> HttpResponse {
    match cancelled(&app, &id, &caller(&request)).await {
        Ok(Some(response)) => shown(response.body()),
        Ok(None) => not_found(&id),
        Err(error) => error.to_response_for(CLIENT, None),
    }
}

async fn cancelled(app: &App, id: &str, owner: &str) -> Result<Option<StoredResponse>, ApiError> {
    let running = kept(app, id, owner).await?;
    if running.and_then(|kept| kept.run).is_some_and(RunStatus::is_running) {
        app.store.responses().cancel(id, owner).await.map_err(unwritable)?;
        stop(app, id).await;
    }
    // An end that came before the cancellation stays.
    let Some(Kept { response, run }) = kept(app, id, owner).await? else { return Ok(None) };
    match run {
        Some(RunStatus::Cancelled) => Ok(Some(response)),
        Some(status) => Err(too_late(&format!("a response that is {}", status.as_str()))),
        None => Err(too_late("a response that was not made in the background")),
    }
}

fn too_late(what: &str) -> ApiError {
    BadRequest::new(format!("Cannot cancel {what}."), "response_id", "cannot_cancel").into()
}

/// A run of another process learns it from the store.
async fn stop(app: &App, id: &str) {
    if app.runs.send(StopRun { id: id.to_owned() }).await.is_err() {
        tracing::warn!(response.id = id, "a run in the background learns late that it was cancelled");
    }
}

/// `DELETE /v1/responses/{id}`. One that is still made is cancelled.
pub async fn delete(request: HttpRequest, id: web::Path<String>, app: web::Data<App>) -> HttpResponse {
    match app.store.responses().delete(&id, &caller(&request)).await {
        Ok(true) => {
            stop(&app, &id).await;
            shown(stored::deleted_body(&id))
        }
        Ok(false) => not_found(&id),
        Err(error) => unwritable(error).to_response_for(CLIENT, None),
    }
}

fn caller(request: &HttpRequest) -> String {
    let principal = request.extensions().get::<std::sync::Arc<Principal>>().cloned();
    principal.map(|principal| owner(&principal)).unwrap_or_default()
}

fn not_found(id: &str) -> HttpResponse {
    let shown: String = id.chars().filter(|c| !c.is_control()).take(100).collect();
    let mut error =
        ApiError::new(Problem::ModelNotFound, format!("Response with id '{shown}' not found.")).retry(false);
    error.status = StatusCode::NOT_FOUND.as_u16();
    error.body.code = None;
    error.to_response_for(CLIENT, None)
}
