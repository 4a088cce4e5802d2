//! `pipeline`: one step after the other, each with what the step before made of the request.
//!
//! A step that fails, after the fallbacks of its own, ends the request: what an earlier step wrote is not what was
//! asked for, and a client could not tell.

use std::sync::Arc;

use omniroute_actors::router::Route;

use super::{Ending, Ensemble, call, failed, prompt, read};
use crate::gateway::ask::Made;
use crate::gateway::dispatch::Failed;
use crate::wire::usage::Usage;

impl Ensemble<'_> {
    pub(super) async fn pipeline(&mut self) -> Result<Ending, Failed> {
        let parts = self.itinerary.parts();
        let all = self.itinerary.combo.as_ref().map_or(0, |combo| combo.steps.len());
        // A step that cannot serve this request cannot be left out either.
        if parts.is_empty() || parts.len() < all {
            return Err(self.nothing_fits());
        }
        let request = self.request().map_err(failed)?;
        let (mut before, mut spent): (Option<String>, Usage) = (None, Usage::default());
        for (index, part) in parts.iter().enumerate() {
            let asked = before.as_deref().map_or_else(|| (*request).clone(), |text| prompt::step(&request, text));
            let role = format!("step {} of {}", index + 1, parts.len());
            let start = Route::along(Arc::clone(part), self.inbound.only.clone());
            let mut tally = self.tally.branch(Some(&role));
            if index + 1 == parts.len() {
                let inbound = self.making(asked, Made { inner: false, continues: false, spent });
                let dispatched = call(self.around, (&inbound, &mut tally), start, self.waiting).await;
                let dispatched = dispatched.map_err(|failed| named(&role, failed))?;
                self.tally.join(tally);
                return Ok(Ending::Answered(Box::new(inbound), Box::new(dispatched)));
            }
            let made = Made { inner: true, ..Made::default() };
            let inbound = self.making(prompt::inner(&asked), made);
            let done = read(self.around, (&inbound, tally), start, self.waiting).await;
            let done = done.map_err(|failed| named(&role, failed))?;
            spent = spent.and(&done.usage);
            before = Some(done.text());
        }
        Err(self.nothing_fits())
    }
}

/// The failure with the step that it happened in.
fn named(role: &str, failure: Failed) -> Failed {
    match failure {
        Failed::Attempts { mut fault, skipped, retry_after } => {
            fault.error.message = format!("{role}: {}", fault.error.message);
            match skipped.is_empty() {
                true => failed(fault),
                false => Failed::Attempts { fault, skipped, retry_after },
            }
        }
        none @ Failed::NoRoute(_) => none,
    }
}
