//! `GET /v1beta/models` and `GET /v1beta/models/{model}`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::app::App;
use crate::error::{ApiError, Problem};
use crate::gateway::client_format::ClientFormat;
use crate::routes::v1::models::{Model, visible};
use crate::wire::gemini::{model_body, models_page};

const CLIENT: ClientFormat = ClientFormat::Gemini { as_array: false };

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
    let models: Vec<_> = visible(&request, &app).iter().map(Model::facts).collect();
    match models_page(&models, page.page_size, page.page_token.as_deref()) {
        Ok(body) => HttpResponse::Ok().content_type("application/json").body(body),
        Err(bad) => ApiError::from(bad).to_response_for(CLIENT, None),
    }
}

/// One model; its id may hold slashes.
pub async fn one(request: HttpRequest, id: web::Path<String>, app: web::Data<App>) -> HttpResponse {
    let id = id.strip_prefix("models/").unwrap_or(&id);
    match visible(&request, &app).iter().find(|model| model.id() == id) {
        Some(model) => HttpResponse::Ok().content_type("application/json").body(model_body(&model.facts())),
        None => {
            ApiError::new(Problem::ModelNotFound, format!("models/{id} is not found.")).to_response_for(CLIENT, None)
        }
    }
}
