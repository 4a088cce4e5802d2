//! Renewing a token: the part of the connection's actor that mints, one mint at a time.
//!
//! A mint is a task of its own, so that it outlives a restart of the actor's context; the actor only keeps the end on which
//! its answer is heard. Whatever ends the task, that end is heard too: no waiter waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, AsyncContext, Handler, Message, MessageResult, ResponseFuture};
use tokio::sync::watch;

use super::Connection;
use super::config::ConnectionConfig;
use super::token::{Exchange, MintFailure, Minted, Token};
use crate::guard::{Crashed, caught, guarded};
use crate::ports::Wanted;
use crate::resilience::outcome::Outcome;

#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod tests;

/// How long a mint may take.
const MINT_WITHIN: Duration = Duration::from_secs(10);

/// What those who wait are told.
pub type Renewed = Result<Arc<Token>, MintFailure>;

type Heard = watch::Receiver<Option<Renewed>>;

/// The mint that runs, if one does.
#[derive(Default)]
pub(super) struct Minting {
    heard: Option<Heard>,
    /// The credential it exchanges.
    credential_version: u64,
    last_version: u64,
}

impl Minting {
    /// The running mint of this credential.
    fn running(&self, credential_version: u64) -> Option<Heard> {
        let heard = self.heard.as_ref().filter(|_| self.credential_version == credential_version)?;
        // An error: whoever would have told is gone.
        let runs = heard.borrow().is_none() && heard.has_changed().is_ok();
        runs.then(|| heard.clone())
    }
}

async fn hear(mut heard: Heard) -> Renewed {
    let told = heard.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
    told.unwrap_or_else(|| Err(MintFailure::crashed()))
}

/// A token is needed. Answered at once where there is one that is valid and not the one that was seen failing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Renewed")]
pub struct Renew {
    /// The token that the provider refused, or that is about to end.
    pub seen: Option<u64>,
    /// The credential that the caller works with.
    pub credential_version: u64,
}

impl Handler<Renew> for Connection {
    type Result = ResponseFuture<Renewed>;

    fn handle(&mut self, ask: Renew, ctx: &mut Self::Context) -> Self::Result {
        let own = ctx.address();
        match guarded(self, ctx, "Renew", |connection| connection.renew(ask, own)) {
            Ok(Ok(heard)) => Box::pin(hear(heard)),
            Ok(Err(known)) => Box::pin(async { known }),
            Err(Crashed) => Box::pin(async { Err(MintFailure::crashed()) }),
        }
    }
}

impl Connection {
    /// The mint to wait for, or what is known already.
    fn renew(&mut self, ask: Renew, own: Addr<Self>) -> Result<Heard, Renewed> {
        let config = self.handle.config();
        let Some(exchange) = config.exchange.clone().filter(|_| config.credential_version == ask.credential_version)
        else {
            return Err(Err(MintFailure::replaced()));
        };
        let now = self.ports.clock.now();
        let fresh = |token: &Arc<Token>| token.is_valid(now) && ask.seen.is_none_or(|seen| token.version > seen);
        if let Some(token) = self.handle.token().filter(fresh) {
            return Err(Ok(token));
        }
        Ok(self.minting.running(config.credential_version).unwrap_or_else(|| self.mint(&config, exchange, own)))
    }

    fn mint(&mut self, config: &ConnectionConfig, exchange: Arc<Exchange>, own: Addr<Self>) -> Heard {
        let (tell, heard) = watch::channel(None);
        self.minting.heard = Some(heard.clone());
        self.minting.credential_version = config.credential_version;
        let (minter, id, now) = (Arc::clone(&self.ports.minter), self.handle.id().clone(), self.ports.clock.wall());
        let credential_version = config.credential_version;
        let spent = self.handle.token();
        actix_rt::spawn(async move {
            let spent = spent.as_ref().map(|token| &token.value);
            let wanted = Wanted { connection: &id, exchange: &exchange, spent };
            let minted = caught("mint", async { minter.mint(wanted, now).await });
            let result = match tokio::time::timeout(MINT_WITHIN, minted).await {
                Ok(Ok(result)) => result,
                Ok(Err(Crashed)) => Err(MintFailure::crashed()),
                Err(_) => Err(MintFailure::own(Outcome::ConnectFailed, "no token in time")),
            };
            let renewed = own.send(Finished { credential_version, result }).await;
            tell.send_replace(Some(renewed.unwrap_or_else(|_| Err(MintFailure::crashed()))));
        });
        heard
    }

    fn finish(&mut self, Finished { credential_version, result }: Finished) -> Renewed {
        let config = self.handle.config();
        let Some(exchange) = config.exchange.as_ref().filter(|_| config.credential_version == credential_version)
        else {
            return Err(MintFailure::replaced());
        };
        let exchange = Arc::clone(exchange);
        let minted = result.inspect_err(|failure| self.mint_failed(failure))?;
        // An actor that was created anew goes on where its predecessor was.
        let known = self.handle.token().map_or(0, |token| token.version);
        self.minting.last_version = self.minting.last_version.max(known) + 1;
        let versions = (self.minting.last_version, credential_version);
        let token = Arc::new(Token::new(&minted, &exchange.header, versions, self.ports.clock.both()));
        if let Some(credential) = minted.replacement {
            let exchange = Arc::new(Exchange { credential, ..(*exchange).clone() });
            self.handle.configure(ConnectionConfig { exchange: Some(exchange), ..(*config).clone() });
        }
        self.handle.publish_token(Some(Arc::clone(&token)));
        tracing::debug!(connection.id = %self.handle.id(), version = token.version, "a token was minted");
        Ok(token)
    }

    fn mint_failed(&mut self, failure: &MintFailure) {
        tracing::warn!(
            connection.id = %self.handle.id(), provider = %self.handle.provider(),
            outcome = failure.outcome.as_str(), status = failure.status, "a token could not be minted"
        );
        let now = self.ports.clock.now();
        let changes = if failure.is_final {
            self.health.credential_ended(now)
        } else if self.handle.token().is_some_and(|token| token.is_valid(now)) {
            // The old token still serves; there is time for another try.
            Vec::new()
        } else {
            let jitter = self.jitter();
            self.health.rest_without_token(failure.outcome, failure.retry_after, now, jitter)
        };
        self.carry_out(&changes);
    }
}

/// A mint ended.
#[derive(Debug, Message)]
#[rtype(result = "Renewed")]
struct Finished {
    credential_version: u64,
    result: Result<Minted, MintFailure>,
}

impl Handler<Finished> for Connection {
    type Result = MessageResult<Finished>;

    fn handle(&mut self, finished: Finished, ctx: &mut Self::Context) -> Self::Result {
        let renewed = guarded(self, ctx, "Finished", |connection| connection.finish(finished));
        MessageResult(renewed.unwrap_or_else(|Crashed| Err(MintFailure::crashed())))
    }
}
