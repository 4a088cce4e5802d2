//! A question with a short answer, for what is not a model call: the whole answer within one time and one size.

use std::time::Duration;

use awc::http::StatusCode;
use bytes::Bytes;
use tokio::time::Instant;

use super::{Caller, ClientFactory, CollectLimits, UpstreamRequest, collect, send};

/// Ask and read the whole answer.
///
/// # Errors
/// Why there is none, in our own words.
pub async fn whole(
    clients: &ClientFactory,
    request: UpstreamRequest,
    cap: usize,
    within: Duration,
) -> Result<(StatusCode, Bytes), String> {
    let deadline = Instant::now() + within;
    let response =
        send(&clients.thread_client(Caller::default()), request, deadline).await.map_err(|error| error.to_string())?;
    let status = response.status;
    let limits = CollectLimits { cap, idle: within, deadline };
    let body = collect(response.body, limits).await.map_err(|error| error.to_string())?;
    Ok((status, body))
}
