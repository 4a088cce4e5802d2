//! Following an answer that is made in the background: from any of its events on, again and again. Whoever leaves takes
//! nothing along.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use futures_util::stream::{Stream, once, unfold};
use omniroute_actors::background::Said;
use tokio::sync::watch;

use crate::app::App;
use crate::store::RunStatus;
use crate::wire::responses::transcript::{broken_off, is_last};

/// Proxies close what is silent for longer.
const HEARTBEAT_AFTER: Duration = Duration::from_secs(15);
/// How often one looks whether a run of another process has ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What of a kept answer's events can be told.
#[derive(Debug)]
pub enum Kept {
    /// Another process makes it; its events come when it is made.
    Elsewhere,
    /// It is made, or there will be none.
    Over(RunStatus, Vec<String>),
}

/// The events from this number on, as they come, of a run of this process.
pub fn live(said: watch::Receiver<Said>, from: usize) -> HttpResponse {
    streamed(unfold(Some(Follower { said, next: from }), |follower| async { follower?.step().await }))
}

/// The events from this number on of an answer that is made.
pub fn replay(status: RunStatus, events: &[String], from: usize) -> HttpResponse {
    let bytes = rest(status, events, from);
    streamed(once(async { Ok(bytes) }))
}

/// The events of an answer that another process makes, once it is made; `look` asks how far it is.
pub fn awaited<L, F>(app: web::Data<App>, from: usize, look: L) -> HttpResponse
where
    L: Fn(web::Data<App>) -> F + 'static,
    F: Future<Output = Option<Kept>>,
{
    streamed(unfold(Some((app, look)), move |waiting| async move {
        let (app, look) = waiting?;
        let looks = HEARTBEAT_AFTER.as_secs() / LOOK_EVERY.as_secs();
        for _ in 0..looks {
            match look(app.clone()).await {
                Some(Kept::Over(status, events)) => return Some((Ok(rest(status, &events, from)), None)),
                Some(Kept::Elsewhere) => tokio::time::sleep(LOOK_EVERY).await,
                None => return None,
            }
        }
        Some((Ok(heartbeat()), Some((app, look))))
    }))
}

fn rest(status: RunStatus, events: &[String], from: usize) -> Bytes {
    let mut rest: String = events.iter().skip(from).map(String::as_str).collect();
    if !events.last().is_some_and(|last| is_last(last)) {
        let (code, message) = why(status);
        rest.push_str(&broken_off(events.len(), code, message));
    }
    rest.into()
}

const fn why(status: RunStatus) -> (&'static str, &'static str) {
    match status {
        RunStatus::Cancelled => ("response_cancelled", "The response was cancelled."),
        _ => ("server_error", "The gateway ended while it worked on this response."),
    }
}

fn heartbeat() -> Bytes {
    Bytes::from_static(b": keep-alive\n\n")
}

fn streamed(events: impl Stream<Item = Result<Bytes, Infallible>> + 'static) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.content_type("text/event-stream").insert_header((CACHE_CONTROL, "no-cache"));
    response.insert_header(("x-accel-buffering", "no")).streaming(events)
}

struct Follower {
    said: watch::Receiver<Said>,
    next: usize,
}

impl Follower {
    /// What was said since the last step, or the next thing that is.
    async fn step(mut self) -> Option<(Result<Bytes, Infallible>, Option<Self>)> {
        loop {
            let (fresh, last) = self.fresh();
            if last {
                return Some((Ok(fresh), None));
            }
            if !fresh.is_empty() {
                return Some((Ok(fresh), Some(self)));
            }
            match tokio::time::timeout(HEARTBEAT_AFTER, self.said.changed()).await {
                Ok(Ok(())) => {}
                // It was cancelled: whatever else ends a run, it says before.
                Ok(Err(_)) => return Some((Ok(self.cut()), None)),
                Err(_) => return Some((Ok(heartbeat()), Some(self))),
            }
        }
    }

    /// What came, and whether that was the end.
    fn fresh(&mut self) -> (Bytes, bool) {
        let said = self.said.borrow_and_update();
        let fresh: String = said.iter().skip(self.next).map(|event| &**event).collect();
        let ended = said.last().is_some_and(|last| is_last(last));
        self.next = self.next.max(said.len());
        (fresh.into(), ended)
    }

    fn cut(&self) -> Bytes {
        let (code, message) = why(RunStatus::Cancelled);
        broken_off(self.said.borrow().len(), code, message).into()
    }
}
