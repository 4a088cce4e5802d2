//! A request as the dispatch sees it: checked, with its deadlines.

use std::cell::{OnceCell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};
use omniroute_actors::resilience::queue::Key;
use omniroute_actors::resilience::retry_budget::RetryBudget;
use omniroute_actors::router::Only;
use omniroute_actors::router::config::Timeouts;
use omniroute_actors::router::features::RequestFeatures;
use omniroute_actors::router::plan::Combo;
use tokio::time::Instant;

use super::ask::Ask;
use crate::config::Config;
use crate::infra::lateness::Deadline;
use crate::wire::chat::Took;

/// A client may shorten the total deadline, in milliseconds.
pub static TIMEOUT_HEADER: HeaderName = HeaderName::from_static("x-omniroute-timeout-ms");

/// Characters of a prompt per token, as a rule of thumb.
const CHARS_PER_TOKEN: u64 = 4;

/// Who asks, as far as its share of what is scarce goes.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its key; requests wait fairly between keys.
    pub key: Key,
    /// The extra attempts that its requests may cause.
    pub retries: Arc<RetryBudget>,
}

/// The request.
#[derive(Debug)]
pub struct Inbound {
    /// Its id.
    pub id: String,
    /// What it asks for.
    pub ask: Box<Ask>,
    /// Which connections may serve it.
    pub only: Only,
    /// What routing looks at.
    pub features: Arc<RequestFeatures>,
    /// The session it belongs to.
    pub session: Option<u64>,
    /// Headers of the client that a provider of its own format gets as well.
    pub forwarded: Vec<(HeaderName, HeaderValue)>,
    /// When it came, in seconds since the Unix epoch.
    pub created: i64,
    /// Its deadlines, before a combo has a say.
    pub deadlines: Deadlines,
    /// Those that its combo asks for.
    pub narrowed: OnceCell<Deadlines>,
    /// Attempts it may cost.
    pub max_attempts: usize,
    /// Who asks.
    pub caller: Caller,
    /// What the next place is told of the session that is handed over to it.
    pub handoff: RefCell<Option<Arc<str>>>,
}

impl Inbound {
    /// Another request on the way to this one's answer: the same caller, the same deadlines.
    pub fn making(&self, ask: Ask, features: RequestFeatures) -> Self {
        Self {
            id: self.id.clone(),
            ask: Box::new(ask),
            only: self.only.clone(),
            features: Arc::new(features),
            session: self.session,
            forwarded: self.forwarded.clone(),
            created: self.created,
            deadlines: self.deadlines(),
            narrowed: OnceCell::from(self.deadlines()),
            max_attempts: self.max_attempts,
            caller: self.caller.clone(),
            handoff: RefCell::new(self.handoff.borrow().clone()),
        }
    }

    /// The same, over by this time at the latest.
    #[must_use]
    pub fn ending(mut self, by: Instant) -> Self {
        let deadlines = self.deadlines();
        self.deadlines = Deadlines { total: deadlines.total.min(by), ..deadlines };
        self.narrowed = OnceCell::from(self.deadlines);
        self
    }

    /// Its deadlines.
    pub fn deadlines(&self) -> Deadlines {
        self.narrowed.get().copied().unwrap_or(self.deadlines)
    }

    /// It goes to this combo, which may have deadlines of its own. The first word counts.
    pub fn narrow(&self, combo: Option<&Combo>) {
        if let Some(combo) = combo {
            self.narrowed.get_or_init(|| self.deadlines.within(&combo.config.timeouts));
        }
    }

    /// The tokens that it will use at least; what the answer adds is known when it ends.
    pub const fn estimated_tokens(&self) -> u64 {
        self.ask.prompt_chars.div_ceil(CHARS_PER_TOKEN)
    }
}

/// The deadlines of one request.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// When it came.
    pub started: Instant,
    /// When all of it must be over.
    pub total: Instant,
    /// How long one attempt may take to its first content.
    pub first_content: Duration,
    /// How long one attempt may take to a whole answer.
    pub whole: Duration,
    /// How long content may pause.
    pub idle: Duration,
    /// Tokens per second below which a stream counts as stalled; 0 = never.
    pub min_tokens_per_s: u64,
    /// What the client asked for.
    pub asked: Option<Duration>,
}

impl Deadlines {
    /// From the configuration; the client may only shorten the total.
    pub fn new(config: &Config, started: Instant, asked: Option<Duration>) -> Self {
        let most = Duration::from_millis(config.deadlines.total_ms);
        Self {
            started,
            total: started + asked.map_or(most, |asked| asked.min(most)),
            first_content: Duration::from_millis(config.deadlines.first_content_ms),
            whole: Duration::from_millis(config.deadlines.whole_answer_ms),
            idle: Duration::from_millis(config.deadlines.idle_ms),
            min_tokens_per_s: config.deadlines.min_tokens_per_s,
            asked,
        }
    }

    /// With what a combo says; a client may still only shorten the total.
    pub fn within(self, timeouts: &Timeouts) -> Self {
        let most = timeouts.total.map(|total| self.asked.map_or(total, |asked| asked.min(total)));
        Self {
            total: most.map_or(self.total, |most| self.started + most),
            first_content: timeouts.first_content.unwrap_or(self.first_content),
            idle: timeouts.idle.unwrap_or(self.idle),
            ..self
        }
    }

    /// When the first content of an attempt that starts now must be there.
    pub fn first_content_of_attempt(&self, now: Instant) -> Instant {
        (now + self.first_content).min(self.total)
    }

    /// When an attempt that starts now must have shown that it answers: by its first content, or by all of it.
    pub fn answer_of_attempt(&self, streamed: bool, now: Instant) -> Deadline {
        let at = if streamed { self.first_content_of_attempt(now) } else { (now + self.whole).min(self.total) };
        Deadline::new(at, self.total)
    }

    /// How long an answer took that ends now, of a provider that was asked at `asked` and whose first content was seen at
    /// `content`, if it was seen before the end.
    pub fn took(&self, asked: Instant, content: Option<Instant>) -> Took {
        let (now, read) = (Instant::now(), content.unwrap_or(asked));
        Took {
            total: now.duration_since(self.started),
            load: asked.duration_since(self.started),
            prompt: read.duration_since(asked),
            answer: now.duration_since(read),
        }
    }

    /// Whether the whole request is out of time.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.total
    }
}
