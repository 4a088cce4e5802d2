//! `POST /v1/completions`: OpenAI's older completions.

use actix_web::HttpResponse;

use crate::gateway::ask::Ask;
use crate::gateway::client_format::ClientFormat;
use crate::gateway::pipeline::{Incoming, Reader};
use crate::wire::openai_completions;

/// Complete a prompt.
pub async fn completions(incoming: Incoming) -> HttpResponse {
    let client = ClientFormat::Completions;
    let read = async |body: bytes::Bytes, _: Reader<'_>| {
        let request = openai_completions::decode_request(&body)?;
        let include_usage = openai_completions::wants_usage(&request);
        let mut ask = Ask::read(client, body, request);
        ask.include_usage = include_usage;
        Ok(ask)
    };
    incoming.answer(client, read).await
}
