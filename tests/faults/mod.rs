//! What must hold while something breaks.

mod amplification;
mod breaker;
mod broken_answers;
mod deadlines;
mod defects;
mod drain;
mod failover;
mod frozen;
mod hang_up;
mod ledger;
mod matrix;
mod nginx;
mod overload;
mod stall;
mod storage;
mod table;
