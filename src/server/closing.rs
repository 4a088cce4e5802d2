//! While the process goes away, each answer asks its client to close the connection, so that load balancers open the
//! next one elsewhere. A wrapper without an allocation: it lies around every request.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready as done};

use actix_web::Error;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::ConnectionType;
use pin_project_lite::pin_project;

use crate::infra::lifecycle::{Lifecycle, Phase};

/// The middleware.
#[derive(Debug, Clone)]
pub struct Closing(Arc<Lifecycle>);

impl Closing {
    /// For this process.
    pub const fn new(lifecycle: Arc<Lifecycle>) -> Self {
        Self(lifecycle)
    }
}

impl<S, B> Transform<S, ServiceRequest> for Closing
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = ClosingService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(ClosingService { service, lifecycle: Arc::clone(&self.0) }))
    }
}

/// [`Closing`] around a service.
#[derive(Debug)]
pub struct ClosingService<S> {
    service: S,
    lifecycle: Arc<Lifecycle>,
}

impl<S, B> Service<ServiceRequest> for ClosingService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = Answer<S::Future>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        Answer { answer: self.service.call(request), lifecycle: Arc::clone(&self.lifecycle) }
    }
}

pin_project! {
    /// The answer on its way out.
    pub struct Answer<F> {
        #[pin]
        answer: F,
        lifecycle: Arc<Lifecycle>,
    }
}

impl<F, B> Future for Answer<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = done!(this.answer.poll(context));
        if this.lifecycle.phase() == Phase::Draining
            && let Ok(answer) = &mut answer
        {
            answer.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        Poll::Ready(answer)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{App, HttpResponse, test, web};
    use omniroute_actors::clock::Moment;

    use super::*;

    async fn closes(lifecycle: &Arc<Lifecycle>) -> bool {
        let app = App::new().wrap(Closing::new(Arc::clone(lifecycle))).default_service(web::to(HttpResponse::Ok));
        let service = test::init_service(app).await;
        let answer = test::call_service(&service, test::TestRequest::get().to_request()).await;
        answer.response().head().connection_type() == ConnectionType::Close
    }

    #[actix_web::test]
    async fn connections_are_kept_until_the_process_goes_away() {
        let lifecycle = Arc::new(Lifecycle::new(Moment::START));
        lifecycle.ready();
        let before = closes(&lifecycle).await;

        lifecycle.drain();

        assert_eq!((before, closes(&lifecycle).await), (false, true));
    }
}
