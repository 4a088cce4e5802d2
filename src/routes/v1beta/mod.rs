//! Gemini's addresses.

mod generate;
mod models;

use super::{RouteSpec, Scope};

/// The routes. Google's SDKs differ in what stands before the model: `/v1beta`, `/v1alpha` or `/v1`, with `models/` or
/// without.
pub fn routes() -> Vec<RouteSpec> {
    vec![
        RouteSpec::get("/v1beta/models", Scope::Inference, "List the models in Gemini's shape", models::list)
            .also("/api/v1beta/models")
            .also("/v1alpha/models"),
        RouteSpec::get("/v1beta/models/{model:.+}", Scope::Inference, "Describe one model", models::one)
            .also("/api/v1beta/models/{model:.+}")
            .also("/v1alpha/models/{model:.+}"),
        RouteSpec::post(
            "/v1beta/models/{model:.+}",
            Scope::Inference,
            "Generate content or count tokens: {model}:{action}",
            generate::call,
        )
        .also("/api/v1beta/models/{model:.+}")
        .also("/v1alpha/models/{model:.+}")
        .also("/v1beta/{call:.+}")
        .also("/api/v1beta/{call:.+}")
        .also("/v1alpha/{call:.+}"),
        RouteSpec::post("/v1/models/{id:.+}", Scope::Inference, "The same under /v1", generate::call),
    ]
}
