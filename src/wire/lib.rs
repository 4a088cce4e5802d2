//! Wire formats, free of I/O: bytes in, facts and bytes out.
//!
//! The hot path of the gateway runs here once per streamed chunk, so these modules borrow instead of copying and never build a
//! JSON tree for a well-formed chunk.
//!
//! | module | what it answers |
//! |---|---|
//! | [`anthropic`] | how do Anthropic's clients and providers write requests, answers and streams? |
//! | [`bad_request`] | what is wrong with a client's request, and in which field? |
//! | [`chat`] | what is a conversation, whatever the format it is written in? |
//! | [`gemini`] | what does Google Gemini's `generateContent` say, and how is it written? |
//! | [`model_facts`] | what does a list of models say about one? |
//! | [`sse`] | where does one server-sent event end, and what is in it? |
//! | [`openai`] | how is a conversation written as OpenAI Chat Completions, by clients and for providers? |
//! | [`openai_chat`] | is this a valid chat request, and what must change before it goes upstream? |
//! | [`openai_chat_stream`] | what does this streamed chunk mean, may it pass, how did the stream end? |
//! | [`openai_chat_answer`] | is this whole answer an answer? |
//! | [`openai_error`] | what did the upstream complain about, and how is an error written for an OpenAI client? |
//! | [`responses`] | how does OpenAI Responses write a conversation, its answer and its stream? |
//! | [`usage`] | how many tokens, in buckets that do not overlap? |
//! | [`retry_hint`] | how long did the upstream ask us to wait? |

pub mod anthropic;
pub mod bad_request;
pub mod chat;
pub mod gemini;
mod lenient;
mod mend;
pub mod model_facts;
pub mod openai;
pub mod openai_chat;
pub mod openai_chat_answer;
mod openai_chat_parts;
pub mod openai_chat_stream;
pub mod openai_error;
pub mod responses;
pub mod retry_hint;
mod splice;
pub mod sse;
pub mod usage;
// TEMPORARY
#[allow(missing_docs)]
pub mod cohere {
    pub use crate::openai::{Decoder, decode_answer, encode_request};
}
#[allow(missing_docs)]
pub mod openai_completions {
    pub use crate::openai::{Encoder, decode_request, encode_answer};
    pub fn wants_usage(_: &crate::chat::Request) -> bool {
        false
    }
}
#[allow(missing_docs)]
pub mod ollama {
    pub use crate::openai::decode_request as decode_generate_request;
    pub use crate::openai::encode_answer as encode_generate_answer;
    pub use crate::openai::{Decoder, decode_answer, decode_request, encode_answer, encode_request, error_body};
    #[derive(Debug)]
    pub struct Encoder(crate::openai::Encoder);
    impl Encoder {
        pub fn new(r: &crate::chat::Reply) -> crate::openai::Encoder {
            crate::openai::Encoder::new(r)
        }
        pub fn generate(r: &crate::chat::Reply) -> crate::openai::Encoder {
            crate::openai::Encoder::new(r)
        }
    }
    pub fn rewrite(b: &bytes::Bytes, _: &str) -> bytes::Bytes {
        b.clone()
    }
    use crate::model_facts::ModelFacts;
    pub fn tags_body(_: &[ModelFacts]) -> bytes::Bytes {
        bytes::Bytes::new()
    }
    pub fn show_body(_: &ModelFacts) -> bytes::Bytes {
        bytes::Bytes::new()
    }
    pub fn version_body() -> bytes::Bytes {
        bytes::Bytes::new()
    }
    pub fn ps_body() -> bytes::Bytes {
        bytes::Bytes::new()
    }
}
#[allow(missing_docs)]
pub mod lines {
    use bytes::Bytes;
    #[derive(Debug)]
    pub struct LineScanner;
    #[derive(Debug, thiserror::Error)]
    #[error("x")]
    pub struct LineError;
    impl LineScanner {
        pub fn new(_: usize) -> Self {
            Self
        }
        pub fn push(&mut self, _: Bytes) {}
        pub fn next_line(&mut self) -> Result<Option<Bytes>, LineError> {
            Ok(None)
        }
        pub fn finish(&mut self) -> Result<Option<Bytes>, LineError> {
            Ok(None)
        }
    }
}
#[allow(missing_docs)]
pub mod bedrock {
    pub use crate::openai::{Decoder, decode_answer, encode_request};
    pub mod event_stream {
        use bytes::Bytes;
        #[derive(Debug)]
        pub struct EventStreamScanner;
        #[derive(Debug)]
        pub struct Message;
        impl Message {
            pub fn name(&self) -> &str {
                ""
            }
            pub fn payload(&self) -> &[u8] {
                &[]
            }
        }
        #[derive(Debug, thiserror::Error)]
        #[error("x")]
        pub struct EventStreamError;
        impl EventStreamScanner {
            pub fn new(_: usize) -> Self {
                Self
            }
            pub fn push(&mut self, _: Bytes) {}
            pub fn next_message(&mut self) -> Result<Option<Message>, EventStreamError> {
                Ok(None)
            }
            pub fn finish(&mut self) -> Result<(), EventStreamError> {
                Ok(())
            }
        }
    }
    pub mod sigv4 {
        pub struct Credentials<'a> {
            pub access_key: &'a str,
            pub secret_key: &'a str,
            pub session_token: Option<&'a str>,
        }
        pub struct Signing<'a, U> {
            pub method: &'a str,
            pub url: &'a U,
            pub region: &'a str,
            pub service: &'a str,
            pub body: &'a [u8],
            pub now: i64,
        }
        impl<U> Signing<'_, U> {
            pub fn headers(&self, _: &Credentials<'_>) -> Vec<(String, String)> {
                Vec::new()
            }
        }
    }
}

#[allow(missing_docs)]
pub mod tmp_stored {
    use serde_json::Value;
}
