//! What must hold while something breaks.

mod breaker;
mod broken_answers;
mod deadlines;
mod drain;
mod failover;
mod frozen;
mod hang_up;
mod ledger;
mod nginx;
mod overload;
mod stall;
mod storage;
