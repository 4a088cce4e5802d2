//! What a client asks for: its bytes, what routing must know of them, and how they read for a provider.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use omniroute_actors::connection::config::UpstreamTarget;
use serde_json::{Map, Value};

use super::affinity::shown;
use super::assemble::quirk_bit;
use super::background::Job;
use super::client_format::ClientFormat;
use super::handoff;
use super::keeper::Keeper;
use super::media::{Fetched, Fetching};
use super::prefix;
use super::provider_format;
use super::seals::OwnSeals;
use super::wishes::Wishes;
use crate::providers::Quirk;
use crate::wire::bad_request::BadRequest;
use crate::wire::chat::{
    Answer, Dropped, EncodeTarget, Encoded, Format, Reply, Request, Tool, ToolKind, Traits, WayBack,
};
use crate::wire::openai;
use crate::wire::openai_chat::{ChatRequest, RewriteOptions};
use crate::wire::usage::Usage;

/// What a client asks for.
#[derive(Debug)]
pub struct Ask {
    /// How it says it, and wants to be answered.
    pub client: ClientFormat,
    /// The model it names.
    pub model: String,
    /// It wants a stream.
    pub stream: bool,
    /// Chat: it wants usage at the end of its stream.
    pub include_usage: bool,
    /// Characters of the prompt, for an estimate.
    pub prompt_chars: u64,
    /// Nothing may be left out on the way to a provider of another format.
    pub strict: bool,
    /// The answer, where it needs no model.
    pub ready: Option<Bytes>,
    /// Responses: keeps the answer.
    pub keeper: Option<Rc<Keeper>>,
    /// Responses: the answer is made while nobody waits.
    pub background: Option<Job>,
    /// The session, for providers that keep a prompt cache by its name.
    pub cache_key: Option<u64>,
    /// What providers sealed for this caller earlier.
    pub seals: Option<OwnSeals>,
    /// What lay behind its URLs, as far as a provider needed it.
    pub fetched: Fetched,
    /// It is no client's own but made on the way to an answer for one.
    pub made: Option<Made>,
    body: Bytes,
    /// Kept for chat: providers of that format get its bytes.
    chat: Option<ChatRequest>,
    /// The labels that it carries, where it is chat and they were looked at.
    labels: OnceCell<Option<Map<String, Value>>>,
    /// Read at once, except for chat: there only when a provider of another format needs it.
    neutral: OnceCell<Arc<Request>>,
}

/// What a request is for that the gateway makes on its way to a client's answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Made {
    /// Its answer is read here, and the client never sees it as such.
    pub inner: bool,
    /// Its last message is the beginning of the answer.
    pub continues: bool,
    /// What other calls for the same answer used: the client reads the sum.
    pub spent: Usage,
}

/// For whom a request is written.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The connection's target.
    pub target: &'a UpstreamTarget,
    /// The provider's name of the model.
    pub model: &'a str,
    /// The request's id.
    pub id: &'a str,
    /// When the request came, in seconds since the Unix epoch.
    pub created: i64,
    /// What others than the client want of the request.
    pub wishes: Wishes<'a>,
    /// A summary of the session that is handed over to the target.
    pub handoff: Option<&'a str>,
    /// The answer is written anew for the client even where its provider speaks the same format.
    pub anew: bool,
}

fn has(target: &UpstreamTarget, quirk: Quirk) -> bool {
    target.quirks & quirk_bit(quirk) != 0
}

/// A body for a provider, and how its answer is read.
#[derive(Debug)]
pub struct Outgoing {
    /// The body.
    pub body: Bytes,
    /// What the provider does not get.
    pub dropped: Vec<Dropped>,
    /// How to write the answer for the client; none when it passes as it is.
    pub translation: Option<Translation>,
}

/// How an answer of another format is written for the client.
#[derive(Debug, Clone)]
pub struct Translation {
    /// Undoes what the request had to disguise.
    pub way_back: WayBack,
    /// What the encoder knows of the request.
    pub reply: Reply,
}

/// Why a body cannot be written for a provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CannotCarry {
    /// The field to blame.
    pub field: Option<String>,
    /// In words.
    pub message: String,
    /// No provider could: the request itself is wrong.
    pub hopeless: bool,
}

impl Ask {
    /// A chat request, checked.
    pub fn chat(chat: ChatRequest) -> Self {
        Self {
            client: ClientFormat::Chat,
            model: chat.model.clone(),
            stream: chat.stream,
            include_usage: chat.include_usage,
            prompt_chars: chat.prompt_chars,
            strict: false,
            ready: None,
            keeper: None,
            background: None,
            cache_key: None,
            seals: None,
            fetched: Fetched::default(),
            made: None,
            body: chat.body().clone(),
            chat: Some(chat),
            labels: OnceCell::new(),
            neutral: OnceCell::new(),
        }
    }

    /// A request of any other format, read already.
    pub fn read(client: ClientFormat, body: Bytes, request: Request) -> Self {
        Self {
            client,
            model: request.model.clone(),
            stream: request.stream,
            include_usage: false,
            prompt_chars: request.prompt_chars(),
            strict: false,
            ready: None,
            keeper: None,
            background: None,
            cache_key: None,
            seals: None,
            fetched: Fetched::default(),
            made: None,
            body,
            chat: None,
            labels: OnceCell::new(),
            neutral: OnceCell::from(Arc::new(request)),
        }
    }

    /// Another request on the way to this one's answer, in the same client's name.
    pub fn making(&self, request: Request, made: Made) -> Self {
        Self {
            client: self.client,
            model: self.model.clone(),
            stream: request.stream,
            include_usage: self.include_usage,
            prompt_chars: request.prompt_chars(),
            strict: self.strict,
            ready: None,
            keeper: self.keeper.clone().filter(|_| !made.inner),
            background: None,
            cache_key: self.cache_key,
            seals: self.seals.clone(),
            fetched: Fetched::default(),
            made: Some(made),
            body: Bytes::new(),
            chat: None,
            labels: OnceCell::new(),
            neutral: OnceCell::from(Arc::new(request)),
        }
    }

    /// Whether the gateway itself reads the answer.
    pub fn is_inner(&self) -> bool {
        self.made.is_some_and(|made| made.inner)
    }

    /// What other calls for the same answer used.
    pub fn spent(&self) -> Usage {
        self.made.map_or_else(Usage::default, |made| made.spent)
    }

    /// The body as the client sent it.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The chat request, if it is one.
    pub const fn as_chat(&self) -> Option<&ChatRequest> {
        self.chat.as_ref()
    }

    /// Its `metadata`.
    pub fn labels(&self) -> Option<&Map<String, Value>> {
        match &self.chat {
            Some(chat) => self.labels.get_or_init(|| serde_json::from_str(chat.member("metadata")?).ok()).as_ref(),
            None => self.neutral.get()?.metadata.as_ref(),
        }
    }

    /// Whether a tool may run at the provider's.
    pub fn has_server_tools(&self) -> bool {
        let is_native = |tool: &Tool| matches!(tool.kind, ToolKind::Native(_));
        match &self.chat {
            Some(chat) if chat.has_tools => self.neutral().map_or(true, |request| request.tools.iter().any(is_native)),
            Some(chat) => chat.member("web_search_options").is_some() || chat.member("plugins").is_some(),
            None => self.neutral.get().is_some_and(|request| request.tools.iter().any(is_native)),
        }
    }

    /// The request in the neutral model.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn neutral(&self) -> Result<&Arc<Request>, BadRequest> {
        if let Some(request) = self.neutral.get() {
            return Ok(request);
        }
        let mut request = openai::decode_request(&self.body)?;
        // The key's own default may differ from what the body says, and so may a name that got its prefix from the path.
        request.stream = self.stream;
        request.model.clone_from(&self.model);
        if let Some(seals) = &self.seals {
            seals.restore(&mut request);
        }
        Ok(self.neutral.get_or_init(|| Arc::new(request)))
    }

    /// Let the caller's memory fill in what its client left out.
    pub fn remember(&mut self, seals: OwnSeals) {
        if let Some(request) = self.neutral.get_mut().and_then(Arc::get_mut) {
            seals.restore(request);
        }
        self.seals = Some(seals);
    }

    /// The body for a target, with what lies behind its URLs where the target takes bytes only.
    ///
    /// # Errors
    /// What its format cannot carry.
    pub async fn for_target(&self, order: &Order<'_>, fetching: Fetching<'_>) -> Result<Outgoing, CannotCarry> {
        let Order { target, model, .. } = *order;
        let format = provider_format::of(target);
        let traits = provider_format::traits(target);
        let same = self.client.same_as() == Some(format);
        let mends = self.must_mend(format, traits);
        let own = same && self.made.is_none() && order.handoff.is_none();
        if own && !order.wishes.may_change() && !order.anew && !mends {
            return Ok(Outgoing { body: self.passed(format, target, model), dropped: Vec::new(), translation: None });
        }
        let request =
            self.neutral().map_err(|bad| CannotCarry { field: bad.param, message: bad.message, hopeless: true })?;
        let wanted = order.wishes.applied(request, format).map(Arc::new);
        if own && wanted.is_none() && !mends {
            let reply = || self.reply(order.id, order.created, request);
            let translation = order.anew.then(|| Translation { way_back: WayBack::default(), reply: reply() });
            return Ok(Outgoing { body: self.passed(format, target, model), dropped: Vec::new(), translation });
        }
        let request = wanted.as_ref().unwrap_or(request);
        let told = order.handoff.map(|summary| Arc::new(handoff::told_of(request, summary)));
        let request = told.as_ref().unwrap_or(request);
        let filled = self.fetched.fill(request, format, fetching).await?;
        let mut encoded = self.encoded(filled.as_ref().unwrap_or(request), order)?;
        encoded.body = self.named_cache(encoded.body, format, target);
        if self.made.is_some_and(|made| made.continues) {
            encoded.body = prefix::marked(encoded.body, prefix::of(target));
        }
        if same && encoded.way_back.is_empty() && self.made.is_none() && !order.anew {
            return Ok(Outgoing { body: encoded.body, dropped: encoded.dropped, translation: None });
        }
        let reply = self.reply(order.id, order.created, request);
        let translation = Some(Translation { way_back: encoded.way_back, reply });
        Ok(Outgoing { body: encoded.body, dropped: encoded.dropped, translation })
    }

    /// Looked into only for providers that refuse what others take: reading a conversation costs.
    fn must_mend(&self, format: Format, traits: Traits) -> bool {
        (traits.alternate_roles || traits.short_call_ids)
            && self.neutral().is_ok_and(|request| provider_format::must_mend(format, request, traits))
    }

    fn encoded(&self, request: &Request, order: &Order<'_>) -> Result<Encoded, CannotCarry> {
        let Order { target, model, .. } = *order;
        let to = EncodeTarget { model, stream: self.stream, traits: provider_format::traits(target) };
        let refused = |field: String, message: String| CannotCarry { field: Some(field), message, hopeless: false };
        let encoded = provider_format::encode_request(provider_format::of(target), request, &to)
            .map_err(|no| refused(no.field, no.message))?;
        match encoded.dropped.first() {
            Some(first) if self.strict => {
                let message = format!("'{}' cannot be sent to this model: {}.", first.field, first.why);
                Err(refused(first.field.clone(), message))
            }
            _ => Ok(encoded),
        }
    }

    fn passed(&self, format: Format, target: &UpstreamTarget, model: &str) -> Bytes {
        let Some(chat) = &self.chat else {
            return self.named_cache(provider_format::rewrite(format, &self.body, model), format, target);
        };
        let traits = provider_format::traits(target);
        let options = RewriteOptions {
            ask_usage: true,
            drop_stream_options: traits.no_stream_options,
            rename_max_tokens: traits.max_completion_tokens,
            cache_key: self.cache_key.filter(|_| has(target, Quirk::PromptCacheKey)),
        };
        chat.rewrite(model, options)
    }

    /// The body with a name for the prompt cache of its session, where the provider takes one and the client gives none.
    fn named_cache(&self, body: Bytes, format: Format, target: &UpstreamTarget) -> Bytes {
        let takes =
            matches!(format, Format::OpenAiChat | Format::OpenAiResponses) && has(target, Quirk::PromptCacheKey);
        let Some(session) = self.cache_key.filter(|_| takes) else { return body };
        let is_named = || self.neutral().map_or(true, |request| request.cache_name().is_some());
        match body.trim_ascii_end().strip_suffix(b"}") {
            Some(members) if members.len() > 1 && !is_named() => {
                [members, format!(",\"prompt_cache_key\":\"{}\"}}", shown(session)).as_bytes()].concat().into()
            }
            _ => body,
        }
    }

    /// What an encoder of the client's format knows of the request.
    pub fn reply(&self, id: &str, created: i64, request: &Arc<Request>) -> Reply {
        Reply {
            id: id.to_owned(),
            created,
            model: self.model.clone(),
            include_usage: self.include_usage,
            as_array: matches!(self.client, ClientFormat::Gemini { as_array: true }),
            request: Arc::clone(request),
        }
    }

    /// An answer that is whole, as the client gets it: streamed all the same where it asked for a stream.
    pub fn written(&self, answer: &Answer, reply: &Reply) -> Bytes {
        if !self.stream {
            let body = self.client.encode_answer(answer, reply);
            if let (Some(keeper), Ok(response)) = (&self.keeper, serde_json::from_slice(&body)) {
                keeper.keep(response);
            }
            return body;
        }
        let (mut encoder, mut out) = (self.client.encoder(reply), BytesMut::new());
        for event in answer.events() {
            encoder.event(&event, &mut out);
        }
        encoder.finish(&mut out);
        let body = out.freeze();
        if let Some(keeper) = &self.keeper {
            keeper.keep_stream(&body);
        }
        body
    }

    /// The error that ends a stream of this client whose bytes were passed as they came.
    pub fn reply_without_request(&self, id: &str, created: i64) -> Reply {
        let unread = || Arc::new(Request::new(self.client.same_as().unwrap_or(Format::OpenAiChat), self.model.clone()));
        let request = self.neutral.get().cloned().unwrap_or_else(unread);
        self.reply(id, created, &request)
    }
}
