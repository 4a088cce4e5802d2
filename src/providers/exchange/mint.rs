//! The exchange of credentials, as the actors know it.

use std::sync::Arc;

use omniroute_actors::clock::UnixMillis;
use omniroute_actors::connection::token::{Exchange, MintFailure, Minted};
use omniroute_actors::ids::ConnectionId;
use omniroute_actors::ports::{Minter, Minting, Wanted};
use omniroute_actors::resilience::outcome::Outcome;

use super::{ExchangeKind, ask, question, reply};
use crate::providers::oauth::Oauth;
use crate::upstream::{Caller, ClientFactory};

/// Asks for tokens: itself, or the sign-ins for those of accounts.
#[derive(Clone)]
pub struct TokenMinter {
    clients: ClientFactory,
    oauth: Arc<Oauth>,
}

impl TokenMinter {
    /// With this way out, and these sign-ins.
    pub const fn new(clients: ClientFactory, oauth: Arc<Oauth>) -> Self {
        Self { clients, oauth }
    }

    async fn mint(&self, wanted: Wanted<'_>, now: UnixMillis) -> Result<Minted, MintFailure> {
        match ExchangeKind::of_number(wanted.exchange.kind) {
            Some(ExchangeKind::Oauth) => self.oauth.token(wanted).await,
            _ => self.ask(wanted.connection, wanted.exchange, now).await,
        }
    }

    async fn ask(
        &self,
        connection: &ConnectionId,
        exchange: &Exchange,
        now: UnixMillis,
    ) -> Result<Minted, MintFailure> {
        let unusable = |why: String| MintFailure::own(Outcome::AuthRefused, why);
        let question = question(exchange, now.0 / 1_000).map_err(unusable)?;
        let caller = Caller { connection: Some(connection.as_str()), ..Caller::default() };
        let way = (&self.clients, caller);
        let answer = ask::post(way, &exchange.token_url, &question, now.0).await?;
        if answer.is_good() {
            return reply::read(&answer.body, now);
        }
        Err(reply::refused(answer.status, &answer.body, answer.retry_after))
    }
}

impl Minter for TokenMinter {
    fn mint<'a>(&'a self, wanted: Wanted<'a>, now: UnixMillis) -> Minting<'a> {
        Box::pin(self.mint(wanted, now))
    }
}
