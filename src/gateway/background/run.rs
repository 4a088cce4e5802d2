//! One run: the usual pipeline with nobody at its end, until it answers, is cancelled or must go.

use actix::Addr;
use actix_web::body::to_bytes;
use actix_web::http::StatusCode;
use actix_web::web;
use bytes::Bytes;
use omniroute_actors::background::RunTicket;
use omniroute_actors::router::Router;
use serde_json::Value;

use super::{BELIEVED_MS, Ended, SAID_EVERY};
use crate::app::App;
use crate::gateway::pipeline::Call;
use crate::infra::lifecycle::InFlight;
use crate::store::{KeptResponse, ResponseRow, RunStatus};
use crate::wire::responses::stored::StoredResponse;

/// A store that is away for a moment does not cost a finished answer.
const KEEPING_TRIES: u32 = 10;

/// A run and what it needs.
pub(super) struct Run {
    pub(super) app: web::Data<App>,
    pub(super) router: web::Data<Addr<Router>>,
    pub(super) ticket: RunTicket,
    pub(super) row: ResponseRow,
    /// The answer before there is one.
    pub(super) queued: StoredResponse,
    /// The client's own body.
    pub(super) request: Value,
    /// A process that goes away waits for it.
    pub(super) in_flight: InFlight,
}

impl Run {
    /// Make the answer. What is dropped half-way cancels the upstream call and is booked as usual.
    pub(super) async fn make(mut self, call: Call) {
        let mut cut = self.app.lifecycle.watch_cut();
        let (app, router) = (self.app.clone(), self.router.clone());
        let ended = tokio::select! {
            ended = answer(call, &app, &router) => Some(ended),
            () = self.ticket.stopped() => return,
            () = unwanted(&app, &self.row.id) => return,
            () = std::future::poll_fn(|cx| cut.poll(cx)) => None,
        };
        let stored = match ended {
            Some(ended) => self.stored(ended),
            None => self.failed("shutting_down", "The gateway is going away."),
        };
        self.keep(stored).await;
        drop(self.in_flight);
    }

    fn stored(&self, ended: Ended) -> StoredResponse {
        let answer: Value = serde_json::from_slice(&ended.body).unwrap_or_default();
        if !ended.status.is_success() {
            let said = |name: &str| answer.pointer(name).and_then(Value::as_str);
            let code = said("/error/code").or_else(|| said("/error/type")).unwrap_or("server_error");
            return self.failed(code, said("/error/message").unwrap_or("The request failed."));
        }
        let Some(stored) = StoredResponse::of_exchange(&self.request, answer) else {
            return self.failed("server_error", "The provider's answer cannot be kept.");
        };
        let status = stored.status().unwrap_or("completed").to_owned();
        // The items that were asked keep their ids.
        let input = self.queued.input.clone();
        StoredResponse { input, ..stored.in_background(&self.row.id, &status) }
    }

    fn failed(&self, code: &str, message: &str) -> StoredResponse {
        let mut failed = self.queued.clone();
        failed.fail(code, message);
        failed
    }

    async fn keep(&self, stored: StoredResponse) {
        let status = stored.status().and_then(RunStatus::parse).filter(|status| !status.is_running());
        let status = status.unwrap_or(RunStatus::Completed);
        let Ok(body) = serde_json::to_string(&stored) else { return };
        let kept = KeptResponse { row: ResponseRow { body, ..self.row.clone() }, items: stored.item_ids() };
        for tries in 1..=KEEPING_TRIES {
            match self.app.store.responses().finish(status, kept.clone()).await {
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, tries, response.id = self.row.id, "an answer from the background cannot be kept");
                }
            }
            self.still_running().await;
            tokio::time::sleep(SAID_EVERY / 5).await;
        }
    }

    async fn still_running(&self) {
        let until = self.app.clock.wall().0.saturating_add(BELIEVED_MS);
        let _ = self.app.store.responses().keep_running(&self.row.id, until).await;
    }
}

/// What a client would have read.
async fn answer(call: Call, app: &web::Data<App>, router: &Addr<Router>) -> Ended {
    let response = call.answer(app, router, InFlight::counted_elsewhere()).await;
    let status = response.status();
    match to_bytes(response.into_body()).await {
        Ok(body) => Ended { status, body },
        Err(_) => Ended { status: StatusCode::BAD_GATEWAY, body: Bytes::new() },
    }
}

/// Says again and again that the run goes on, and returns when nobody wants it any more.
async fn unwanted(app: &App, id: &str) {
    loop {
        let until = app.clock.wall().0.saturating_add(BELIEVED_MS);
        match app.store.responses().keep_running(id, until).await {
            Ok(true) => {}
            Ok(false) => return,
            // It is away for a moment; the run goes on.
            Err(error) => tracing::warn!(%error, response.id = id, "a run in the background cannot be noted"),
        }
        tokio::time::sleep(SAID_EVERY).await;
    }
}
