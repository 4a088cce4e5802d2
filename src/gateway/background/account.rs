//! What a run has to tell: its answer when it is there, and on the way, if anybody asked for that, its events.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use actix::Addr;
use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::http::StatusCode;
use actix_web::web;
use bytes::Bytes;
use omniroute_actors::background::Said;
use omniroute_actors::router::Router;
use tokio::sync::watch;

use crate::app::App;
use crate::gateway::pipeline::Call;
use crate::infra::lifecycle::InFlight;
use crate::wire::responses::stored::StoredResponse;
use crate::wire::responses::transcript::Transcript;

/// What is said is kept for whoever comes back; a run that says more has failed.
const MOST_SAID: usize = 64 * 1024 * 1024;

/// What a run's answer to its client would have been.
pub(super) struct Ended {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Ended {
    const fn with(status: StatusCode, body: Bytes) -> Self {
        Self { status, body }
    }
}

/// A run that is followed.
pub(super) struct Account {
    transcript: Transcript,
    voice: watch::Sender<Said>,
    size: usize,
    /// The last event; nobody hears it before the answer is kept.
    last: Option<String>,
}

impl Account {
    /// Of the answer that is queued here.
    pub(super) fn open(queued: &StoredResponse, voice: watch::Sender<Said>) -> Self {
        let (transcript, begin) = Transcript::open(queued);
        let mut account = Self { transcript, voice, size: 0, last: None };
        account.say(begin);
        account
    }

    fn say(&mut self, events: Vec<String>) {
        if !events.is_empty() {
            self.size = self.size.saturating_add(events.iter().map(String::len).sum());
            self.voice.send_modify(|said| said.extend(events.into_iter().map(Arc::from)));
        }
    }

    /// All that there is to say, the end included.
    pub(super) fn closed(&mut self, stored: &StoredResponse) -> Vec<String> {
        self.last = self.last.take().or_else(|| self.transcript.fail(stored));
        self.voice.borrow().iter().map(|event| event.to_string()).chain(self.last.clone()).collect()
    }

    /// Say the end.
    pub(super) fn end(&mut self) {
        let last = self.last.take();
        self.say(last.into_iter().collect());
    }

    /// Say what came, but for the end.
    fn pass_on(&mut self, mut events: Vec<String>) {
        if self.transcript.end().is_some() {
            self.last = events.pop();
        }
        self.say(events);
    }

    /// Tell the events of a stream to its end.
    async fn tell(&mut self, mut body: BoxBody) -> Ended {
        let cut = || Ended::with(StatusCode::BAD_GATEWAY, Bytes::new());
        while self.transcript.end().is_none() {
            let Some(bytes) = next(&mut body).await else { return cut() };
            match self.transcript.absorb(bytes) {
                Ok(events) if self.size <= MOST_SAID => self.pass_on(events),
                _ => return cut(),
            }
        }
        // What is booked when the stream is whole.
        while next(&mut body).await.is_some() {}
        self.transcript.end().map_or_else(cut, |end| {
            let status = if end.get("id").is_some() { StatusCode::OK } else { StatusCode::BAD_GATEWAY };
            Ended::with(status, end.to_string().into())
        })
    }
}

/// The next piece; none at the end, and none where it breaks off.
async fn next(body: &mut BoxBody) -> Option<Bytes> {
    poll_fn(|cx| Pin::new(&mut *body).poll_next(cx)).await?.ok()
}

/// What a client would have read.
pub(super) async fn answer(
    call: Call,
    (app, router): (&web::Data<App>, &web::Data<Addr<Router>>),
    account: Option<&mut Account>,
) -> Ended {
    let response = call.answer(app, router, InFlight::counted_elsewhere()).await;
    let status = response.status();
    match (account, response.into_body()) {
        (Some(account), body) if status.is_success() => account.tell(body).await,
        (_, body) => match to_bytes(body).await {
            Ok(body) => Ended::with(status, body),
            Err(_) => Ended::with(StatusCode::BAD_GATEWAY, Bytes::new()),
        },
    }
}
