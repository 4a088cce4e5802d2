//! The section about accounts that are signed in by OAuth.

use std::path::PathBuf;

use super::section::section;

section! {
    /// Accounts that are signed in by OAuth, with clients of the operator's own.
    pub struct Oauth {
        /// TOML file of servers and clients, laid over the built-in table `src/providers/oauth.toml`; empty for none.
        file: PathBuf = PathBuf::new();
        /// Addresses that a browser may come back to, beside loopback and the gateway's own callback page.
        redirect_uris: Vec<String> = Vec::new();
        /// Time a person has to sign in before it must be begun anew.
        login_ttl_s: u64 = 600, within 60..=3_600;
    }
}
