//! Who calls, and what they may do: client keys, management sessions, the one administrator, login throttling.
//!
//! ```text
//!  /v1   key in a header ──► KeyRing (published map, no await) ──► Principal
//!  /api  session cookie ──► Sessions (cache, then store) ─┬──────► Principal
//!        key with scope manage ──► KeyRing ───────────────┘
//! ```
//! Nothing here decides what a route demands: each route declares that, and [`crate::routes`] asks.

mod admin;
mod client_ip;
pub mod client_keys;
mod credential;
mod csrf;
mod hashing;
pub(crate) mod id_token;
mod keyring;
mod limits;
mod principal;
mod role;
mod sessions;
mod throttle;

pub use admin::{Admin, AdminError, PASSWORD_CHARS, SetUp};
pub use client_ip::{Origin, client_ip};
pub use credential::AuthFailure;
pub use csrf::{CsrfFailure, check_csrf, is_json, is_safe};
pub use id_token::{Disbelief, Expected, Jwks, believe, held, role_for};
pub use keyring::KeyRing;
pub use limits::LimitReached;
pub use principal::{Kind, ModelPatterns, Principal, Scopes};
pub use role::Role;
pub use sessions::{ADMINISTRATOR, Account, COOKIE, Session, SessionToken, Sessions, SignIn};
pub use throttle::{Attempt, LoginThrottle, neighbourhood};
