//! `GET /v1beta/models` and `GET /v1beta/models/{model}`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::app::App;
use crate::error::{ApiError, Problem};
use crate::gateway::client_format::ClientFormat;
use crate::routes::v1::models::visible;
use crate::wire::gemini::models::{ListedModel, model_body, models_page};

/// Which page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Page {
    page_size: Option<usize>,
    page_token: Option<String>,
}

/// List all models.
pub async fn list(request: HttpRequest, app: web::Data<App>, page: Option<web::Query<Page>>) -> HttpResponse {
    let page = page.map(web::Query::into_inner).unwrap_or_default();
    let models: Vec<_> = visible(&request, &app).iter().map(listed).collect();
    let body = models_page(&models, page.page_size, page.page_token.as_deref());
    HttpResponse::Ok().content_type("application/json").body(body)
}

/// One model; its id may hold slashes.
pub async fn one(request: HttpRequest, id: web::Path<String>, app: web::Data<App>) -> HttpResponse {
    let id = id.strip_prefix("models/").unwrap_or(&id);
    match visible(&request, &app).iter().find(|model| model.id() == id) {
        Some(model) => HttpResponse::Ok().content_type("application/json").body(model_body(&listed(model))),
        None => ApiError::new(Problem::ModelNotFound, format!("models/{id} is not found."))
            .to_response_for(ClientFormat::Gemini { as_array: false }, None),
    }
}

fn listed(model: &crate::routes::v1::models::Model) -> ListedModel {
    ListedModel { id: model.id().to_owned(), input_token_limit: model.context_length(), output_token_limit: None }
}
