//! From a request to an answer.
//!
//! ```text
//! routes/v1 -> Inbound -> dispatch: Route -> Lease -> attempt ... until one answers or none is left
//!                                                       |
//!                          whole answer: checked, recorded, returned as it came
//!                          stream: held until the first content, then RelayBody carries the lease
//! ```

pub mod affinity;
pub mod ask;
pub mod assemble;
pub mod attempt;
pub mod client_format;
pub mod count;
pub mod deliver;
pub mod directory;
pub mod dispatch;
pub mod fault;
pub mod features;
mod frames;
pub mod inbound;
pub mod keeper;
pub mod ledger;
pub mod media;
pub mod note;
mod pace;
pub mod patience;
pub mod pipeline;
mod prepared;
pub mod provider_format;
pub mod queueing;
pub mod race;
pub mod refusal;
pub mod relay;
pub mod relay_body;
pub mod retries;
pub mod retry_class;
pub mod seals;
mod sign;
pub mod stall;
pub mod tally;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod upstream_call;
pub mod whole_body;
