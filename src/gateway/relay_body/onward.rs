//! A stream that broke off: the search for somebody who goes on with it, and going on.

use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Instant;

use super::RunningStream;
use crate::gateway::attempt::Answer;
use crate::gateway::continuation::{Broken, Search, note};
use crate::gateway::dispatch::Dispatched;
use crate::gateway::fault::Fault;
use crate::gateway::pace::Pace;
use crate::gateway::tally::{Tally, tokens};
use crate::infra::lateness;

impl RunningStream {
    /// It broke off: somebody else goes on with it, or the client reads why it ends.
    pub(super) fn broke(&mut self, fault: Fault, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.begin_search(&fault) {
            Some(search) => {
                self.search = Some((search, Box::new(fault)));
                self.look(cx)
            }
            None => Poll::Ready(Some(self.fail(&fault))),
        }
    }

    /// What broke off is booked at once, so that nothing is lost whatever comes of the search.
    fn begin_search(&mut self, fault: &Fault) -> Option<Search> {
        let used = self.relay.usage(self.prompt_chars);
        let (go_on, lease) = self.go_on.as_ref().zip(self.lease.as_ref())?;
        let text = self.relay.trunk()?.so_far()?;
        let search = go_on.search(&Broken { lease, fault, text, used, tally: &self.tally })?;
        tracing::warn!(
            connection.id = %lease.config.id, outcome = fault.outcome.as_str(),
            "a stream broke off and is to go on elsewhere"
        );
        self.upstream = None;
        let used = tokens(&used);
        self.end_attempt(fault.outcome, fault.status);
        self.tally.ledger_mut().spent(self.place, used);
        self.settle_lease(used, fault.settlement(Some(self.first_content)));
        Some(search)
    }

    pub(super) fn look(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some((search, _)) = self.search.as_mut() else { return Poll::Pending };
        let Poll::Ready(found) = search.as_mut().poll(cx) else { return Poll::Pending };
        let Some((_, fault)) = self.search.take() else { return Poll::Pending };
        match found {
            Ok((dispatched, tally)) => match self.resume(*dispatched, tally) {
                true if self.relay.waiting() > 0 && self.upstream.is_some() => Poll::Ready(Some(self.relay.take_out())),
                true => self.pull(cx),
                false => Poll::Ready(Some(self.fail(&fault))),
            },
            Err(_) => Poll::Ready(Some(self.fail(&fault))),
        }
    }

    /// Go on with what was found.
    fn resume(&mut self, found: Dispatched, tally: Tally) -> bool {
        let Dispatched { answer: Answer::Stream(stream), lease, attempt_started, place, .. } = found else {
            return false;
        };
        let Some(trunk) = self.relay.trunk() else { return false };
        trunk.splice(stream.relay, stream.upstream.is_none(), &note(&lease));
        let (now, lost) = (Instant::now(), lateness::lost());
        self.upstream = stream.upstream;
        self.tally.join(tally);
        (self.attempt_started, self.place) = (attempt_started, place);
        self.first_content = now.duration_since(attempt_started);
        self.provider_time = lease.permit.provider_time(self.first_content, lost);
        self.lease = Some(lease);
        (self.last_content, self.last_write) = (now, now);
        self.pace = Pace::new(self.deadlines.min_tokens_per_s, self.deadlines.idle, now, lost);
        let alarm = self.next_alarm();
        self.timer.as_mut().reset(alarm);
        true
    }
}
