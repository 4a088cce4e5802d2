//! The token of an account that was signed in: what is kept, while it is good, or the next one.
//!
//! ```text
//! a token is wanted ─► the row's lease ─► is the kept token another one than the spent one, and good? ─ yes ─► it
//!                                              │ no
//!                                              └─► ask the server ─► keep the answer ─► give it out
//! ```
//! A renewal runs as a task of its own: whoever waits for it may give up, the answer is kept all the same. An answer that
//! the store does not take stays in memory, and nothing is given out before it is kept.

use std::sync::Arc;
use std::time::Duration;

use omniroute_actors::clock::UnixMillis;
use omniroute_actors::connection::token::{MintFailure, Minted};
use omniroute_actors::ports::Wanted;
use omniroute_actors::resilience::outcome::Outcome;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use super::Oauth;
use super::book::OauthSpec;
use super::server::ServerRefusal;
use super::tokens::{Kept, TokenSet};
use crate::store::{LeaseWish, Leased, OauthTokenRow, StoreError};

/// A lease outlives the longest question to a server, and a holder that died keeps nobody out for long.
const LEASE_MS: i64 = 20_000;
/// How long another holder is waited for; the actor's own bound is behind it.
const PATIENCE: Duration = Duration::from_secs(9);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A kept token is given out while it lives at least so long, or a tenth of its life.
const LEAST_MS: i64 = 60_000;
/// A token whose end is not told is looked at again after this time.
const UNTOLD_MS: i64 = 3_600_000;
/// How often the store is asked to keep an answer before it waits in memory.
const TRIES: u32 = 3;

/// What a connection holds in the place of a key: which sign-in its tokens come from, and where they may be renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// The server's entry.
    pub oauth: String,
    /// The sign-in.
    pub grant: String,
    /// Scheme, host and port of the place that gave the tokens: a refresh token is sent nowhere else.
    pub origin: String,
}

impl Deed {
    /// As it is stored.
    pub fn write(&self) -> SecretString {
        serde_json::to_string(self).unwrap_or_default().into()
    }

    /// What is stored.
    pub fn read(stored: &SecretString) -> Option<Self> {
        serde_json::from_str(stored.expose_secret()).ok()
    }

    /// Where tokens are given, as a deed says it.
    pub fn origin_of(token_url: &str) -> String {
        Url::parse(token_url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }
}

/// One renewal.
struct Renewal {
    connection: String,
    deed: Deed,
    spent: Option<SecretString>,
    owner: String,
}

impl Oauth {
    /// A token for this connection.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn token(self: &Arc<Self>, wanted: Wanted<'_>) -> Result<Minted, MintFailure> {
        let deed = Deed::read(&wanted.exchange.credential);
        let renewal = Renewal {
            connection: wanted.connection.to_string(),
            deed: deed.ok_or_else(|| void("there is no sign-in"))?,
            spent: wanted.spent.cloned(),
            owner: Uuid::now_v7().to_string(),
        };
        let own = Arc::clone(self);
        let task = actix_rt::spawn(async move { own.renew(&renewal).await });
        task.await.unwrap_or_else(|_| Err(MintFailure::crashed()))
    }

    async fn renew(&self, renewal: &Renewal) -> Result<Minted, MintFailure> {
        self.keep_what_waits(&renewal.connection).await?;
        let mut row = self.leased(renewal).await?;
        if row.grant_id != renewal.deed.grant {
            self.give_back(renewal, None).await;
            return Err(MintFailure::own(Outcome::AuthRefused, "the account was signed in anew meanwhile"));
        }
        loop {
            if let Some(minted) = usable(&row, renewal.spent.as_ref(), self.now()) {
                self.give_back(renewal, None).await;
                return Ok(minted);
            }
            let refusal = match self.ask_anew(renewal, &row).await {
                Ok(tokens) => return self.keep(tokens.renew(&row, self.now())).await,
                Err(refusal) => refusal,
            };
            // A void token may be one that somebody else rotated whose lease had run out.
            let now = self.leased(renewal).await?;
            if refusal.failure.is_final && now.version > row.version {
                row = now;
                continue;
            }
            let why = refusal.code.unwrap_or_else(|| refusal.failure.outcome.as_str().to_owned());
            self.give_back(renewal, Some((why, self.now()))).await;
            return Err(refusal.failure);
        }
    }

    async fn leased(&self, renewal: &Renewal) -> Result<OauthTokenRow, MintFailure> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let now = self.now();
            let wish = LeaseWish { owner: renewal.owner.clone(), now, until: now.saturating_add(LEASE_MS) };
            match self.store.oauth_tokens().lease(&renewal.connection, wish).await.map_err(no_store)? {
                Leased::Taken(row) => return Ok(*row),
                Leased::Gone => return Err(void("there are no tokens of this account; sign in again")),
                Leased::Busy if tokio::time::Instant::now() < deadline => tokio::time::sleep(LOOK_EVERY).await,
                Leased::Busy => {
                    return Err(MintFailure::own(
                        Outcome::ConnectFailed,
                        "another instance renews the token, for long",
                    ));
                }
            }
        }
    }

    async fn ask_anew(&self, renewal: &Renewal, row: &OauthTokenRow) -> Result<TokenSet, ServerRefusal> {
        let kept = Kept::of(row);
        if !row.renewable {
            return Err(void("the token has ended and cannot be renewed; sign in again").into());
        }
        let spec =
            self.spec(&renewal.deed.oauth).ok_or_else(|| own_fault("its OAuth server is not configured any more"))?;
        let spec = spec.via(&row.connection_id);
        self.check_place(renewal, &spec).await?;
        match kept.refresh {
            Some(refresh) => self.refresh(&spec, refresh).await,
            None if kept.as_client => self.as_client(&spec).await,
            None => Err(void("there is no refresh token; sign in again").into()),
        }
    }

    /// What was given at one place is not sent to another one, whatever the configuration says by now.
    async fn check_place(&self, renewal: &Renewal, spec: &OauthSpec) -> Result<(), ServerRefusal> {
        let origin = Deed::origin_of(&self.endpoints(spec).await?.token);
        if origin == renewal.deed.origin {
            return Ok(());
        }
        Err(own_fault("its OAuth server has moved to another address; sign in again").into())
    }

    /// Keep new tokens; only then they are given out.
    async fn keep(&self, row: OauthTokenRow) -> Result<Minted, MintFailure> {
        self.unkept.lock().await.insert(row.connection_id.clone(), row.clone());
        for _ in 0..TRIES {
            if self.keep_what_waits(&row.connection_id).await.is_ok() {
                tracing::info!(connection.id = row.connection_id, "the token of an account was renewed");
                return minted(&row, self.now()).ok_or_else(|| own_fault("its token cannot be sent"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(own_fault("the new token cannot be stored, so it is not used yet"))
    }

    /// What the server gave and the store did not take goes first: the token before it is void.
    async fn keep_what_waits(&self, connection: &str) -> Result<(), MintFailure> {
        let Some(row) = self.unkept.lock().await.get(connection).cloned() else { return Ok(()) };
        let kept = self.store.oauth_tokens().renewed(&row).await;
        if let Err(error) = &kept {
            tracing::error!(%error, connection.id = connection, "the new token of an account waits for the store");
        }
        let kept = kept.map_err(no_store)?;
        self.unkept.lock().await.remove(connection);
        if !kept {
            tracing::warn!(
                connection.id = connection,
                "a new token was not kept: the account was signed in anew meanwhile"
            );
        }
        Ok(())
    }

    async fn give_back(&self, renewal: &Renewal, failure: Option<(String, i64)>) {
        let given = self.store.oauth_tokens().give_back(&renewal.connection, &renewal.owner, failure).await;
        if let Err(error) = given {
            tracing::warn!(%error, connection.id = renewal.connection, "a lease is not given back; it ends by itself");
        }
    }
}

/// The kept token, if it is another one than the spent one and good for a while. One that cannot be renewed is good until
/// its end.
fn usable(row: &OauthTokenRow, spent: Option<&SecretString>, now: i64) -> Option<Minted> {
    let minted = minted(row, now)?;
    let Some(ends) = row.expires_at else {
        let is_spent = spent.is_some_and(|spent| spent.expose_secret() == minted.value.expose_secret());
        return (!is_spent || !row.renewable).then_some(minted);
    };
    if !row.renewable {
        return (ends > now).then_some(minted);
    }
    let least = LEAST_MS.min(ends.saturating_sub(row.obtained_at) / 10);
    let is_spent = spent.is_some_and(|spent| spent.expose_secret() == minted.value.expose_secret());
    (!is_spent && ends.saturating_sub(now) > least).then_some(minted)
}

fn minted(row: &OauthTokenRow, now: i64) -> Option<Minted> {
    let access = Kept::of(row).access?;
    let value = SecretString::from(format!("Bearer {}", access.expose_secret()));
    let expires_at = UnixMillis(row.expires_at.unwrap_or_else(|| now.saturating_add(UNTOLD_MS)));
    Some(Minted { value, expires_at, replacement: None })
}

/// Only a person can help.
fn void(why: &str) -> MintFailure {
    MintFailure { is_final: true, ..MintFailure::own(Outcome::AuthRefused, why) }
}

fn own_fault(why: &str) -> MintFailure {
    MintFailure::own(Outcome::LocalNetwork, why)
}

fn no_store(error: StoreError) -> MintFailure {
    tracing::warn!(%error, "the store does not answer a renewal");
    own_fault("the tokens of this account cannot be read or stored now")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::providers::oauth::book::Flow;
    use crate::providers::oauth::tokens::Grant;

    const NOW: i64 = 1_750_000_000_000;

    fn row(answer: serde_json::Value) -> OauthTokenRow {
        let grant = Grant { id: "g", flow: Flow::AuthorizationCode };
        TokenSet::read(&answer, NOW).unwrap().row("c", &grant, NOW)
    }

    fn value(row: &OauthTokenRow, spent: Option<&str>, now: i64) -> Option<String> {
        let spent = spent.map(SecretString::from);
        usable(row, spent.as_ref(), now).map(|minted| minted.value.expose_secret().to_owned())
    }

    #[test]
    fn a_kept_token_is_given_out_until_it_is_spent_or_old() {
        let hour = row(json!({"access_token": "a", "refresh_token": "r", "expires_in": 3600}));
        let short = row(json!({"access_token": "a", "refresh_token": "r", "expires_in": 10}));

        assert_eq!(value(&hour, None, NOW).as_deref(), Some("Bearer a"), "after a restart nothing is asked");
        assert_eq!(value(&hour, Some("Bearer older"), NOW).as_deref(), Some("Bearer a"), "somebody else renewed it");
        assert_eq!(value(&hour, Some("Bearer a"), NOW), None, "it was refused, or is to be renewed");
        assert_eq!(value(&hour, None, NOW + 3_545_000), None);
        assert!(value(&short, None, NOW + 8_000).is_some() && value(&short, None, NOW + 9_500).is_none());
    }

    #[test]
    fn a_token_that_cannot_be_renewed_is_good_until_its_end() {
        let bare = row(json!({"access_token": "a", "expires_in": 60}));
        let endless = row(json!({"access_token": "a"}));

        assert!(value(&bare, Some("Bearer a"), NOW + 59_000).is_some());
        assert!(value(&bare, None, NOW + 60_000).is_none());
        assert!(value(&endless, Some("Bearer a"), NOW + 1_000_000_000).is_some());
    }

    #[test]
    fn a_deed_reads_back_and_holds_no_token() {
        let deed =
            Deed { oauth: "x".into(), grant: "g".into(), origin: Deed::origin_of("https://id.example:444/t?x=1") };

        assert_eq!(Deed::read(&deed.write()), Some(deed.clone()));
        assert_eq!(deed.origin, "https://id.example:444");
        assert_eq!(Deed::read(&"sk-key".into()), None);
    }
}
