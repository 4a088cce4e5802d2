//! Wire formats, free of I/O: bytes in, facts and bytes out.
//!
//! The hot path of the gateway runs here once per streamed chunk, so these modules borrow instead of copying and never build a
//! JSON tree for a well-formed chunk.
//!
//! | module | what it answers |
//! |---|---|
//! | [`anthropic`] | how do Anthropic's clients and providers write requests, answers and streams? |
//! | [`bad_request`] | what is wrong with a client's request, and in which field? |
//! | [`bedrock`] | how are AWS Bedrock's requests written and signed, and its answers and binary streams read? |
//! | [`chat`] | what is a conversation, whatever the format it is written in? |
//! | [`gemini`] | what does Google Gemini's `generateContent` say, and how is it written? |
//! | [`model_facts`] | what does a list of models say about one? |
//! | [`cohere`] | how is a conversation written for Cohere, and what does Cohere answer? |
//! | [`ollama`] | what does Ollama say, and how is it written? |
//! | [`lines`] | where does one line of JSON end? |
//! | [`sse`] | where does one server-sent event end, and what is in it? |
//! | [`openai`] | how is a conversation written as OpenAI Chat Completions, by clients and for providers? |
//! | [`openai_chat`] | is this a valid chat request, and what must change before it goes upstream? |
//! | [`openai_chat_stream`] | what does this streamed chunk mean, may it pass, how did the stream end? |
//! | [`openai_chat_answer`] | is this whole answer an answer? |
//! | [`openai_completions`] | how is a completion of a prompt asked for and answered? |
//! | [`openai_error`] | what did the upstream complain about, and how is an error written for an OpenAI client? |
//! | [`responses`] | how does OpenAI Responses write a conversation, its answer and its stream? |
//! | [`usage`] | how many tokens, in buckets that do not overlap? |
//! | [`retry_hint`] | how long did the upstream ask us to wait? |

pub mod anthropic;
pub mod bad_request;
pub mod bedrock;
pub mod chat;
pub mod cohere;
pub mod gemini;
#[cfg(test)]
mod golden;
mod lenient;
pub mod lines;
mod mend;
pub mod model_facts;
pub mod ollama;
pub mod openai;
pub mod openai_chat;
pub mod openai_chat_answer;
mod openai_chat_parts;
pub mod openai_chat_stream;
pub mod openai_completions;
pub mod openai_error;
mod pairing;
pub mod rate_limits;
pub mod responses;
pub mod retry_hint;
mod splice;
pub mod sse;
pub mod usage;
