//! How many tokens would a request cost? Asked of the provider where it counts for itself, else counted here with the
//! tokenizer of the model's family, else guessed; the answer says which.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use omniroute_actors::router::{Lease, Route};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::access;
use super::ask::Ask;
use super::assemble::quirk_bit;
use super::client_format::ClientFormat;
use super::pipeline::{Incoming, Reader, Taken};
use super::provider_format;
use super::tokens::{Source, count, estimate};
use super::upstream_call::UpstreamCall;
use crate::error::ApiError;
use crate::infra::lateness::Deadline;
use crate::providers::Quirk;
use crate::upstream::{Caller, CollectLimits, collect, send};
use crate::wire::bad_request::BadRequest;
use crate::wire::chat::{Format, Request};
use crate::wire::{anthropic, gemini, responses};

/// A provider that does not count within this time is not waited for: a guess is better than a pause.
const WITHIN: Duration = Duration::from_secs(5);
const LONGEST_ANSWER: usize = 64 * 1024;

/// `POST /v1/messages/count_tokens`.
pub async fn anthropic(incoming: Incoming) -> HttpResponse {
    let read = async |body: Bytes, _: Reader<'_>| {
        let request = anthropic::decode_count_request(&body)?;
        Ok(Ask::read(ClientFormat::Anthropic, body, request))
    };
    answer(incoming, ClientFormat::Anthropic, read, anthropic::count_answer).await
}

/// `POST /v1beta/models/{model}:countTokens`.
pub async fn gemini(incoming: Incoming, model: String) -> HttpResponse {
    let client = ClientFormat::Gemini { as_array: false };
    let read = async |body: Bytes, _: Reader<'_>| {
        let request = gemini::decode_count_tokens(&body, &model)?;
        Ok(Ask::read(client, body, request))
    };
    answer(incoming, client, read, gemini::count_tokens_body).await
}

/// `POST /v1/responses/input_tokens`.
pub async fn responses(incoming: Incoming) -> HttpResponse {
    let read = async |body: Bytes, _: Reader<'_>| {
        let request = responses::decode_request(&body)?;
        Ok(Ask::read(ClientFormat::Responses, body, request))
    };
    answer(incoming, ClientFormat::Responses, read, responses::input_tokens_body).await
}

async fn answer(
    incoming: Incoming,
    client: ClientFormat,
    read: impl AsyncFnOnce(Bytes, Reader<'_>) -> Result<Ask, ApiError>,
    write: impl FnOnce(u64) -> Bytes,
) -> HttpResponse {
    let counted = match incoming.take(read).await {
        Ok(taken) => counted(&taken).await,
        Err(error) => return error.to_response_for(client, None),
    };
    match counted {
        Ok((tokens, source)) => HttpResponse::Ok()
            .content_type("application/json")
            .insert_header((
                HeaderName::from_static("x-omniroute-token-source"),
                HeaderValue::from_static(source.as_str()),
            ))
            .body(with_source(&write(tokens), source)),
        Err(bad) => ApiError::from(bad).to_response_for(client, None),
    }
}

/// The format's own answer, with the word for how sure the number is beside it.
fn with_source(body: &Bytes, source: Source) -> Bytes {
    let Ok(Value::Object(mut members)) = serde_json::from_slice(body) else { return body.clone() };
    members.insert("source".into(), source.as_str().into());
    serde_json::to_vec(&members).map_or_else(|_| body.clone(), Bytes::from)
}

async fn counted(taken: &Taken) -> Result<(u64, Source), BadRequest> {
    let request = taken.ask.neutral()?;
    let lease = taken.router.send(Route::first(&taken.ask.model, taken.only())).await;
    let Ok(Ok(lease)) = lease else { return Ok(counted_here(request, taken.ask.model.clone()).await) };
    if let Some(tokens) = asked(taken, &lease).await {
        return Ok((tokens, Source::Provider));
    }
    Ok(counted_here(request, lease.model().to_string()).await)
}

/// A long prompt takes a tokenizer many milliseconds, and its first use loads the vocabulary: not on a worker that other
/// clients' streams wait for.
async fn counted_here(request: &Arc<Request>, model: String) -> (u64, Source) {
    let (long, guess) = (Arc::clone(request), estimate(request));
    web::block(move || count(&long, &model)).await.unwrap_or(guess)
}

/// What the provider says, if it speaks the client's format and counts.
async fn asked(taken: &Taken, lease: &Lease) -> Option<u64> {
    let target = lease.target();
    let format = provider_format::of(target);
    if taken.ask.client.same_as() != Some(format) || target.quirks & quirk_bit(Quirk::VertexBody) != 0 {
        // Google's cloud counts for Anthropic's models elsewhere.
        return None;
    }
    let deadline = Instant::now() + WITHIN;
    let token = access::token(lease, None, &Deadline::firm(deadline)).await.ok()?;
    let model = lease.model().as_str();
    let call = UpstreamCall {
        target,
        model,
        stream: false,
        token: token.as_deref(),
        headers: &[],
        now: taken.app.clock.wall().0 / 1_000,
    };
    let mut request = call.with(provider_format::rewrite(format, taken.ask.body(), model)).ok()?;
    request.url = count_url(format, &request.url)?;
    let caller = Caller::at(lease.config.id.as_str(), lease.config.provider.as_str());
    let response = send(&taken.app.clients.thread_client(caller), request, deadline).await.ok()?;
    if !response.status.is_success() {
        return None;
    }
    let limits = CollectLimits { cap: LONGEST_ANSWER, idle: WITHIN, deadline };
    let answer: Value = serde_json::from_slice(&collect(response.body, limits).await.ok()?).ok()?;
    ["input_tokens", "totalTokens"].iter().find_map(|name| answer.get(*name)?.as_u64())
}

/// Where a provider of this format counts, beside where it answers.
fn count_url(format: Format, url: &Url) -> Option<Url> {
    let path = match format {
        Format::Anthropic => format!("{}/count_tokens", url.path()),
        Format::OpenAiResponses => format!("{}/input_tokens", url.path()),
        Format::Gemini => url.path().replace(":generateContent", ":countTokens"),
        _ => return None,
    };
    let mut counting = url.clone();
    counting.set_path(&path);
    Some(counting)
}
