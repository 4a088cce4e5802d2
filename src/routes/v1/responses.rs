//! `POST /v1/responses` and what belongs to it.

use actix_web::HttpResponse;

use crate::auth::Principal;
use crate::gateway::ask::Ask;
use crate::gateway::client_format::ClientFormat;
use crate::gateway::pipeline::Incoming;
use crate::wire::responses;

/// Answer a request.
pub async fn create(incoming: Incoming) -> HttpResponse {
    let client = ClientFormat::Responses;
    let read = |body: bytes::Bytes, _: &Principal| {
        let request = responses::decode_request(&body)?;
        Ok(Ask::read(client, body, request))
    };
    incoming.answer(client, read).await
}
