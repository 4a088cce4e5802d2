//! The data plane.

pub mod body;
pub mod chat_completions;
mod completions;
mod incoming;
mod messages;
pub mod models;
mod responses;

use super::{RouteSpec, Scope};
use crate::gateway::count;

/// The routes of the data plane.
pub fn routes() -> Vec<RouteSpec> {
    vec![
        RouteSpec::post(
            "/v1/chat/completions",
            Scope::Inference,
            "Answer a chat, whole or as a stream",
            chat_completions::chat_completions,
        )
        .also("/chat/completions"),
        RouteSpec::post(
            "/v1/providers/{provider}/chat/completions",
            Scope::Inference,
            "Answer a chat with a model of this provider",
            chat_completions::of_provider,
        ),
        RouteSpec::post("/v1/completions", Scope::Inference, "Complete a prompt", completions::completions),
        RouteSpec::post("/v1/messages", Scope::Inference, "Answer in Anthropic's format", messages::messages),
        RouteSpec::post(
            "/v1/messages/count_tokens",
            Scope::Inference,
            "Count the tokens of a message in Anthropic's format",
            count::anthropic,
        ),
        RouteSpec::post(
            "/v1/responses/input_tokens",
            Scope::Inference,
            "Count the tokens of a request in OpenAI's Responses format",
            count::responses,
        ),
        RouteSpec::post("/v1/responses", Scope::Inference, "Answer in OpenAI's Responses format", responses::create)
            .also("/responses"),
        RouteSpec::post(
            "/v1/responses/compact",
            Scope::Inference,
            "Make a conversation of the Responses format short",
            responses::compact,
        ),
        RouteSpec::get("/v1/responses/{id}", Scope::Inference, "Show a kept answer", responses::show),
        RouteSpec::delete("/v1/responses/{id}", Scope::Inference, "Forget a kept answer", responses::delete),
        RouteSpec::post(
            "/v1/responses/{id}/cancel",
            Scope::Inference,
            "Cancel an answer that is made in the background",
            responses::cancel,
        ),
        RouteSpec::get(
            "/v1/responses/{id}/input_items",
            Scope::Inference,
            "List what a kept answer was asked",
            responses::input_items,
        ),
        RouteSpec::get("/v1/models", Scope::Inference, "List the models that the key may use", models::list)
            .also("/v1")
            .also("/models"),
        RouteSpec::get("/v1/models/{id:.+}", Scope::Inference, "Describe one model", models::one),
    ]
}
