//! How actix hands a request over to the pipeline.

use std::future::{Ready, ready};

use actix::Addr;
use actix_web::dev::Payload;
use actix_web::error::ErrorInternalServerError;
use actix_web::{Error, FromRequest, HttpRequest, web};
use omniroute_actors::router::Router;

use crate::app::App;
use crate::gateway::pipeline::Incoming;

impl FromRequest for Incoming {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let app = request.app_data::<web::Data<App>>().cloned();
        let router = request.app_data::<web::Data<Addr<Router>>>().cloned();
        let payload = web::Payload::from_request(request, payload).into_inner();
        ready(match (app, router, payload) {
            (Some(app), Some(router), Ok(payload)) => Ok(Self { request: request.clone(), payload, app, router }),
            _ => Err(ErrorInternalServerError("the server is not set up")),
        })
    }
}
