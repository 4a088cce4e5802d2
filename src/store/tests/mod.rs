//! What the store promises, on both engines.
//!
//! PostgreSQL is used when `OMNIROUTE_TEST_POSTGRES` names a server, each test in a schema of its own.

mod accounts;
mod audit;
mod backup;
mod bed;
mod bundle;
mod evals;
mod faults;
mod migrations;
mod nouns;
mod responses;
mod routing;
mod scale;
mod secrets;
mod tls;
