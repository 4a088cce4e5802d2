//! Wire formats, free of I/O: bytes in, facts and bytes out.
//!
//! The hot path of the gateway runs here once per streamed chunk, so these modules borrow instead of copying and never build a
//! JSON tree for a well-formed chunk.
//!
//! | module | what it answers |
//! |---|---|
//! | [`bad_request`] | what is wrong with a client's request, and in which field? |
//! | [`chat`] | what is a conversation, whatever the format it is written in? |
//! | [`gemini`] | what does Google Gemini's `generateContent` say, and how is it written? |
//! | [`model_facts`] | what does a list of models say about one? |
//! | [`ollama`] | what does Ollama say, and how is it written? |
//! | [`lines`] | where does one line of JSON end? |
//! | [`sse`] | where does one server-sent event end, and what is in it? |
//! | [`openai_chat`] | is this a valid chat request, and what must change before it goes upstream? |
//! | [`openai_chat_stream`] | what does this streamed chunk mean, may it pass, how did the stream end? |
//! | [`openai_chat_answer`] | is this whole answer an answer? |
//! | [`openai_error`] | what did the upstream complain about, and how is an error written for an OpenAI client? |
//! | [`usage`] | how many tokens, in buckets that do not overlap? |
//! | [`retry_hint`] | how long did the upstream ask us to wait? |

pub mod bad_request;
pub mod chat;
pub mod gemini;
mod lenient;
pub mod lines;
mod mend;
pub mod model_facts;
pub mod ollama;
pub mod openai_chat;
pub mod openai_chat_answer;
mod openai_chat_parts;
pub mod openai_chat_stream;
pub mod openai_error;
mod pairing;
pub mod retry_hint;
mod splice;
pub mod sse;
pub mod usage;
