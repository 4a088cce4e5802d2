//! The sections about the management plane: what is remembered of it, who else may sign in, which instance it follows.

use super::secret::Secret;
use super::section::section;
use super::setting::{SyncDirection, SyncMode};

section! {
    /// The audit log: every management write and security event, chained so that a change of it shows.
    pub struct Audit {
        /// Days after which rows are cut away, leaving a point to verify the rest from; 0 keeps them all.
        retention_days: u32 = 0, within 0..=36_500;
    }
}

section! {
    /// Signing in with an account of an OpenID Connect provider, beside the password.
    pub struct Oidc {
        /// Its issuer, for example `https://login.example.org/realms/team`; empty switches it off.
        issuer: String = String::new();
        /// The name under which this gateway is registered there. Its redirect address is
        /// `server.public_url` + `/api/auth/oidc/callback`.
        client_id: String = String::new();
        /// The secret that belongs to it; empty for a public client.
        client_secret: Secret = Secret::default();
        /// What is asked for; `openid` always is.
        scopes: Vec<String> = vec!["profile".to_owned(), "email".to_owned()];
        /// The claim of the ID token that decides the role; dots lead into objects.
        role_claim: String = "groups".to_owned();
        /// Values of the claim that make an administrator.
        admins: Vec<String> = Vec::new();
        /// Values of the claim that make an operator: resets, tests, switches.
        operators: Vec<String> = Vec::new();
        /// Values of the claim that make a viewer; `*` makes one of everybody whom the provider signs in.
        viewers: Vec<String> = Vec::new();
        /// Minutes after which the provider is asked again about whoever is signed in, where it gave a refresh token (many
        /// want `offline_access` among the scopes for that); 0 never asks. A session that the provider could not be asked
        /// about four times as long ends.
        recheck_min: u64 = 15, within 0..=1_440;
        /// Whether a session without a refresh token ends with its ID token.
        end_with_token: bool = false;
    }
}

section! {
    /// Keeping the configuration of two instances alike, by signed bundles.
    pub struct Sync {
        /// The other instance, for example `https://gateway.example.org`; empty switches it off. A private address has to
        /// be listed in `upstream.allow_private_hosts`.
        peer_url: String = String::new();
        /// A sync token that the other instance made for this one.
        peer_token: Secret = Secret::default();
        /// The key that signs bundles, the same on both sides, at least 32 characters.
        shared_key: Secret = Secret::default();
        /// Whether bundles carry the credentials of providers, sealed under the shared key.
        include_credentials: bool = false;
        /// Whether bundles that the other instance pushes here are applied.
        accept: bool = false;
        /// How old a bundle may be.
        replay_window_s: u64 = 300, within 10..=86_400;
        /// Minutes between exchanges that come by themselves once `/api/sync/cloud` is enabled, more rarely while they fail;
        /// 0 makes none.
        every_min: u64 = 0, within 0..=44_640;
        /// Which way the configuration goes then.
        direction: SyncDirection = SyncDirection::Pull;
        /// Whether what the configuration does not name stays there or goes.
        mode: SyncMode = SyncMode::Merge;
    }
}
