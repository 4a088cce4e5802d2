//! Tokens that somebody brings for a connection: a key takes the place of a key; those of an account that is signed in
//! take the place of the account's, and what is not brought stays.

use std::time::Duration;

use secrecy::SecretString;
use uuid::Uuid;

use super::oauth_end::{refused, token};
use crate::providers::oauth::{Account, Deed, OauthSpec, TokenSet};
use crate::routes::{Call, Form, Refusal};
use crate::store::{ConnectionRow, LeaseWish, Leased, OauthTokenRow};

/// Long enough to write; what is renewed meanwhile would be lost.
const LEASE: Duration = Duration::from_secs(10);

/// What is brought.
pub(super) struct Given {
    access: Option<SecretString>,
    refresh: Option<SecretString>,
    /// When the access token ends, in milliseconds from now.
    lives: Option<i64>,
}

impl Given {
    /// Read the tokens; what is wrong about them is noted in the form that they are a part of.
    pub(super) fn read(mut tokens: Form, form: &mut Form) -> Self {
        let (access, refresh) = (token(&mut tokens, "accessToken"), token(&mut tokens, "refreshToken"));
        let expires_in = tokens.integer("expiresIn", 1..=315_360_000);
        if access.is_none() && refresh.is_none() {
            tokens.problem("", "Must hold accessToken, refreshToken or both");
        }
        form.problems(tokens.into_problems());
        Self { access, refresh, lives: expires_in.map(|seconds| seconds.saturating_mul(1_000)) }
    }

    /// In the place of a key.
    pub(super) async fn replace(self, call: &Call, mut row: ConnectionRow) -> Result<(), Refusal> {
        let only_a_key = self.access.filter(|_| self.refresh.is_none() && self.lives.is_none());
        let refusal = || Refusal::bad_request("The connection has a key and no tokens: send accessToken alone");
        (row.credential, row.credential_unreadable) = (Some(only_a_key.ok_or_else(refusal)?), false);
        row.updated_at = call.now();
        Ok(call.app.store.connections().update(&row).await?)
    }

    /// In the place of an account's tokens, as a sign-in of its own: whoever holds the old ones lets go of them.
    pub(super) async fn sign_in(self, call: &Call, mut row: ConnectionRow) -> Result<(), Refusal> {
        let deed = row.credential.as_ref().and_then(Deed::read);
        let server = deed.as_ref().and_then(|deed| call.app.oauth.spec(&deed.oauth));
        let (Some(deed), Some(server)) = (deed, server) else { return Err(signed_out()) };
        let tokens = self.tokens(call, &server).await?;
        let (before, now) = (held(call, &row.id).await?, call.now());
        let deed = Deed { grant: Uuid::now_v7().to_string(), ..deed };
        let kept = OauthTokenRow { grant_id: deed.grant.clone(), version: 1, ..tokens.renew(&before, now) };
        (row.credential, row.credential_unreadable, row.updated_at) = (Some(deed.write()), false, now);
        Ok(call.app.store.oauth_tokens().sign_in(&row, &kept, false).await?)
    }

    /// A refresh token alone is proved by what it brings.
    async fn tokens(self, call: &Call, server: &OauthSpec) -> Result<TokenSet, Refusal> {
        let Some(access) = self.access else {
            let refresh = self.refresh.unwrap_or_default();
            let tokens = call.app.oauth.refresh(server, refresh.clone()).await.map_err(|refusal| refused(&refusal))?;
            return Ok(TokenSet { refresh: tokens.refresh.clone().or(Some(refresh)), ..tokens });
        };
        let expires_at = self.lives.map(|lives| call.now().saturating_add(lives));
        let account = Account::default();
        Ok(TokenSet { access, refresh: self.refresh, expires_at, scope: None, token_type: None, account })
    }
}

/// The account's tokens as they are, which nobody renews meanwhile.
async fn held(call: &Call, connection: &str) -> Result<OauthTokenRow, Refusal> {
    let now = call.now();
    let until = now.saturating_add(i64::try_from(LEASE.as_millis()).unwrap_or_default());
    let wish = LeaseWish { owner: Uuid::now_v7().to_string(), now, until };
    match call.app.store.oauth_tokens().lease(connection, wish).await? {
        Leased::Taken(row) => Ok(*row),
        Leased::Busy => Err(Refusal::unavailable("The tokens are being renewed at this moment; try again")),
        Leased::Gone => Err(signed_out()),
    }
}

fn signed_out() -> Refusal {
    Refusal::bad_request("The account of this connection is not signed in; do that first")
}
