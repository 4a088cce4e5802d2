//! `POST /v1/messages`: Anthropic Messages.

use actix_web::HttpResponse;

use crate::gateway::ask::Ask;
use crate::gateway::client_format::ClientFormat;
use crate::gateway::pipeline::{Incoming, Reader};
use crate::wire::anthropic;

/// Answer a message.
pub async fn messages(incoming: Incoming) -> HttpResponse {
    let client = ClientFormat::Anthropic;
    let read = async |body: bytes::Bytes, _: Reader<'_>| {
        let request = anthropic::decode_request(&body)?;
        Ok(Ask::read(client, body, request))
    };
    incoming.answer(client, read).await
}
