//! `POST /v1/responses` and what belongs to it. Answers are kept by the gateway itself, for their owner, for a while: a
//! client may go on from one whichever provider gave it.

use std::rc::Rc;

use actix_web::http::StatusCode;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::app::App;
use crate::auth::Principal;
use crate::error::{ApiError, Problem};
use crate::gateway::ask::Ask;
use crate::gateway::client_format::ClientFormat;
use crate::gateway::keeper::Keeper;
use crate::gateway::pipeline::{Incoming, Reader, owner};
use crate::store::StoreError;
use crate::wire::bad_request::BadRequest;
use crate::wire::responses::stored::{self, StoredResponse};
use crate::wire::responses::{self, extras};

const CLIENT: ClientFormat = ClientFormat::Responses;
/// Answers that one conversation may go back over.
const LONGEST_CHAIN: usize = 200;
const HOUR_MS: i64 = 3_600_000;

/// Answer a request.
pub async fn create(incoming: Incoming) -> HttpResponse {
    incoming.answer(CLIENT, async |body: Bytes, reader: Reader<'_>| read(body, reader).await).await
}

/// Make a conversation short, for the client to go on from.
pub async fn compact(incoming: Incoming) -> HttpResponse {
    let read = async |body: Bytes, reader: Reader<'_>| {
        let own = serde_json::from_slice(&body).unwrap_or_default();
        let whole = with_history(&own, reader).await?.unwrap_or(body);
        let request = responses::compact_request(&responses::decode_request(&whole)?);
        Ok(Ask::read(ClientFormat::Compaction, whole, request))
    };
    incoming.answer(ClientFormat::Compaction, read).await
}

async fn read(body: Bytes, reader: Reader<'_>) -> Result<Ask, ApiError> {
    let request = responses::decode_request(&body)?;
    let asked = extras(&request);
    if asked.background {
        return Err(unsupported("background", "This gateway does not run answers in the background."));
    }
    if asked.conversation.is_some() {
        return Err(unsupported(
            "conversation",
            "This gateway keeps answers, not conversations; use previous_response_id.",
        ));
    }
    let own: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut ask = match with_history(&own, reader).await? {
        Some(whole) => {
            let request = responses::decode_request(&whole)?;
            Ask::read(CLIENT, whole, request)
        }
        None => Ask::read(CLIENT, body, request),
    };
    let ttl = i64::try_from(reader.config.routing.responses_ttl_h).unwrap_or(0).saturating_mul(HOUR_MS);
    if asked.store != Some(false) && ttl > 0 {
        ask.keeper = Some(Rc::new(Keeper {
            store: reader.app.store.clone(),
            owner: owner(reader.principal),
            now: reader.app.clock.wall().0,
            ttl,
            request: own,
        }));
    }
    Ok(ask)
}

/// The body with all that was said before. None when it goes on from nothing and refers to nothing: then it stays byte for
/// byte what it was.
async fn with_history(own: &Value, reader: Reader<'_>) -> Result<Option<Bytes>, ApiError> {
    let references = stored::references(own);
    let chain = match stored::previous_id(own) {
        Some(id) => chain(id, reader).await?,
        None if references.is_empty() => return Ok(None),
        None => Vec::new(),
    };
    let others = referred(&references, &chain, reader).await?;
    let said = |id: &str| chain.iter().chain(&others).find_map(|kept| kept.item(id)).cloned();
    let whole = stored::with_references(stored::with_history(own.clone(), &chain), said);
    Ok(Some(Bytes::from(whole.to_string())))
}

/// The answers beside the chain in which the items stand that the input refers to.
async fn referred(
    references: &[(usize, &str)],
    chain: &[StoredResponse],
    reader: Reader<'_>,
) -> Result<Vec<StoredResponse>, ApiError> {
    let mut others: Vec<StoredResponse> = Vec::new();
    for (place, id) in references {
        if chain.iter().chain(&others).any(|kept| kept.item(id).is_some()) {
            continue;
        }
        let (owner, now) = (owner(reader.principal), reader.app.clock.wall().0);
        let found = reader.app.store.responses().holding(id, &owner, now).await.map_err(unreadable)?;
        let found: Option<StoredResponse> = found.and_then(|row| serde_json::from_str(&row.body).ok());
        let found = found.filter(|kept| kept.item(id).is_some() && others.len() < LONGEST_CHAIN);
        others.push(found.ok_or_else(|| stored::item_not_found(*place, id))?);
    }
    Ok(others)
}

fn unreadable(error: StoreError) -> ApiError {
    tracing::warn!(%error, "a kept answer cannot be read");
    ApiError::new(Problem::LedgerUnavailable, "Kept answers cannot be read at the moment.")
}

fn unsupported(field: &str, message: &str) -> ApiError {
    BadRequest::new(message, field, "unsupported_parameter").into()
}

/// The answers that this one goes back over, oldest first.
async fn chain(id: &str, reader: Reader<'_>) -> Result<Vec<StoredResponse>, ApiError> {
    let mut chain = Vec::new();
    let mut next = Some(id.to_owned());
    while let Some(id) = next {
        let kept = kept(reader.app, &id, &owner(reader.principal)).await?;
        let Some(kept) = kept.filter(|_| chain.len() < LONGEST_CHAIN) else {
            return Err(stored::previous_not_found(&id).into());
        };
        next = kept.previous_id.clone();
        chain.push(kept);
    }
    chain.reverse();
    Ok(chain)
}

async fn kept(app: &App, id: &str, owner: &str) -> Result<Option<StoredResponse>, ApiError> {
    let found = app.store.responses().find(id, owner, app.clock.wall().0).await.map_err(unreadable)?;
    Ok(found.and_then(|row| serde_json::from_str(&row.body).ok()))
}

/// `GET /v1/responses/{id}`.
pub async fn show(request: HttpRequest, id: web::Path<String>, app: web::Data<App>) -> HttpResponse {
    answer(&request, &id, &app, StoredResponse::body).await
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
        Ok(Some(kept)) => HttpResponse::Ok().content_type("application/json").body(show(&kept)),
        Ok(None) => not_found(id),
        Err(error) => error.to_response_for(CLIENT, None),
    }
}

/// `DELETE /v1/responses/{id}`.
pub async fn delete(request: HttpRequest, id: web::Path<String>, app: web::Data<App>) -> HttpResponse {
    match app.store.responses().delete(&id, &caller(&request)).await {
        Ok(true) => HttpResponse::Ok().content_type("application/json").body(stored::deleted_body(&id)),
        Ok(false) => not_found(&id),
        Err(error) => {
            tracing::warn!(%error, "a kept answer cannot be deleted");
            ApiError::new(Problem::LedgerUnavailable, "Kept answers cannot be changed at the moment.")
                .to_response_for(CLIENT, None)
        }
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
