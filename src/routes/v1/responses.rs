//! `POST /v1/responses` and what belongs to it. Answers are kept by the gateway itself, for their owner, for a while: a
//! client may go on from one whichever provider gave it.

mod history;
mod kept;

pub use kept::{cancel, delete, input_items, show};

use std::rc::Rc;

use actix_web::HttpResponse;
use bytes::Bytes;
use serde_json::Value;

use crate::error::ApiError;
use crate::gateway::ask::Ask;
use crate::gateway::background::Job;
use crate::gateway::client_format::ClientFormat;
use crate::gateway::keeper::Keeper;
use crate::gateway::pipeline::{Incoming, Reader, owner};
use crate::wire::bad_request::BadRequest;
use crate::wire::responses::{self, Extras, extras};

use self::history::with_history;

const CLIENT: ClientFormat = ClientFormat::Responses;
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
    if asked.conversation.is_some() {
        return Err(unsupported(
            "conversation",
            "This gateway keeps answers, not conversations; use previous_response_id.",
        ));
    }
    let mut own: Value = serde_json::from_slice(&body).unwrap_or_default();
    let ttl = i64::try_from(reader.config.routing.responses_ttl_h).unwrap_or(0).saturating_mul(HOUR_MS);
    let owner = owner(reader.principal);
    if asked.background {
        may_wait(&asked, reader)?;
        return in_background(&mut own, reader, |request| Job { owner, ttl, request }).await;
    }
    let mut ask = match with_history(&own, reader).await? {
        Some(whole) => decoded(whole)?,
        None => Ask::read(CLIENT, body, request),
    };
    if asked.store != Some(false) && ttl > 0 {
        let (store, now) = (reader.app.store.clone(), reader.app.clock.wall().0);
        ask.keeper = Some(Rc::new(Keeper { store, owner, now, ttl, request: own }));
    }
    Ok(ask)
}

fn decoded(body: Bytes) -> Result<Ask, BadRequest> {
    let request = responses::decode_request(&body)?;
    Ok(Ask::read(CLIENT, body, request))
}

/// The provider works while we wait: it is not asked to make the answer in its own background.
async fn in_background(own: &mut Value, reader: Reader<'_>, job: impl FnOnce(Value) -> Job) -> Result<Ask, ApiError> {
    if let Some(members) = own.as_object_mut() {
        members.shift_remove("background");
    }
    let whole = with_history(own, reader).await?.unwrap_or_else(|| Bytes::from(own.to_string()));
    let mut ask = decoded(whole)?;
    ask.background = Some(job(own.take()));
    Ok(ask)
}

/// Whether this answer can be made in the background.
fn may_wait(asked: &Extras, reader: Reader<'_>) -> Result<(), ApiError> {
    let routing = &reader.config.routing;
    if asked.store == Some(false) {
        return Err(unsupported("store", "An answer that is made in the background has to be kept."));
    }
    if routing.responses_ttl_h == 0 || routing.background_max == 0 {
        return Err(unsupported("background", "This gateway makes no answers in the background."));
    }
    Ok(())
}

fn unsupported(field: &str, message: &str) -> ApiError {
    BadRequest::new(message, field, "unsupported_parameter").into()
}
