//! From a request to an answer.
//!
//! ```text
//! routes/v1 -> Inbound -> dispatch: Route -> Lease -> attempt ... until one answers or none is left
//!                                                       |
//!                          whole answer: checked, recorded, returned as it came
//!                          stream: held until the first content, then RelayBody carries the lease
//! ```

pub mod access;
pub mod affinity;
pub mod ask;
pub mod assemble;
pub mod attempt;
pub mod background;
pub mod client_format;
pub mod combo_plan;
pub mod combo_settings;
pub mod combo_wish;
pub mod continuation;
pub mod count;
pub mod deliver;
pub mod directory;
pub mod dispatch;
pub mod ensemble;
pub mod errand;
pub mod fault;
pub mod features;
mod frames;
pub mod handoff;
pub mod inbound;
pub mod keeper;
mod learned_abilities;
pub mod learned_models;
pub mod ledger;
mod limits;
pub mod media;
pub mod model_knowledge;
pub mod note;
mod pace;
pub mod patience;
pub mod pipeline;
pub mod plan_build;
pub mod policy_rows;
pub mod prefix;
mod prepared;
pub mod provider_format;
pub mod queueing;
pub mod race;
pub mod refusal;
pub mod relay;
pub mod relay_body;
pub mod routing_rows;
pub mod seals;
mod sign;
pub mod stall;
pub mod surroundings;
pub mod tally;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod upstream_call;
pub mod whole_body;
pub mod wishes;
