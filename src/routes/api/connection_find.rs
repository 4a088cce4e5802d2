//! Finding a connection by its id, and showing it as it is now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use omniroute_actors::connection::config::Source;
use serde_json::Value;

use super::{connection_view, live};
use crate::gateway::directory::Listed;
use crate::providers::oauth::AUTH_TYPE;
use crate::routes::{Call, Refusal};
use crate::store::OauthSummary;

const NOT_FOUND: &str = "Connection not found";
const SHOWN_WITHIN: Duration = Duration::from_secs(2);

/// The connection of this id, wherever it comes from.
pub(super) fn listed(call: &Call, id: &str) -> Result<Arc<Listed>, Refusal> {
    let all = call.app.directory.listed();
    all.iter().find(|entry| entry.row.id == id).cloned().ok_or_else(|| Refusal::not_found(NOT_FOUND))
}

/// A connection that can be changed here.
pub(super) fn stored(call: &Call, id: &str) -> Result<Arc<Listed>, Refusal> {
    let listed = listed(call, id)?;
    match listed.source {
        Source::Database => Ok(listed),
        Source::Environment => Err(Refusal::conflict(
            "This connection comes from an environment variable; change or unset the variable and restart",
        )),
        Source::Demo => Err(Refusal::conflict(
            "This connection belongs to the built-in demo; it goes away when a provider is configured",
        )),
    }
}

/// One connection as the API shows it.
pub(super) async fn view(call: &Call, id: &str) -> Result<Value, Refusal> {
    let listed = listed(call, id)?;
    let one = std::slice::from_ref(&listed);
    let snapshots = tokio::time::timeout(SHOWN_WITHIN, live::snapshots(&call.app, one)).await;
    let snapshots = snapshots.ok().and_then(Result::ok).unwrap_or_default();
    let accounts = accounts_of(call, one).await?;
    Ok(connection_view::connection(&listed, snapshots.get(id), accounts.get(id)))
}

/// What is known of all accounts that are signed in, by connection.
pub(super) async fn accounts(call: &Call) -> Result<HashMap<String, OauthSummary>, Refusal> {
    known(call, None).await
}

/// What is known of those of them that are signed in, by connection.
pub(super) async fn accounts_of(call: &Call, of: &[Arc<Listed>]) -> Result<HashMap<String, OauthSummary>, Refusal> {
    let signed_in = of.iter().filter(|entry| entry.row.auth_type == AUTH_TYPE);
    let ids: Vec<_> = signed_in.map(|entry| entry.row.id.clone()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    known(call, Some(ids)).await
}

async fn known(call: &Call, of: Option<Vec<String>>) -> Result<HashMap<String, OauthSummary>, Refusal> {
    let summaries = call.app.store.oauth_tokens().summaries(of).await?;
    Ok(summaries.into_iter().map(|summary| (summary.connection_id.clone(), summary)).collect())
}
