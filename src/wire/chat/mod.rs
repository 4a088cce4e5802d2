//! The neutral model: what a conversation is before it is any provider's JSON.
//!
//! ```text
//! client bytes ─ decode_request ─► Request ─ encode_request ─► provider bytes
//! client bytes ◄─ encode_answer ── Answer  ◄─ decode_answer ── provider bytes
//! client bytes ◄─ StreamEncoder ── Event   ◄─ StreamDecoder ── provider bytes
//! ```
//! The module of a format has exactly these names:
//!
//! | name | what it does |
//! |---|---|
//! | `decode_request(body: &[u8]) -> Result<Request, BadRequest>` | checks and reads a client's request |
//! | `encode_request(&Request, &EncodeTarget) -> Result<Encoded, Refused>` | writes it for a provider |
//! | `decode_answer(body: &[u8]) -> Result<Answer, BadAnswer>` | reads a provider's whole answer |
//! | `encode_answer(&Answer, &Reply) -> Bytes` | writes it for a client |
//! | `Decoder::default()`, a [`StreamDecoder`] | reads a provider's stream |
//! | `Encoder::new(&Reply)`, a [`StreamEncoder`] | writes a client's stream |
//! | `error_body(&ErrorBody, status: u16, request_id: Option<&str>) -> Bytes` | writes an error for a client |
//!
//! Every format brings these and nothing for a pair: N formats are 2N maps. Where client and provider speak the same
//! format none of them runs over the body: the bytes pass, and a [`StreamDecoder`] only listens.
//!
//! Rules that every format keeps:
//! - order is meaning: messages, parts and events stay in the order in which they came;
//! - tool arguments are text and stay byte for byte what the model wrote;
//! - what a target cannot carry is named in [`Encoded::dropped`], or refused when leaving it out would change the answer's
//!   meaning; nothing is lost in silence;
//! - a [`Seal`] goes back only to the [`Family`] that made it;
//! - a decoder never panics and never holds more than its caps, whatever the bytes; an encoder writes only legal sequences.

mod answer;
#[cfg(test)]
pub mod arbitrary;
mod codec;
mod event;
pub mod ids;
pub mod lost;
pub mod media;
mod output;
mod part;
pub mod read;
pub mod repair;
mod request;
mod sequence;
#[cfg(test)]
mod tests;
mod way_back;

pub use answer::{Answer, Choice, Collector, Stop, Took};
pub use codec::{
    BadAnswer, Dropped, EncodeTarget, Encoded, Family, Format, Refused, Reply, StreamDecoder, StreamEncoder, Traits,
    Truncated,
};
pub use event::{Begin, Delta, Event, Opening};
pub use output::{OutputFormat, worded_schema};
pub use part::{CacheHint, Citation, Media, Part, PartKind, Seal, Source, Thinking, ToolCall, ToolResult};
pub use request::{Effort, Message, Reasoning, ReasoningMode, Request, Role, Sampling, Tool, ToolChoice, ToolKind};
pub use sequence::Sequencer;
pub use way_back::{Original, Restorer, WayBack};
