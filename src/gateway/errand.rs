//! A request that the gateway makes for itself, in the name of somebody: past none of the gates of a client's request,
//! with the same limits, attempts and records, but without a way over the network.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix_web::body::to_bytes;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use omniroute_actors::router::Router;
use omniroute_actors::usage::record::UsageRecord;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ask::Ask;
use super::client_format::ClientFormat;
use super::pipeline::{Call, Head, LetIn, Reader};
use crate::app::App;
use crate::auth::Principal;
use crate::error::ApiError;
use crate::infra::lifecycle::InFlight;
use crate::wire::openai_chat::ChatRequest;

/// How often somebody who can wait looks whether there is room.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Who asks, and where.
#[derive(Clone)]
pub struct Errand {
    /// In whose name.
    pub principal: Arc<Principal>,
    /// What handlers share.
    pub app: web::Data<App>,
    /// This worker's router.
    pub router: web::Data<Addr<Router>>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Told {
    /// The status that a client would have got.
    pub status: StatusCode,
    /// The body that a client would have got.
    pub body: Bytes,
    /// When a client should come back.
    pub retry_after: Option<Duration>,
    /// What was booked; nothing for what was refused at the door.
    pub booked: Option<Arc<UsageRecord>>,
}

impl Errand {
    /// Wait until clients leave room for what can wait.
    pub async fn wait_for_ease(&self) {
        while !self.app.overload.is_at_ease(&self.app.config.load().overload) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ask a chat question. Dropped half-way, its upstream call is cancelled and what it used is booked.
    pub async fn chat(&self, body: Bytes) -> Told {
        let id = uuid::Uuid::now_v7().to_string();
        let (tell, told) = oneshot::channel();
        let response = match self.answer(&id, body, tell).await {
            Ok(response) => response,
            Err(error) => error.to_response_for(ClientFormat::Chat, Some(&id)),
        };
        let status = response.status();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        // A whole answer is booked when its body has been read.
        let body = to_bytes(response.into_body()).await.unwrap_or_default();
        Told { status, body, retry_after: seconds.map(Duration::from_secs), booked: told.await.ok() }
    }

    async fn answer(
        &self,
        id: &str,
        body: Bytes,
        tell: oneshot::Sender<Arc<UsageRecord>>,
    ) -> Result<HttpResponse, ApiError> {
        let started = Instant::now();
        let head = Head::Own { id: id.to_owned(), headers: headers() };
        let let_in = LetIn::own(Arc::clone(&self.principal), head, self.app.clone(), self.router.clone())?;
        let read = async |body, _: Reader<'_>| Ok(Ask::chat(ChatRequest::parse(body)?));
        let mut taken = let_in.read(body, read).await?;
        taken.booked = Some(tell);
        let (call, pass) = Call::open(taken, started);
        Ok(call.answer(&self.app, &self.router, InFlight::counted_elsewhere().carrying(pass)).await)
    }
}

/// Its answer is to be made, not remembered.
fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("x-omniroute-no-cache"), HeaderValue::from_static("true"));
    headers
}
