//! Accounts that are signed in by OAuth: which servers there are, as data, and how tokens are got, kept and renewed.
//!
//! A connection of such an account holds a [`Deed`] in the place of a key: which sign-in its tokens come from. The tokens
//! themselves are rows of their own, sealed; they change behind the connection's back with every renewal, and the deed does
//! not. The connection's actor asks for a token as it asks for any that is exchanged, one question at a time; here the row's
//! lease makes that one question of all instances.
//!
//! The flows are small forms, and servers differ in exactly what a strict client library is strict about (refusals with
//! status 200, ends told as text), so they are written out here over the gateway's one way out.

mod book;
pub mod pkce;
mod renewal;
mod server;
mod tokens;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::sync::Cache;
use omniroute_actors::clock::Clock;
use omniroute_actors::connection::token::Exchange;
use secrecy::SecretString;
use serde_json::Value;

pub use book::{BookError, Flow, OauthBook, OauthSpec};
pub use renewal::Deed;
pub use server::{Device, Endpoints, ServerRefusal};
pub use tokens::{Account, Brought, Grant, TokenSet, is_token};

use super::Catalog;
use super::exchange::ExchangeKind;
use crate::store::{OauthTokenRow, Store};
use crate::upstream::ClientFactory;

/// How a connection of such an account authenticates, as its row says.
pub const AUTH_TYPE: &str = "oauth";
/// Metadata of a server are looked up again after this time.
const METADATA_FOR: Duration = Duration::from_secs(3_600);
const MOST_METADATA: u64 = 256;

/// Everything about sign-ins that handlers and actors share.
pub struct Oauth {
    clients: ClientFactory,
    store: Store,
    clock: Arc<dyn Clock>,
    book: ArcSwap<OauthBook>,
    metadata: Cache<String, Value>,
    /// Answers of servers that the store has not taken yet.
    unkept: tokio::sync::Mutex<HashMap<String, OauthTokenRow>>,
}

impl Oauth {
    /// With this way out and these servers.
    pub fn new(clients: ClientFactory, store: Store, clock: Arc<dyn Clock>, book: OauthBook) -> Self {
        Self {
            clients,
            store,
            clock,
            book: ArcSwap::from_pointee(book),
            metadata: Cache::builder().max_capacity(MOST_METADATA).time_to_live(METADATA_FOR).build(),
            unkept: tokio::sync::Mutex::default(),
        }
    }

    /// Use other servers from now on.
    pub fn reconfigure(&self, book: OauthBook) {
        self.metadata.invalidate_all();
        self.book.store(Arc::new(book));
    }

    /// The server of this name; the alias of its provider is one, too.
    pub fn spec(&self, name: &str) -> Option<Arc<OauthSpec>> {
        let book = self.book.load();
        let by_alias = || book.get(&Catalog::builtin().by_alias(name)?.id);
        book.get(name).or_else(by_alias).cloned()
    }

    /// All servers.
    pub fn specs(&self) -> Vec<Arc<OauthSpec>> {
        self.book.load().iter().cloned().collect()
    }

    fn now(&self) -> i64 {
        self.clock.wall().0
    }
}

/// How the deed of a connection becomes what is sent.
///
/// # Errors
/// When it is none; nothing of it is in the words.
pub fn exchange(credential: Option<&SecretString>) -> Result<Option<Exchange>, String> {
    let Some(credential) = credential else { return Ok(None) };
    let deed = Deed::read(credential).ok_or("its account is not signed in")?;
    Ok(Some(Exchange {
        kind: ExchangeKind::Oauth as u8,
        token_url: deed.origin,
        header: "authorization".to_owned(),
        scope: None,
        credential: credential.clone(),
    }))
}
