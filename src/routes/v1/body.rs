//! Reading a request body: under a limit and under a deadline, because neither is actix's own doing.

use std::time::Duration;

use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{HttpRequest, web};
use bytes::Bytes;

use crate::config::Server;
use crate::error::{ApiError, Problem};
use crate::routes::body::is_encoded;

/// The whole body.
///
/// # Errors
/// 415 when it is compressed, 413 when it is too large, 408 when it does not come, 400 when it breaks off. All of them
/// end the connection: what comes over it next may be the rest of this body.
pub async fn read_body(request: &HttpRequest, payload: web::Payload, limits: &Server) -> Result<Bytes, ApiError> {
    let most = limits.max_body_bytes;
    if is_encoded(request.headers()) {
        let message = "This gateway takes request bodies without content encoding only.";
        return Err(ApiError::new(Problem::EncodedBody, message).retry(false).closing());
    }
    if declared(request).is_some_and(|length| length > most as u64) {
        return Err(too_large(most));
    }
    let patience = Duration::from_millis(limits.body_read_timeout_ms);
    match tokio::time::timeout(patience, payload.to_bytes_limited(most)).await {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(_))) => Err(ApiError::new(Problem::BadRequest, "The request body broke off.").retry(false).closing()),
        Ok(Err(_)) => Err(too_large(most)),
        Err(_) => {
            let message = format!("The request body did not arrive within {} s.", patience.as_secs().max(1));
            Err(ApiError::new(Problem::BodyTimeout, message).retry(false).closing())
        }
    }
}

fn declared(request: &HttpRequest) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(most: usize) -> ApiError {
    let message = format!("The request body is larger than the {most} bytes that this gateway accepts.");
    ApiError::new(Problem::TooLarge, message).retry(false).closing()
}
