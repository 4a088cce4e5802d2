//! Credentials that are not sent but exchanged for a short-lived token: what is exchanged, what comes back, and how a mint
//! goes wrong.
//!
//! ```text
//! request ── valid token published? ── yes ──► sent with it (no message)
//!               │ no, or refused with 401
//!               └─► Renew to the actor ─► one mint at a time ─► published ─► every waiter is answered
//! ```
//! The connection's actor owns the token. One mint runs at a time and every caller that comes meanwhile waits for its
//! answer; a request whose token is merely old goes on with it and asks for a new one without waiting.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::SecretString;

use crate::clock::{Moment, Now, UnixMillis};
use crate::resilience::outcome::Outcome;

/// A token is renewed so long before its end, at most.
const LEAD: Duration = Duration::from_secs(300);
/// One that lives shorter than [`LEAD`] allows is renewed after all but this part of its life.
const LEAD_PART: u32 = 10;
/// How long one caller's request for a renewal counts for all; longer than a mint may take.
const ASK_EVERY: Duration = Duration::from_secs(15);

/// How a connection's credential becomes a token. Built by the provider catalogue; opaque to the actors.
#[derive(Clone)]
pub struct Exchange {
    /// The way it is done, as the catalogue numbers it.
    pub kind: u8,
    /// Where.
    pub token_url: String,
    /// The header that carries the token.
    pub header: String,
    /// What the token is asked for, where the provider wants to know.
    pub scope: Option<String>,
    /// What is exchanged.
    pub credential: SecretString,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("kind", &self.kind).field("token_url", &self.token_url).finish_non_exhaustive()
    }
}

/// What an exchange brought.
#[derive(Debug, Clone)]
pub struct Minted {
    /// The whole value of the header.
    pub value: SecretString,
    /// When it ends.
    pub expires_at: UnixMillis,
    /// What must be exchanged the next time, where the provider replaces it with each exchange. The minter has stored it
    /// before it returns: one that is used and then forgotten is an account that is lost.
    pub replacement: Option<SecretString>,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintFailure {
    /// What it means for the connection.
    pub outcome: Outcome,
    /// The status of the answer, 0 when there was none.
    pub status: u16,
    /// When to come back, if the provider said so.
    pub retry_after: Option<Duration>,
    /// In our own words; nothing of the credential.
    pub message: String,
    /// Whether only a person can help: what is exchanged is void.
    pub is_final: bool,
}

impl MintFailure {
    /// Without an answer.
    pub fn own(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, status: 0, retry_after: None, message: message.into(), is_final: false }
    }

    /// The mint, or the actor behind it, failed on itself.
    pub fn crashed() -> Self {
        Self::own(Outcome::GatewayFault, "the exchange of the credential failed inside the gateway")
    }

    /// The credential was replaced while the request was on its way.
    pub fn replaced() -> Self {
        Self::own(Outcome::Abandoned, "the credential was replaced meanwhile")
    }
}

/// A token in force.
pub struct Token {
    /// Rises with every mint of the process.
    pub version: u64,
    /// The credential that it was minted from, as [`ConnectionConfig::credential_version`] counts.
    ///
    /// [`ConnectionConfig::credential_version`]: super::config::ConnectionConfig::credential_version
    pub credential_version: u64,
    /// The header that carries it.
    pub header: String,
    /// The whole value of the header.
    pub value: SecretString,
    renew_at: AtomicU64,
    expires_at: Moment,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("version", &self.version)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl Token {
    /// What was minted, as it is published.
    pub fn new(minted: &Minted, header: &str, versions: (u64, u64), now: Now) -> Self {
        let (version, credential_version) = versions;
        let expires_at = now.to_moment(minted.expires_at);
        let life = expires_at.since(now.moment);
        let renew_at = now.moment.after(life.saturating_sub(LEAD.min(life / LEAD_PART)));
        Self {
            version,
            credential_version,
            header: header.to_owned(),
            value: minted.value.clone(),
            renew_at: AtomicU64::new(renew_at.as_millis()),
            expires_at,
        }
    }

    /// Whether it may still be sent.
    pub fn is_valid(&self, now: Moment) -> bool {
        now < self.expires_at
    }

    /// Whether it is time for the next one; one caller is told so, and after a while, when nothing came of it, another.
    pub fn must_renew(&self, now: Moment) -> bool {
        let (at, next) = (self.renew_at.load(Ordering::Relaxed), now.after(ASK_EVERY).as_millis());
        now.as_millis() >= at && self.renew_at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(lives: Duration) -> (Token, Now) {
        let now = Now { moment: Moment::from_millis(5_000), wall: UnixMillis(1_000_000) };
        let ends = i64::try_from(lives.as_millis()).unwrap();
        let value = SecretString::from("Bearer very-secret");
        let minted = Minted { value, expires_at: UnixMillis(1_000_000 + ends), replacement: None };
        (Token::new(&minted, "authorization", (1, 1), now), now)
    }

    fn renews_after(lives: Duration) -> Duration {
        let (token, now) = token(lives);
        Moment::from_millis(token.renew_at.load(Ordering::Relaxed)).since(now.moment)
    }

    #[test]
    fn a_token_is_renewed_five_minutes_or_a_tenth_of_its_life_before_its_end() {
        assert_eq!(renews_after(Duration::from_secs(3_600)), Duration::from_secs(3_300));
        assert_eq!(renews_after(Duration::from_secs(1_800)), Duration::from_secs(1_620));
        assert_eq!(renews_after(Duration::from_secs(10)), Duration::from_secs(9));
        assert_eq!(renews_after(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn only_one_caller_at_a_time_is_told_to_renew() {
        let (token, now) = token(Duration::from_secs(1_000));
        let late = now.moment.after(Duration::from_secs(950));

        assert!(!token.must_renew(now.moment) && token.is_valid(late));
        assert_eq!((token.must_renew(late), token.must_renew(late)), (true, false));
        assert!(token.must_renew(late.after(ASK_EVERY)));
        assert!(!token.is_valid(now.moment.after(Duration::from_secs(1_000))));
    }

    #[test]
    fn nothing_of_a_secret_is_shown_to_a_debugger() {
        let exchange = Exchange {
            kind: 1,
            token_url: "https://t.example".into(),
            header: "authorization".into(),
            scope: None,
            credential: SecretString::from("very-secret"),
        };

        let shown = format!("{exchange:?} {:?}", token(Duration::ZERO).0);

        assert!(!shown.contains("very-secret"), "{shown}");
    }
}
