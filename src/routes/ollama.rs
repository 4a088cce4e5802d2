//! Ollama's addresses, at the root and under `/v1`.

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;

use super::{RouteSpec, Scope};
use crate::app::App;
use crate::error::{ApiError, Problem};
use crate::gateway::ask::Ask;
use crate::gateway::client_format::ClientFormat;
use crate::gateway::pipeline::{Incoming, Reader};
use crate::routes::v1::models::{Model, visible};
use crate::wire::bad_request::BadRequest;
use crate::wire::chat::{Format, Request};
use crate::wire::ollama::{self, Load};

/// The routes.
pub fn routes() -> Vec<RouteSpec> {
    vec![
        RouteSpec::post("/v1/api/chat", Scope::Inference, "Answer a chat in Ollama's format", chat).also("/api/chat"),
        RouteSpec::post("/v1/api/generate", Scope::Inference, "Complete a prompt in Ollama's format", generate)
            .also("/api/generate"),
        RouteSpec::get("/v1/api/tags", Scope::Inference, "List the models in Ollama's shape", tags).also("/api/tags"),
        RouteSpec::post("/v1/api/show", Scope::Inference, "Describe one model in Ollama's shape", show)
            .also("/api/show"),
        RouteSpec::get("/v1/api/version", Scope::Inference, "The version of Ollama's API that is spoken", version)
            .also("/api/version"),
        RouteSpec::get("/v1/api/ps", Scope::Inference, "Models that are loaded: none, they run elsewhere", running)
            .also("/api/ps"),
    ]
}

async fn chat(incoming: Incoming) -> HttpResponse {
    let read = async |body: Bytes, reader: Reader<'_>| {
        let (client, load) = (ClientFormat::Ollama, Load::of_chat(&body));
        ask(client, load, body, reader, ollama::decode_request)
    };
    incoming.answer(ClientFormat::Ollama, read).await
}

async fn generate(incoming: Incoming) -> HttpResponse {
    let read = async |body: Bytes, reader: Reader<'_>| {
        let (client, load) = (ClientFormat::OllamaGenerate, Load::of_generate(&body));
        ask(client, load, body, reader, ollama::decode_generate)
    };
    incoming.answer(ClientFormat::OllamaGenerate, read).await
}

/// A request without a question only wants the model in memory, which is nobody's business here: it is answered at once.
fn ask(
    client: ClientFormat,
    load: Option<Load>,
    body: Bytes,
    reader: Reader<'_>,
    decode: fn(&[u8]) -> Result<Request, BadRequest>,
) -> Result<Ask, ApiError> {
    let mut request = match &load {
        Some(load) => Request::new(Format::Ollama, load.model.clone()),
        None => decode(&body)?,
    };
    // Ollama's own tools add the tag to every name.
    if let Some(name) = request.model.strip_suffix(":latest") {
        request.model = name.to_owned();
    }
    let mut ask = Ask::read(client, body, request);
    ask.ready = load.map(|load| load.answer(reader.app.clock.wall().0 / 1_000));
    Ok(ask)
}

async fn tags(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let models: Vec<_> = visible(&request, &app).iter().map(Model::facts).collect();
    json(ollama::tags_body(&models))
}

#[derive(Debug, Deserialize)]
struct Named {
    #[serde(alias = "name")]
    model: String,
}

async fn show(request: HttpRequest, app: web::Data<App>, named: web::Bytes) -> HttpResponse {
    let problem =
        |problem, message: String| ApiError::new(problem, message).to_response_for(ClientFormat::Ollama, None);
    let Ok(Named { model }) = serde_json::from_slice(&named) else {
        return problem(Problem::BadRequest, "model is required".to_owned());
    };
    match visible(&request, &app).iter().find(|known| known.id() == model) {
        Some(known) => json(ollama::show_body(&known.facts())),
        None => problem(Problem::ModelNotFound, format!("model '{model}' not found")),
    }
}

async fn version() -> HttpResponse {
    json(ollama::version_body())
}

async fn running() -> HttpResponse {
    json(ollama::ps_body(&[]))
}

fn json(body: bytes::Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(body)
}
