//! How an attempt fails, in one shape: what it was, what an operator reads, what the client may read.
//!
//! Everything that can go wrong between us and an upstream becomes a [`Fault`] here and nowhere else.

use std::time::Duration;

use omniroute_actors::connection::lease::Settlement;
use omniroute_actors::resilience::classify::{Failure, limit_in_words};
use omniroute_actors::resilience::outcome::Outcome;
use omniroute_actors::router::fallback::RetryClass;

use super::ask::CannotCarry;
use super::note;
use crate::infra::lateness::Late;
use crate::upstream::{BodyError, Delivery, SendError, SendErrorKind};
use crate::wire::bedrock::event_stream::EventStreamError;
use crate::wire::chat;
use crate::wire::lines::LineError;
use crate::wire::openai_chat_answer::BadAnswer;
use crate::wire::openai_chat_stream::{Ending, Truncation};
use crate::wire::openai_error::{UpstreamErrorBody, redact};
use crate::wire::sse::SseError;

/// The words for an answer that holds nothing, and for one that is no JSON.
const EMPTY: &str = "empty_response";
const NOT_JSON: &str = "not_json";
/// The word for a gateway that was held up itself.
pub const STANDSTILL: &str = "gateway_overloaded";

/// A failed attempt.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What it was.
    pub outcome: Outcome,
    /// The upstream's status; 0 when there was none.
    pub status: u16,
    /// What the upstream said, redacted; our own words when it said nothing.
    pub error: UpstreamErrorBody,
    /// Whether the words are the upstream's.
    pub from_upstream: bool,
    /// When it says to come back.
    pub retry_after: Option<Duration>,
    /// What the provider may know of the attempt.
    pub class: RetryClass,
    /// A web page came where an answer should be: the address leads to no API.
    pub is_page: bool,
}

impl Fault {
    /// One that we saw ourselves.
    pub fn own(outcome: Outcome, message: impl Into<String>) -> Self {
        let error = UpstreamErrorBody { message: message.into(), ..UpstreamErrorBody::default() };
        Self {
            outcome,
            status: 0,
            error,
            from_upstream: false,
            retry_after: None,
            class: RetryClass::NotSent,
            is_page: false,
        }
    }

    /// With a word for what it was, where a client or an operator can do more with it than with "bad gateway".
    #[must_use]
    pub fn named(mut self, word: Option<&str>) -> Self {
        self.error.code = word.map(str::to_owned);
        self
    }

    /// One that the upstream reported. `secrets` are taken out of its words.
    pub fn reported(
        status: u16,
        mut error: UpstreamErrorBody,
        retry_after: Option<Duration>,
        secrets: &[&str],
    ) -> Self {
        error.message = redact(&error.message, secrets);
        let failure =
            Failure { status, code: error.code.as_deref(), kind: error.kind.as_deref(), message: &error.message };
        let (outcome, class) = (failure.outcome(), RetryClass::Answered);
        Self { outcome, status, error, from_upstream: true, retry_after, class, is_page: false }
    }

    /// The same from a provider that tells its limits in words alone.
    #[must_use]
    pub fn with_limits_in_words(mut self) -> Self {
        self.outcome = limit_in_words(self.status, &self.error.message).unwrap_or(self.outcome);
        self
    }

    /// An error object where an answer should be: its code counts like the status that it stands for.
    pub fn inside_ok(error: UpstreamErrorBody, secrets: &[&str]) -> Self {
        let numeric =
            error.code.as_deref().and_then(|code| code.parse::<u16>().ok()).filter(|code| (400..600).contains(code));
        let mut fault = Self::reported(numeric.unwrap_or(0), error, None, secrets);
        if fault.outcome == Outcome::BrokenAnswer {
            fault.outcome = Outcome::ServerFault;
        }
        fault
    }

    /// It happened after the request was written: unless the provider said so itself, this is what it may know.
    #[must_use]
    pub fn after_sending(mut self, class: RetryClass) -> Self {
        if !self.from_upstream {
            self.class = class;
        }
        self
    }

    /// The report for the connection.
    pub fn settlement(&self, first_content: Option<Duration>) -> Settlement {
        let error = Some(note::of(self));
        Settlement { outcome: self.outcome, retry_after: self.retry_after, error, first_content }
    }
}

impl From<Delivery> for RetryClass {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::NotSent => Self::NotSent,
            Delivery::MaybeAccepted => Self::MaybeAccepted,
            Delivery::Answered => Self::Answered,
        }
    }
}

/// No usable head. `first_content` tells whether the head was late by the attempt's or by the request's clock.
impl From<SendError> for Fault {
    fn from(error: SendError) -> Self {
        let outcome = match &error.kind {
            SendErrorKind::Refused(_) => Outcome::LocalNetwork,
            SendErrorKind::Proxy { .. } => Outcome::ProxyFailed,
            SendErrorKind::InvalidRequest(_) | SendErrorKind::Standstill => Outcome::GatewayFault,
            // A name that had an address lives on from the cache for minutes: one that fails here is as good as away.
            SendErrorKind::Dns { .. }
            | SendErrorKind::Connect { .. }
            | SendErrorKind::ConnectTimeout { .. }
            | SendErrorKind::Tls { .. } => Outcome::ConnectFailed,
            SendErrorKind::HeadTimeout => Outcome::FirstContentTimeout,
            SendErrorKind::Reset { .. }
            | SendErrorKind::Protocol(_)
            | SendErrorKind::Redirect { .. }
            | SendErrorKind::UnexpectedStatus(_)
            | SendErrorKind::Encoded { .. }
            | SendErrorKind::Undelimited { .. } => Outcome::BrokenAnswer,
        };
        let word = match &error.kind {
            SendErrorKind::Tls { .. } => Some("tls"),
            SendErrorKind::Proxy { .. } => Some("proxy_error"),
            SendErrorKind::Redirect { .. } => Some("unexpected_redirect"),
            SendErrorKind::Standstill => Some(STANDSTILL),
            _ => None,
        };
        let own = Self::own(outcome, error.kind.to_string()).named(word);
        Self { class: error.delivery.into(), ..own }
    }
}

impl From<BodyError> for Fault {
    fn from(error: BodyError) -> Self {
        let outcome = match &error {
            BodyError::Idle => Outcome::IdleTimeout,
            BodyError::Deadline => Outcome::DeadlineExceeded,
            BodyError::Standstill => Outcome::GatewayFault,
            _ => Outcome::BrokenAnswer,
        };
        let word = matches!(error, BodyError::Standstill).then_some(STANDSTILL);
        Self::own(outcome, error.to_string()).named(word)
    }
}

impl From<SseError> for Fault {
    fn from(error: SseError) -> Self {
        Self::own(Outcome::BrokenAnswer, error.to_string())
    }
}

impl From<LineError> for Fault {
    fn from(error: LineError) -> Self {
        Self::own(Outcome::BrokenAnswer, error.to_string())
    }
}

impl From<EventStreamError> for Fault {
    fn from(error: EventStreamError) -> Self {
        Self::own(Outcome::BrokenAnswer, error.to_string())
    }
}

impl Fault {
    /// A 2xx body that is no answer.
    pub fn bad_answer(bad: BadAnswer, secrets: &[&str]) -> Self {
        match bad {
            BadAnswer::ErrorObject(error) => Self::inside_ok(error, secrets),
            other => {
                let word = match &other {
                    BadAnswer::Empty => Some(EMPTY),
                    BadAnswer::NotJson { .. } => Some(NOT_JSON),
                    _ => None,
                };
                Self::own(Outcome::BrokenAnswer, other.to_string()).named(word)
            }
        }
    }

    /// The same, for any format.
    pub fn in_format(bad: chat::BadAnswer, secrets: &[&str]) -> Self {
        match bad {
            chat::BadAnswer::Error(error) => Self::inside_ok(*error, secrets),
            other => {
                let word = matches!(other, chat::BadAnswer::NotJson).then_some(NOT_JSON);
                Self::own(Outcome::BrokenAnswer, other.to_string()).named(word)
            }
        }
    }

    /// No content in time, and whose fault that is.
    pub fn late(late: Late, message: &str) -> Self {
        match late {
            Late::Theirs => Self::own(Outcome::FirstContentTimeout, message),
            Late::Ours => Self::standstill(),
        }
    }

    /// This thread lost so much time that nobody can tell what the provider did.
    pub fn standstill() -> Self {
        Self::own(Outcome::GatewayFault, "the gateway itself was held up for too long").named(Some(STANDSTILL))
    }

    /// A login page, a portal's, a proxy's: whatever it is, no waiting makes an API of it.
    pub fn a_page() -> Self {
        let message = "the provider answered with a web page instead of JSON or a stream";
        Self { is_page: true, ..Self::own(Outcome::BrokenAnswer, message).named(Some(NOT_JSON)) }
    }

    /// The provider's format cannot carry the request, or the request turned out to be wrong.
    pub fn cannot_carry(no: CannotCarry) -> Self {
        let outcome = if no.hopeless { Outcome::ClientFault } else { Outcome::Untranslatable };
        let error = UpstreamErrorBody {
            message: no.message,
            kind: Some("invalid_request_error".into()),
            param: no.field,
            code: Some("unsupported_parameter".into()),
        };
        Self {
            outcome,
            status: 400,
            error,
            from_upstream: false,
            retry_after: None,
            class: RetryClass::NotSent,
            is_page: false,
        }
    }

    /// An event of a stream that cannot be read. What it held is lost, so the stream is too.
    pub fn invalid_event() -> Self {
        Self::own(Outcome::BrokenAnswer, "the provider's stream held something that is not JSON").named(Some(NOT_JSON))
    }

    /// A stream that ended without its end. `None` when it is whole.
    pub fn of_ending(ending: Ending) -> Option<Self> {
        let (message, word) = match ending {
            Ending::Complete { .. } => return None,
            Ending::Empty => ("the provider's stream ended without any content", Some(EMPTY)),
            Ending::Truncated(Truncation::NoFinish) => ("the provider's stream broke off before its end", None),
            Ending::Truncated(Truncation::DoneWithoutFinish) => {
                ("the provider's stream was closed without a finish reason", None)
            }
            Ending::Truncated(Truncation::UpstreamError) => ("the provider reported an error in its stream", None),
            Ending::Truncated(Truncation::InvalidJson) => return Some(Self::invalid_event()),
        };
        Some(Self::own(Outcome::BrokenAnswer, message).named(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(code: &str) -> UpstreamErrorBody {
        UpstreamErrorBody { message: "no".into(), code: Some(code.into()), ..UpstreamErrorBody::default() }
    }

    #[test]
    fn an_error_inside_a_good_status_counts_by_its_code() {
        assert_eq!(Fault::inside_ok(body("429"), &[]).outcome, Outcome::RateLimited);
        assert_eq!(Fault::inside_ok(body("context_length_exceeded"), &[]).outcome, Outcome::ContextTooLong);
        assert_eq!(Fault::inside_ok(body("weird"), &[]).outcome, Outcome::ServerFault);
    }

    #[test]
    fn the_report_for_the_connection_holds_no_words_about_the_request() {
        let error = UpstreamErrorBody { message: "Invalid value: my diary".into(), ..body("invalid_value") };

        let note = Fault::reported(400, error, None, &[]).settlement(None).error.unwrap();

        assert_eq!((note.code.as_deref(), note.message.as_str()), (Some("invalid_value"), ""));
    }

    #[test]
    fn a_throttled_stream_of_bedrock_is_a_limit_and_no_failure_of_the_provider() {
        use crate::wire::chat::StreamDecoder;
        let data = br#"{"message":"slow down"}"#;
        let mut decoder = crate::wire::bedrock::Decoder::default();
        let bad = decoder.frame(Some("throttlingException"), data, &mut Vec::new()).unwrap_err();

        assert_eq!(Fault::in_format(bad, &[]).outcome, Outcome::RateLimited);
    }

    #[test]
    fn an_upstream_that_echoes_our_key_does_not_tell_it_to_the_client() {
        let error = UpstreamErrorBody { message: "bad key sk-secret-123456".into(), ..UpstreamErrorBody::default() };

        let fault = Fault::reported(401, error, None, &["sk-secret-123456"]);

        assert!(!fault.error.message.contains("secret"));
        assert_eq!(fault.outcome, Outcome::AuthRefused);
    }
}
