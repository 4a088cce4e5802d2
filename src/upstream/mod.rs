//! The one way out: every outbound HTTP call of the gateway goes through [`ClientFactory`] and [`send`].
//!
//! ```text
//! send ── awc::Client (one per worker thread and proxy) ── pool ── PolicyConnector ── Resolver ── DNS
//!                                                             │                │
//!                                                       AddressPolicy ◄────────┘
//! ```
//!
//! Invariants kept here, each with a test:
//! - the address that was checked is the address that is used (a rebinding name is refused at connect);
//! - no redirect is followed, no 1xx or 3xx is ever an answer, no body that was cut looks complete (a few interim 1xx are
//!   skipped without TLS; under TLS, where awc alone sees them, the first one is a failure);
//! - a connection whose answer was not understood never serves another request;
//! - a call that has a proxy goes through it or not at all, unless an operator said otherwise;
//! - an error says whether the provider may have accepted the request ([`Delivery`]).

mod body;
mod client;
mod connector;
mod error;
mod interim;
mod policy;
mod proxy;
mod resolver;
mod send;
mod whole;
mod wire;

#[cfg(test)]
mod tests;

pub use body::{Body, CollectLimits, collect};
pub use client::{ClientFactory, FactoryError, Outside, UpstreamSettings};
pub use connector::{ConnectFailure, OnRefusal};
pub use error::{BodyError, ConnectStep, Delivery, SendError, SendErrorKind};
pub use policy::{AddressPolicy, AddressRange, PolicyError, Refusal, range_of};
pub use proxy::{Caller, Proxy, ProxyKind, Way, Ways};
pub use resolver::{DnsSettings, Lookup, Resolver, system_lookup};
pub use send::{UpstreamRequest, UpstreamResponse, send, send_by};
pub use whole::whole;
