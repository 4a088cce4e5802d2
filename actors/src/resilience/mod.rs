//! What a connection's health is and how it changes: plain structs and functions, no I/O, no clock.
//!
//! ```text
//! answer --classify--> Outcome --verdict--> blame, next step, what cools
//!                                   |
//!                                Health ---- Breaker (window + consecutive failures)
//!                                        |-- Cooldown (hint or ladder)
//!                                        |-- Lockouts (one model on one connection)
//!                                        `-- Terminal (expired, banned, credits exhausted)
//!
//! traffic --Limiter (calls, gap, tokens)--> slots --Aimd (learned)--> provider --headers--> Learned
//!    |         '--- no room ---> FairQueue (bounded, by key)                                  |
//!    '-- Ramp (after a breaker closed), RetryBudget (extra attempts) <--- lower pace, rest ---'
//! ```
//! Health says whether a connection works, traffic how much it may carry. Our own bounds never count against a provider.

pub mod aimd;
pub mod backoff;
pub mod breaker;
pub mod classify;
pub mod gate;
pub mod health;
pub mod learned;
pub mod limiter;
pub mod lockout;
pub mod outcome;
pub mod queue;
pub mod ramp;
pub mod retry_budget;
pub mod settings;
pub mod transition;
pub mod window;
