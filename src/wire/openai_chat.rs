//! The request side of the chat format: check it, learn what routing needs, and change only what must change.
//!
//! One borrowing pass reads the body; the messages are walked, never kept. The upstream body is the client's body with single
//! members spliced, so unknown fields, key order and number spelling survive and prompt caches keep hitting.

use bytes::Bytes;
use bytestring::ByteString;

mod check;
mod opening;
mod read;
#[cfg(test)]
mod tests;

pub use super::lenient::MediaKinds;
use super::{
    bad_request::BadRequest,
    splice::{self, Edit, Keys, Object},
};
use read::Field;

/// How the upstream body differs from the client's, beside the model.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct RewriteOptions {
    /// Ask for usage at the end of a stream.
    pub ask_usage: bool,
    /// The upstream refuses `stream_options`.
    pub drop_stream_options: bool,
    /// The upstream knows only `max_completion_tokens`.
    pub rename_max_tokens: bool,
    /// Name the session, in hexadecimal, as `prompt_cache_key`, unless the client named one.
    pub cache_key: Option<u64>,
}

/// A checked chat request: the body as it came, and what routing needs to know of it.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    body: ByteString,
    keys: Keys,
    /// The model the client named.
    pub model: String,
    /// The client wants a stream.
    pub stream: bool,
    /// The body says whether to stream; if not, [`Self::default_stream`] may still decide.
    pub stream_given: bool,
    /// The client wants usage at the end of its stream.
    pub include_usage: bool,
    /// The request offers tools or functions.
    pub has_tools: bool,
    /// Characters of the messages and tools, binary parts left out.
    pub prompt_chars: u64,
    /// What the messages hold beside text.
    pub media: MediaKinds,
    /// How many choices are asked for.
    pub n: u32,
    /// The cap on the answer, if the client set one.
    pub max_output_tokens: Option<u64>,
    /// The client's name for its end user; a hint for sticky routing.
    pub user: Option<String>,
}

impl ChatRequest {
    /// Reads and checks a body.
    pub fn parse(body: Bytes) -> Result<Self, BadRequest> {
        let no_text = |_| read::invalid("The request body is not valid UTF-8".to_owned());
        let body = ByteString::try_from(body).map_err(no_text)?;
        let facts = check::facts(read::Draft::read(&body)?)?;
        Ok(Self {
            keys: facts.keys,
            model: facts.model,
            stream: facts.stream.unwrap_or(false),
            stream_given: facts.stream.is_some(),
            include_usage: facts.include_usage,
            has_tools: facts.has_tools,
            prompt_chars: facts.prompt_chars,
            media: facts.media,
            n: facts.n,
            max_output_tokens: facts.max_output_tokens,
            user: facts.user,
            body,
        })
    }

    /// The body as the client sent it.
    pub fn body(&self) -> &Bytes {
        self.body.as_bytes()
    }

    /// The first member of that name, as it is written; none when it is null.
    pub fn member(&self, name: &str) -> Option<&str> {
        let object = Object::new(&self.body, &self.keys);
        let found = (0..self.keys.len()).find(|index| read::unescaped(object.name(*index)) == name)?;
        Some(object.value(found)).filter(|value| *value != "null")
    }

    /// What the conversation begins with: instructions up to the first word of the user, and that word, as they are
    /// written. It stays the same for the whole conversation.
    pub fn opening(&self, mut each: impl FnMut(&str)) {
        if let Some(messages) = self.member("messages") {
            opening::walk(messages, &mut each);
        }
    }

    /// Decides for a body that does not say whether to stream (a key may be set to the old default, which is yes).
    pub fn default_stream(&mut self, stream: bool) {
        if !self.stream_given {
            self.stream = stream;
        }
    }

    /// The body for the upstream: the client's bytes with only the needed members changed.
    pub fn rewrite(&self, upstream_model: &str, options: RewriteOptions) -> Bytes {
        let object = Object::new(&self.body, &self.keys);
        let plan = Plan { request: self, object: &object, upstream_model, options };
        object.rebuild(|index| plan.edit(index), &plan.added()).map_or_else(|| self.body().clone(), Bytes::from)
    }
}

/// What happens to each member on the way to one upstream.
struct Plan<'a> {
    request: &'a ChatRequest,
    object: &'a Object<'a>,
    upstream_model: &'a str,
    options: RewriteOptions,
}

impl Plan<'_> {
    fn edit(&self, index: usize) -> Edit {
        match self.field(index) {
            Field::Model if self.request.model != self.upstream_model => Edit::Value(json_text(self.upstream_model)),
            Field::Stream => self.stream(index),
            Field::StreamOptions => self.stream_options(index),
            Field::Streaming | Field::NonStream | Field::DisableStream | Field::DisableStreaming => Edit::Remove,
            Field::MaxTokens if self.options.rename_max_tokens => self.max_tokens(index),
            Field::MaxCompletionTokens if self.superseded(index) => Edit::Remove,
            _ => Edit::Keep,
        }
    }

    fn added(&self) -> Vec<String> {
        let has = |field| (0..self.request.keys.len()).any(|index| self.field(index) == field);
        let mut added = Vec::new();
        if !has(Field::Stream) {
            added.push(format!("\"stream\":{}", self.request.stream));
        }
        if let Some(session) = self.options.cache_key
            && self.request.member("prompt_cache_key").is_none()
        {
            added.push(format!("\"prompt_cache_key\":\"{session:016x}\""));
        }
        if self.wants_usage() && !has(Field::StreamOptions) {
            added.push("\"stream_options\":{\"include_usage\":true}".to_owned());
        }
        added
    }

    fn field(&self, index: usize) -> Field {
        Field::of(self.object.name(index))
    }

    fn stream(&self, index: usize) -> Edit {
        let wanted = if self.request.stream { "true" } else { "false" };
        if self.object.value(index) == wanted { Edit::Keep } else { Edit::Value(wanted.to_owned()) }
    }

    fn wants_usage(&self) -> bool {
        self.request.stream && self.options.ask_usage && !self.options.drop_stream_options
    }

    /// Without a stream the options mean nothing and OpenAI refuses them.
    fn stream_options(&self, index: usize) -> Edit {
        if self.options.drop_stream_options || !self.request.stream {
            return Edit::Remove;
        }
        if !self.wants_usage() { Edit::Keep } else { including_usage(self.object.value(index)) }
    }

    /// The new name wins when both are set; upstreams refuse the pair.
    fn max_tokens(&self, own: usize) -> Edit {
        let set = |index: usize| self.field(index) == Field::MaxCompletionTokens && self.object.value(index) != "null";
        let null = self.object.value(own) == "null";
        let taken = (0..self.request.keys.len()).any(set);
        if null || taken { Edit::Remove } else { Edit::Rename("max_completion_tokens") }
    }

    /// A null under the new name makes room for the renamed old one.
    fn superseded(&self, own: usize) -> bool {
        let set = |index: usize| self.field(index) == Field::MaxTokens && self.object.value(index) != "null";
        let null = self.object.value(own) == "null";
        self.options.rename_max_tokens && null && (0..self.request.keys.len()).any(set)
    }
}

/// The options with `include_usage` true and all else as it was.
fn including_usage(options: &str) -> Edit {
    let Ok(keys) = splice::keys_of(options) else { return Edit::Value("{\"include_usage\":true}".to_owned()) };
    let object = Object::new(options, &keys);
    let is_it = |index: usize| read::unescaped(object.name(index)) == "include_usage";
    let change = |index: usize| match is_it(index) {
        true if object.value(index) != "true" => Edit::Value("true".to_owned()),
        _ => Edit::Keep,
    };
    let missing = !(0..keys.len()).any(is_it);
    let added: &[String] = if missing { &["\"include_usage\":true".to_owned()] } else { &[] };
    object.rebuild(change, added).map_or(Edit::Keep, Edit::Value)
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
