//! A stream that broke off in the middle of its text goes on elsewhere, where its combo allows it.
//!
//! ```text
//! provider a: "The quick bro" ── breaks off ──┐
//!                                             ├─ asked with the text so far as the beginning of the answer
//! provider b:                    "wn fox." ◄──┘   the client's stream goes on in one piece
//! ```
//! Only text is gone on with: one answer, no schema, no call, no thought that is open; only by a target that goes on with
//! a beginning ([`prefix`](super::prefix)); once per request, within its deadlines, its attempts and the budgets of extra
//! attempts. What cannot be gone on with ends with the error event, as without a combo's word. Both parts are billed.

use std::pin::Pin;
use std::sync::Arc;

use omniroute_actors::resilience::outcome::{Next, Outcome};
use omniroute_actors::router::Lease;
use omniroute_actors::router::features::RequestFeatures;
use omniroute_actors::router::plan::Combo;
use tokio::time::Instant;

use super::ask::{Ask, Made};
use super::dispatch::{Dispatched, Failed, Waiting, dispatch, retries};
use super::fault::Fault;
use super::inbound::Inbound;
use super::race::Step;
use super::surroundings::Surroundings;
use super::tally::Tally;
use crate::wire::chat::{Message, OutputFormat, Part, PartKind, Request, Role, ToolKind};
use crate::wire::usage::Usage;

/// What the attempts for the rest of an answer are called in the ledger.
const ROLE: &str = "continuation";

/// Whether an answer may be put together from more than one stream, or of more than one call.
pub fn is_trunk(ask: &Ask, combo: Option<&Combo>) -> bool {
    ask.stream && !ask.is_inner() && (ask.spent() != Usage::default() || may_go_on(ask, combo))
}

/// Whether a combo lets this request's answer be gone on with.
fn may_go_on(ask: &Ask, combo: Option<&Combo>) -> bool {
    combo.is_some_and(|combo| combo.config.continuation) && ask.neutral().is_ok_and(|request| is_plain(request))
}

/// One answer of plain text.
fn is_plain(request: &Request) -> bool {
    let sampling = &request.sampling;
    let native = request.tools.iter().any(|tool| matches!(tool.kind, ToolKind::Native(_)));
    let text_only = request.modalities.iter().all(|kind| kind == "text");
    let one = sampling.n.unwrap_or(1) <= 1 && sampling.logprobs != Some(true);
    one && text_only && !native && request.output == OutputFormat::Text
}

/// Somebody who goes on, and what was noted on the way.
pub type Found = Result<(Box<Dispatched>, Tally), Failed>;

/// The search for somebody who goes on. Dropping it cancels it.
pub type Search = Pin<Box<dyn Future<Output = Found>>>;

/// What a stream broke off.
pub struct Broken<'a> {
    /// Who had it.
    pub lease: &'a Lease,
    /// How.
    pub fault: &'a Fault,
    /// What the client has read.
    pub text: &'a str,
    /// What it used.
    pub used: Usage,
    /// Where it is noted.
    pub tally: &'a Tally,
}

/// A request that may go on elsewhere.
pub struct GoOn {
    /// The process.
    pub around: Surroundings,
    /// The request.
    pub inbound: Inbound,
}

impl GoOn {
    /// Look for somebody who goes on with the text; nothing where nobody may.
    pub fn search(&self, broken: &Broken<'_>) -> Option<Search> {
        let combo = broken.lease.itinerary.combo.as_deref();
        if !passes(broken.fault, &self.inbound) || !may_go_on(&self.inbound.ask, combo) {
            return None;
        }
        let request = rest_of(self.inbound.ask.neutral().ok()?, broken)?;
        let ask = self.inbound.ask.making(request, Made { continues: true, inner: true, spent: Usage::default() });
        let more = u32::try_from(Usage::estimate(0, broken.text.chars().count() as u64).completion_tokens());
        let known = &*self.inbound.features;
        let prompt_tokens = known.prompt_tokens.saturating_add(more.unwrap_or(u32::MAX));
        let inbound = self.inbound.making(ask, RequestFeatures { prompt_tokens, ..known.clone() });
        let start = broken.lease.next(inbound.only.clone());
        let before = (broken.tally.attempts(), Arc::clone(broken.lease.permit.handle()));
        let (around, mut tally) = (self.around.clone(), broken.tally.branch(Some(ROLE)));
        Some(Box::pin(async move {
            let means = around.means();
            let retries = retries(&inbound.caller.retries, &around.config).after(before.0, &before.1);
            let to = Step { router: &around.router, means: &means, inbound: &inbound, tally: &mut tally, retries };
            // Nobody waits for a cooldown while a client reads.
            let found = dispatch(to, start, Waiting::NONE).await?;
            Ok((Box::new(found), tally))
        }))
    }
}

/// Whether another one may do better.
fn passes(fault: &Fault, inbound: &Inbound) -> bool {
    let ours = matches!(fault.outcome, Outcome::DeadlineExceeded | Outcome::GatewayFault | Outcome::ClientGone);
    !ours && fault.outcome.verdict().next != Next::Stop && !inbound.deadlines().is_over(Instant::now())
}

/// The request for the rest; nothing where the rest could not be told from a new answer.
fn rest_of(request: &Request, broken: &Broken<'_>) -> Option<Request> {
    let mut rest = request.clone();
    let text = broken.text.trim_end();
    let halfway = |stop: &String| {
        stop.char_indices().skip(1).any(|(at, _)| stop.get(..at).is_some_and(|begun| broken.text.ends_with(begun)))
    };
    // Whether the model was writing what ends the answer, nobody could see across the seam.
    if rest.sampling.stop.iter().any(halfway) {
        return None;
    }
    if let Some(most) = rest.sampling.max_tokens {
        rest.sampling.max_tokens = Some(most.checked_sub(broken.used.completion_tokens()).filter(|left| *left > 0)?);
    }
    // It has been thought about; and who thinks cannot begin in the middle.
    rest.reasoning = None;
    rest.stream = true;
    begin_with(&mut rest, text);
    Some(rest)
}

/// Let the answer begin with this text. A client may have given a beginning itself.
fn begin_with(request: &mut Request, text: &str) {
    let last = request.messages.last_mut().filter(|message| message.role == Role::Assistant);
    match last.and_then(|message| message.parts.last_mut()) {
        Some(Part { kind: PartKind::Text { text: begun, .. }, .. }) => begun.push_str(text),
        _ => request.messages.push(Message::text(Role::Assistant, text)),
    }
}

/// What clients that look for it read where the rest begins.
pub fn note(lease: &Lease) -> String {
    let words = format!("x-omniroute-continued={}/{}", lease.config.provider, lease.model());
    words.chars().filter(|c| c.is_ascii_graphic()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::openai;

    fn plain(members: &str) -> bool {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}]{members}}}"#);
        is_plain(&openai::decode_request(body.as_bytes()).unwrap())
    }

    #[test]
    fn only_one_answer_of_plain_text_may_be_gone_on_with() {
        let tool = r#","tools":[{"type":"function","function":{"name":"f"}}]"#;
        assert!(plain("") && plain(r#","n":1"#) && plain(tool));

        assert!(!plain(r#","n":2"#) && !plain(r#","logprobs":true"#));
        assert!(!plain(r#","response_format":{"type":"json_object"}"#));
        assert!(!plain(r#","modalities":["text","audio"],"audio":{"voice":"v","format":"mp3"}"#));
    }

    #[test]
    fn a_beginning_of_the_client_and_what_was_said_are_one_beginning() {
        let body = br#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"Well"}]}"#;
        let mut begun = openai::decode_request(body).unwrap();
        let mut plain = Request { messages: begun.messages[..1].to_vec(), ..begun.clone() };

        begin_with(&mut begun, ", yes");
        begin_with(&mut plain, "Yes");

        assert_eq!(begun.messages[1].parts[0].as_text(), Some("Well, yes"));
        assert_eq!((plain.messages.len(), plain.messages[1].parts[0].as_text()), (2, Some("Yes")));
    }
}
