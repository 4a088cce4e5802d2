//! The verdict table: every way an attempt can end, decided once.
//!
//! Nothing else in the system asks "is this a provider failure?" or "may we try the next one?".

use serde::{Deserialize, Serialize};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A whole answer reached us.
    Success,
    /// The request itself is wrong (400, 413, 415, 422): no other connection would answer better.
    ClientFault,
    /// This connection does not serve this model (404, 410, "unsupported model").
    ModelFault,
    /// The prompt does not fit this model.
    ContextTooLong,
    /// The connection's wire format cannot carry what is asked for; nothing was sent.
    Untranslatable,
    /// Too many requests for now.
    RateLimited,
    /// A quota window is used up; it comes back by itself.
    QuotaExhausted,
    /// No money left; it does not come back by itself.
    CreditsExhausted,
    /// The credential was refused (401).
    AuthRefused,
    /// The account may not do this (403).
    Forbidden,
    /// The account was closed by the provider.
    Banned,
    /// The provider says that it is overloaded (503, 529).
    Overloaded,
    /// Any other fault of the provider (5xx).
    ServerFault,
    /// No address, no TCP or no TLS connection in time, or refused.
    ConnectFailed,
    /// No first content in time.
    FirstContentTimeout,
    /// Content stopped coming.
    IdleTimeout,
    /// The request's own total time ran out during this attempt.
    DeadlineExceeded,
    /// The answer broke its own protocol: cut, empty, not JSON, no end.
    BrokenAnswer,
    /// Our own path is closed: the address policy forbids it, or there is no way out.
    LocalNetwork,
    /// The proxy that operators put on the way cannot be used.
    ProxyFailed,
    /// The client went away.
    ClientGone,
    /// A defect or shortage of the gateway itself.
    GatewayFault,
    /// The attempt ended without a verdict, for example before anything was sent.
    Abandoned,
}

/// Who is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The caller's request.
    Client,
    /// The model on this connection.
    Model,
    /// The key or account.
    Credential,
    /// A limit of the account.
    Quota,
    /// The provider's service.
    Provider,
    /// The network between us and the provider.
    Network,
    /// The gateway.
    Gateway,
    /// Nobody.
    Nobody,
}

/// What the dispatch does after this attempt, as long as nothing was sent to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Next {
    /// Finish: the outcome is the answer.
    Stop,
    /// Try the next candidate.
    Advance,
}

/// How the breaker counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// The provider works.
    Alive,
    /// The provider fails.
    Failure,
    /// Says nothing about the provider.
    Silent,
}

/// What is kept away from for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cool {
    /// Nothing.
    Nothing,
    /// The whole connection.
    Connection,
    /// This model on this connection.
    Model,
}

/// A state that only a person, a new credential or a proof of life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Terminal {
    /// The credential is no longer accepted.
    Expired,
    /// The account is closed.
    Banned,
    /// The account has no money.
    CreditsExhausted,
}

impl Terminal {
    /// The word used in the store and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Banned => "banned",
            Self::CreditsExhausted => "credits_exhausted",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Expired, Self::Banned, Self::CreditsExhausted].into_iter().find(|terminal| terminal.as_str() == word)
    }
}

/// What follows from an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Who is to blame.
    pub blame: Blame,
    /// Where the dispatch goes.
    pub next: Next,
    /// What the breaker learns.
    pub signal: Signal,
    /// What cools down.
    pub cool: Cool,
    /// The terminal state it leads to. `AuthRefused` has none here: it must be confirmed first.
    pub terminal: Option<Terminal>,
}

impl Outcome {
    /// The row of the table.
    pub const fn verdict(self) -> Verdict {
        use {Blame as B, Cool as C, Next as N, Signal as S};
        match self {
            Self::Success => row(B::Nobody, N::Stop, S::Alive, C::Nothing),
            Self::ClientFault => row(B::Client, N::Stop, S::Alive, C::Nothing),
            Self::ModelFault => row(B::Model, N::Advance, S::Alive, C::Model),
            Self::ContextTooLong => row(B::Client, N::Advance, S::Alive, C::Nothing),
            Self::Untranslatable => row(B::Client, N::Advance, S::Silent, C::Nothing),
            Self::RateLimited => row(B::Quota, N::Advance, S::Silent, C::Connection),
            Self::QuotaExhausted => row(B::Quota, N::Advance, S::Silent, C::Connection),
            Self::CreditsExhausted => ends(B::Quota, Terminal::CreditsExhausted),
            Self::AuthRefused | Self::Forbidden => row(B::Credential, N::Advance, S::Silent, C::Connection),
            Self::Banned => ends(B::Credential, Terminal::Banned),
            Self::Overloaded => row(B::Provider, N::Advance, S::Failure, C::Nothing),
            Self::ServerFault
            | Self::ConnectFailed
            | Self::FirstContentTimeout
            | Self::IdleTimeout
            | Self::BrokenAnswer => row(B::Provider, N::Advance, S::Failure, C::Nothing),
            Self::DeadlineExceeded => row(B::Nobody, N::Stop, S::Silent, C::Nothing),
            Self::LocalNetwork | Self::ProxyFailed => row(B::Network, N::Advance, S::Silent, C::Nothing),
            Self::ClientGone => row(B::Nobody, N::Stop, S::Silent, C::Nothing),
            Self::GatewayFault => row(B::Gateway, N::Stop, S::Silent, C::Nothing),
            Self::Abandoned => row(B::Nobody, N::Advance, S::Silent, C::Nothing),
        }
    }

    /// The word used in logs, metrics, headers and the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ClientFault => "client_fault",
            Self::ModelFault => "model_fault",
            Self::ContextTooLong => "context_too_long",
            Self::Untranslatable => "untranslatable",
            Self::RateLimited => "rate_limited",
            Self::QuotaExhausted => "quota_exhausted",
            Self::CreditsExhausted => "credits_exhausted",
            Self::AuthRefused => "auth_refused",
            Self::Forbidden => "forbidden",
            Self::Banned => "banned",
            Self::Overloaded => "overloaded",
            Self::ServerFault => "server_fault",
            Self::ConnectFailed => "connect_failed",
            Self::FirstContentTimeout => "first_content_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::BrokenAnswer => "broken_answer",
            Self::LocalNetwork => "local_network",
            Self::ProxyFailed => "proxy_error",
            Self::ClientGone => "client_gone",
            Self::GatewayFault => "gateway_fault",
            Self::Abandoned => "abandoned",
        }
    }

    /// Every outcome, for tables and tests.
    pub const ALL: [Self; 23] = [
        Self::Success,
        Self::ClientFault,
        Self::ModelFault,
        Self::ContextTooLong,
        Self::Untranslatable,
        Self::RateLimited,
        Self::QuotaExhausted,
        Self::CreditsExhausted,
        Self::AuthRefused,
        Self::Forbidden,
        Self::Banned,
        Self::Overloaded,
        Self::ServerFault,
        Self::ConnectFailed,
        Self::FirstContentTimeout,
        Self::IdleTimeout,
        Self::DeadlineExceeded,
        Self::BrokenAnswer,
        Self::LocalNetwork,
        Self::ProxyFailed,
        Self::ClientGone,
        Self::GatewayFault,
        Self::Abandoned,
    ];
}

const fn row(blame: Blame, next: Next, signal: Signal, cool: Cool) -> Verdict {
    Verdict { blame, next, signal, cool, terminal: None }
}

const fn ends(blame: Blame, terminal: Terminal) -> Verdict {
    Verdict { blame, next: Next::Advance, signal: Signal::Silent, cool: Cool::Nothing, terminal: Some(terminal) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_or_nobody_caused_never_cools_and_never_counts() {
        for outcome in Outcome::ALL {
            let verdict = outcome.verdict();
            if matches!(verdict.blame, Blame::Client | Blame::Nobody | Blame::Gateway | Blame::Network) {
                assert_eq!(verdict.cool, Cool::Nothing, "{outcome:?}");
                assert_ne!(verdict.signal, Signal::Failure, "{outcome:?}");
                assert_eq!(verdict.terminal, None, "{outcome:?}");
            }
        }
    }

    #[test]
    fn only_the_provider_trips_a_breaker() {
        for outcome in Outcome::ALL {
            let verdict = outcome.verdict();
            assert_eq!(verdict.signal == Signal::Failure, verdict.blame == Blame::Provider, "{outcome:?}");
        }
    }

    #[test]
    fn a_bad_request_stops_and_a_missing_model_moves_on() {
        assert_eq!(Outcome::ClientFault.verdict().next, Next::Stop);
        assert_eq!(Outcome::ModelFault.verdict().next, Next::Advance);
        assert_eq!(Outcome::ModelFault.verdict().cool, Cool::Model);
    }

    #[test]
    fn terminal_words_read_back() {
        for terminal in [Terminal::Expired, Terminal::Banned, Terminal::CreditsExhausted] {
            assert_eq!(Terminal::parse(terminal.as_str()), Some(terminal));
        }
        assert_eq!(Terminal::parse("tired"), None);
    }
}
