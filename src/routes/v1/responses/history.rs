//! What was said before: the answers that a request goes on from, and the items that it refers to.

use bytes::Bytes;
use serde_json::Value;

use super::kept::{Kept, kept, unreadable};
use crate::error::ApiError;
use crate::gateway::pipeline::{Reader, owner};
use crate::store::RunStatus;
use crate::wire::bad_request::BadRequest;
use crate::wire::responses::stored::{self, StoredResponse};

/// Answers that one conversation may go back over.
const LONGEST_CHAIN: usize = 200;

/// The body with all that was said before. None when it goes on from nothing and refers to nothing: then it stays byte for
/// byte what it was.
pub(super) async fn with_history(own: &Value, reader: Reader<'_>) -> Result<Option<Bytes>, ApiError> {
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

/// The answers that this one goes back over, oldest first.
async fn chain(id: &str, reader: Reader<'_>) -> Result<Vec<StoredResponse>, ApiError> {
    let mut chain = Vec::new();
    let mut next = Some(id.to_owned());
    while let Some(id) = next {
        let found = kept(reader.app, &id, &owner(reader.principal)).await?;
        let Some(Kept { response, run }) = found.filter(|_| chain.len() < LONGEST_CHAIN) else {
            return Err(stored::previous_not_found(&id).into());
        };
        if run.is_some_and(RunStatus::is_running) {
            let message = format!("Previous response with id '{id}' is still in the making");
            return Err(BadRequest::new(message, "previous_response_id", "previous_response_in_progress").into());
        }
        next = response.previous_id.clone();
        chain.push(response);
    }
    chain.reverse();
    Ok(chain)
}
