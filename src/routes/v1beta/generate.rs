//! `POST /v1beta/models/{model}:{action}`.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::gateway::ask::Ask;
use crate::gateway::client_format::ClientFormat;
use crate::gateway::count;
use crate::gateway::pipeline::{Incoming, Reader};
use crate::routes::Refusal;
use crate::wire::gemini::{self, Action};

/// Answer a call of a model.
pub async fn call(tail: web::Path<String>, incoming: Incoming) -> HttpResponse {
    let gemini = ClientFormat::Gemini { as_array: false };
    let Some((model, action)) = gemini::parse_path(&tail) else {
        return Refusal::not_found("There is nothing under this path").for_client(gemini, None);
    };
    match action {
        Action::GenerateContent => generate(incoming, gemini, model, false).await,
        Action::StreamGenerateContent => {
            let client = ClientFormat::Gemini { as_array: !wants_events(&incoming.request) };
            generate(incoming, client, model, true).await
        }
        Action::CountTokens => count::gemini(incoming, model).await,
        _ => {
            Refusal::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", "This gateway does not serve this action yet")
                .for_client(gemini, None)
        }
    }
}

async fn generate(incoming: Incoming, client: ClientFormat, model: String, stream: bool) -> HttpResponse {
    let read = async |body: bytes::Bytes, _: Reader<'_>| {
        let request = gemini::decode_request(&body, &model, stream)?;
        Ok(Ask::read(client, body, request))
    };
    incoming.answer(client, read).await
}

/// `?alt=sse` asks for server-sent events; without it a stream is one JSON array.
fn wants_events(request: &HttpRequest) -> bool {
    request.query_string().split('&').any(|pair| pair == "alt=sse")
}
