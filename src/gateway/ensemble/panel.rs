//! `fusion`: the steps are asked at the same time, and a judge writes the answer out of theirs.
//!
//! Enough answers, or the patience with those who are late, end the panel; who is late then is cancelled. Nobody needs
//! to have answered in time: the first answer is waited for as long as the request may take. When the judge fails the
//! client gets the best answer of the panel: the first in the operator's order that is whole.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use omniroute_actors::router::Route;
use omniroute_actors::router::itinerary::Itinerary;
use omniroute_actors::router::plan::Combo;
use tokio::time::{Instant, timeout_at};

use super::{Ending, Ensemble, Read, call, failed, prompt, read};
use crate::gateway::ask::Made;
use crate::gateway::dispatch::{Failed, Waiting};
use crate::gateway::inbound::Inbound;
use crate::wire::chat::{Request, Stop};
use crate::wire::usage::Usage;

/// More steps are not asked at a time, whatever the combo says.
const MOST: usize = 20;
/// The outcome of a call that was not waited for.
const LATE: &str = "panel_late";

impl Ensemble<'_> {
    pub(super) async fn fusion(&mut self, combo: &Combo) -> Result<Ending, Failed> {
        let config = &combo.config.ensemble;
        let request = self.request().map_err(failed)?;
        let mut parts = self.itinerary.parts();
        parts.truncate(config.panel.map_or(MOST, |most| (most as usize).min(MOST)));
        if parts.is_empty() {
            return Err(self.nothing_fits());
        }
        let asked = self.making(prompt::inner(&request), Made { inner: true, ..Made::default() });
        let patience = config.patience.unwrap_or_else(|| left(&asked) / 2);
        let quorum = if config.quorum == 0 { parts.len() } else { config.quorum as usize };
        let answers = self.ask_panel(&asked, parts, (quorum, Instant::now() + patience)).await?;
        let spent = answers.iter().fold(Usage::default(), |sum, read| sum.and(&read.usage));
        // One answer needs no judge, unless it has a task of its own or tools to use.
        let judged = answers.len() > 1 || config.prompt.is_some() || !request.tools.is_empty();
        if !judged {
            return best(answers, spent).ok_or_else(|| self.nothing_fits());
        }
        let texts: Vec<String> = answers.iter().map(Read::text).collect();
        let asked = prompt::judge(&request, &texts, config.prompt.as_deref());
        match self.judge(asked, config.judge.as_deref(), spent).await {
            Ok(ending) => Ok(ending),
            Err(failed) => best(answers, spent).ok_or(failed),
        }
    }

    /// The answers of the panel, in the order of its steps.
    async fn ask_panel(
        &self,
        asked: &Inbound,
        parts: Vec<Arc<Itinerary>>,
        (quorum, until): (usize, Instant),
    ) -> Result<Vec<Read>, Failed> {
        let mut panel: FuturesUnordered<_> = parts
            .into_iter()
            .enumerate()
            .map(async |(place, part)| {
                let role = format!("panel {}", place + 1);
                let start = Route::along(part, asked.only.clone());
                let tally = self.tally.branch(Some(&role));
                (place, read(self.around, (asked, tally), start, Waiting::NONE).await)
            })
            .collect();
        let mut answers: Vec<(usize, Read)> = Vec::new();
        let mut worst = None;
        while answers.len() < quorum {
            // Late is who comes after another one.
            let until = if answers.is_empty() { asked.deadlines().total } else { until };
            match timeout_at(until, panel.next()).await {
                Ok(Some((place, Ok(read)))) => answers.push((place, read)),
                Ok(Some((_, Err(failed)))) => worst = Some(failed),
                Ok(None) | Err(_) => break,
            }
        }
        drop(panel);
        self.tally.branch(None).ledger_mut().cut_off(LATE, Instant::now());
        answers.sort_by_key(|(place, _)| *place);
        let answers: Vec<Read> = answers.into_iter().map(|(_, read)| read).collect();
        if answers.is_empty() { Err(worst.unwrap_or_else(|| self.nothing_fits())) } else { Ok(answers) }
    }

    async fn judge(&mut self, asked: Request, model: Option<&str>, spent: Usage) -> Result<Ending, Failed> {
        let inbound = self.making(asked, Made { inner: false, continues: false, spent });
        let only = inbound.only.clone();
        let start = match model {
            Some(model) => Route::of(model, Arc::clone(&inbound.features), only),
            None => Route::along(Arc::clone(&self.itinerary), only),
        };
        let mut tally = self.tally.branch(Some("judge"));
        let dispatched = call(self.around, (&inbound, &mut tally), start, Waiting::NONE).await?;
        self.tally.join(tally);
        Ok(Ending::Answered(Box::new(inbound), Box::new(dispatched)))
    }
}

fn left(inbound: &Inbound) -> std::time::Duration {
    inbound.deadlines().total.saturating_duration_since(Instant::now())
}

/// The first that is whole, or else the first.
fn best(mut answers: Vec<Read>, spent: Usage) -> Option<Ending> {
    let whole = |read: &Read| read.answer.choices.first().is_some_and(|choice| choice.stop == Stop::Done);
    let at = answers.iter().position(whole).unwrap_or(0);
    (at < answers.len()).then(|| Ending::Settled(Box::new(answers.swap_remove(at)), spent))
}
