//! `POST /v1/chat/completions`, also under the name of one provider.

use actix_web::{HttpResponse, web};

use crate::gateway::ask::Ask;
use crate::gateway::client_format::ClientFormat;
use crate::gateway::pipeline::{Incoming, Reader};
use crate::wire::bad_request::BadRequest;
use crate::wire::openai_chat::ChatRequest;

/// Answer a chat request.
pub async fn chat_completions(incoming: Incoming) -> HttpResponse {
    let read = async |body, reader: Reader<'_>| {
        let mut chat = ChatRequest::parse(body)?;
        chat.default_stream(reader.principal.stream_default_legacy);
        Ok(Ask::chat(chat))
    };
    incoming.answer(ClientFormat::Chat, read).await
}

/// The same for the models of one provider: its prefix is added to a name without one, another one is refused.
pub async fn of_provider(provider: web::Path<String>, incoming: Incoming) -> HttpResponse {
    let read = async |body, reader: Reader<'_>| {
        let mut chat = ChatRequest::parse(body)?;
        chat.default_stream(reader.principal.stream_default_legacy);
        chat.model = prefixed(&provider, &chat.model)?;
        Ok(Ask::chat(chat))
    };
    incoming.answer(ClientFormat::Chat, read).await
}

fn prefixed(provider: &str, model: &str) -> Result<String, BadRequest> {
    let known = crate::providers::Catalog::builtin();
    let same = |name: &str| {
        name == provider || known.by_alias(name).is_some_and(|spec| spec.id == provider || spec.alias == provider)
    };
    match model.split_once('/') {
        Some((prefix, _)) if same(prefix) => Ok(model.to_owned()),
        Some((prefix, _)) if known.by_alias(prefix).is_some() => {
            let message = format!("Model '{model}' is not one of provider '{provider}'.");
            Err(BadRequest::new(message, "model", "provider_mismatch"))
        }
        _ => Ok(format!("{provider}/{model}")),
    }
}
