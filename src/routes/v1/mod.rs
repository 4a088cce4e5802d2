//! The data plane.

pub mod body;
pub mod chat_completions;
pub mod models;

use super::{RouteSpec, Scope};

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
        RouteSpec::get("/v1/models", Scope::Inference, "List the models that the key may use", models::list)
            .also("/v1")
            .also("/models"),
        RouteSpec::get("/v1/models/{id:.+}", Scope::Inference, "Describe one model", models::one),
    ]
}
