//! What a leased connection is called with: its credential as it stands in the target, or the token that its actor got for
//! it. For a connection whose credential is sent as it is, this is one branch.

use std::sync::Arc;

use omniroute_actors::connection::token::{MintFailure, Token};
use omniroute_actors::router::Lease;
use secrecy::ExposeSecret;

use super::fault::Fault;
use crate::infra::lateness::Deadline;

/// The token to send, where one is sent. `refused` is one that the provider did not take.
///
/// # Errors
/// Why there is none.
pub async fn token(lease: &Lease, refused: Option<&Token>, by: &Deadline) -> Result<Option<Arc<Token>>, Fault> {
    if lease.config.exchange.is_none() {
        return Ok(None);
    }
    let (handle, now) = (lease.permit.handle(), lease.permit.admitted_at());
    let token = handle.fresh_token(&lease.config, refused.map(|token| token.version), now);
    match by.wait_for(token).await {
        Ok(token) => token.map(Some).map_err(Fault::from),
        Err(late) => Err(Fault::late(late, "no token in time")),
    }
}

/// The secret that the provider gets to see, without its scheme, to be taken out of messages.
pub fn secret(lease: &Lease, token: Option<&Token>) -> String {
    let own = || lease.target().auth_header.as_ref().map(|(_, value)| value);
    let value = token.map(|token| &token.value).or_else(own).map(ExposeSecret::expose_secret);
    value.map_or_else(String::new, |value| value.rsplit(' ').next().unwrap_or(value).to_owned())
}

impl From<MintFailure> for Fault {
    fn from(failure: MintFailure) -> Self {
        let MintFailure { outcome, status, retry_after, message, .. } = failure;
        Self { status, retry_after, ..Self::own(outcome, message) }
    }
}
