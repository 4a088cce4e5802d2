//! What a connection's health is and how it changes: plain structs and functions, no I/O, no clock.
//!
//! ```text
//! answer --classify--> Outcome --verdict--> blame, next step, what cools
//!                                   |
//!                                Health ---- Breaker (window + consecutive failures)
//!                                        |-- Cooldown (hint or ladder)
//!                                        |-- Lockouts (one model on one connection)
//!                                        `-- Terminal (expired, banned, credits exhausted)
//! ```

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
