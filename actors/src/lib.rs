//! The actor system of OmniRoute: who owns what, and who may change it.
//!
//! ```text
//!  worker 1..n (actix-web)                     control arbiter
//!  ------------------------                    ----------------------------------------
//!  handler --Route--> Router replica           Registry --starts, watches, re-creates-.
//!     |                  | reads                                                      v
//!     |                  '---> RoutingPlan      Connection  Connection  Connection ...
//!     |                  '---> ConnectionHandle <--publishes--'    ^
//!     '- Lease{Permit} in the future, then      |                  |
//!        in the response body; its drop --------'                  |
//!        frees the slot and files a Report ---- batches, Outcomes -'
//! ```
//!
//! # Vocabulary
//! *provider*: a vendor, or an own endpoint (node). *connection*: one account or key at one provider.
//! *combo*: a named list of targets with a strategy. *candidate*: one connection with one model.
//! *itinerary*: the candidates of one request, in order. *attempt*: one candidate tried. *lease*: the right to
//! one attempt. *breaker*: keeps traffic from a failing connection. *cooldown*: keeps traffic from a connection
//! that asked for rest. *lockout*: keeps one model from one connection. *terminal*: out of service until
//! somebody acts, or one request in a while finds it alive again. *pace*: calls and tokens per minute. *retry budget*:
//! the extra attempts that requests may cause.
//!
//! # Invariants
//! * A connection's health has one owner and writer, its actor. Everybody else reads what it publishes.
//! * Nobody locks. There is no mutex in this crate.
//! * No message crosses threads on the path of a successful request; its report waits for a batch.
//! * A permit comes back on every exit by an atomic step, with the actor dead or alive.
//! * A token that a credential is exchanged for is minted once, however many wait for it; whoever waits is answered.
//! * Every state change carries a generation; a result of an older one changes nothing.
//! * A panic loses the message that met it and nothing else.
//! * Decisions take time and chance as arguments.

pub mod background;
pub mod clock;
pub mod connection;
pub mod guard;
pub mod ids;
pub mod ports;
pub mod resilience;
pub mod router;
#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod simulation;
pub mod supervisor;
#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod testing;
pub mod usage;
