//! Pictures and documents that a request names by URL, for providers that take bytes only.
//!
//! A provider of such a format gets the bytes in the URL's place; they are fetched when it is chosen, once per request,
//! whoever is chosen next. What the model is asked about now must come, or the client reads which field did not; what
//! was said before may be missing, and the format then names it as dropped.
//!
//! A URL of a client is nothing that an operator vouched for: it is fetched under an address policy without the
//! exceptions that providers have ([`fetch`]), and what is told of a failure says nothing about our network.

mod fetch;
mod kind;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::Instant;

use self::fetch::{Limits, Loaded, NotFetched};
use super::ask::CannotCarry;
use crate::config::Routing;
use crate::infra::metrics;
use crate::upstream::ClientFactory;
use crate::wire::chat::{Format, Media, Message, Part, PartKind, Request, Role, Source};

/// URLs of one request.
const MOST: usize = 16;
/// At the same time.
const AT_ONCE: usize = 4;
/// Google reads its own stores itself.
const GOOGLES: [&str; 3] =
    ["https://generativelanguage.googleapis.com/", "https://www.youtube.com/", "https://youtu.be/"];

/// How a request may fetch.
#[derive(Clone, Copy)]
pub struct Fetching<'a> {
    /// The way out, under the policy for URLs of clients.
    pub clients: &'a ClientFactory,
    /// The settings.
    pub routing: &'a Routing,
    /// When the whole request must be over.
    pub until: Instant,
}

/// What one request fetched already.
#[derive(Debug, Default)]
pub struct Fetched {
    by_url: RefCell<HashMap<String, Result<Loaded, NotFetched>>>,
    bytes: Cell<usize>,
}

/// A piece whose bytes a target needs.
struct Wanted<'a> {
    url: &'a str,
    /// What the client says it is.
    said: Option<&'a str>,
    image: bool,
    /// Its field, as encoders name it.
    field: String,
    /// The model is asked about it now.
    asked: bool,
}

impl Fetched {
    /// The request with bytes in place of the URLs that this format cannot carry; nothing where there is none.
    ///
    /// # Errors
    /// Which field cannot be had.
    pub async fn fill(
        &self,
        request: &Request,
        to: Format,
        fetching: Fetching<'_>,
    ) -> Result<Option<Request>, CannotCarry> {
        let wanted = wanted(request, to);
        if wanted.is_empty() || !fetching.routing.fetch_urls {
            return Ok(None);
        }
        self.fetch(&wanted, fetching).await?;
        for piece in wanted.iter().filter(|piece| piece.asked) {
            self.source(piece.url, piece.said, piece.image, to).map_err(|no| piece.refused(&no))?;
        }
        let mut filled = request.clone();
        for message in &mut filled.messages {
            self.fill_parts(&mut message.parts, request.from, to);
        }
        Ok(Some(filled))
    }

    /// The newest first: when there are too many, it is the old ones that are missing.
    async fn fetch(&self, wanted: &[Wanted<'_>], fetching: Fetching<'_>) -> Result<(), CannotCarry> {
        let mut todo: Vec<&Wanted<'_>> = Vec::new();
        for piece in wanted.iter().rev().filter(|piece| !self.by_url.borrow().contains_key(piece.url)) {
            if !todo.iter().any(|other| other.url == piece.url) {
                todo.push(piece);
            }
        }
        let room = MOST.saturating_sub(self.by_url.borrow().len());
        if let Some(surplus) = todo.get(room..).and_then(|rest| rest.iter().find(|piece| piece.asked)) {
            return Err(surplus.refused(&NotFetched::TooMany(MOST)));
        }
        todo.truncate(room);
        let patience = Duration::from_millis(fetching.routing.fetch_timeout_ms);
        let limits = Limits {
            until: fetching.until.min(Instant::now() + patience),
            cap: fetching.routing.fetch_max_bytes,
            taken: &self.bytes,
        };
        let load = async |piece: &Wanted<'_>| fetch::load(fetching.clients, piece.url, limits).await;
        let mut loading = stream::iter(todo).map(async |piece| (piece, load(piece).await)).buffer_unordered(AT_ONCE);
        while let Some((piece, loaded)) = loading.next().await {
            metrics::fetch(loaded.as_ref().map_or_else(NotFetched::label, |_| "fetched"));
            let failed = loaded.as_ref().err().map(|no| piece.refused(no)).filter(|_| piece.asked);
            self.by_url.borrow_mut().insert(piece.url.to_owned(), loaded);
            if let Some(refused) = failed {
                return Err(refused);
            }
        }
        Ok(())
    }

    fn fill_parts(&self, parts: &mut [Part], from: Format, to: Format) {
        for part in parts {
            if let PartKind::ToolResult(result) = &mut part.kind {
                self.fill_parts(&mut result.parts, from, to);
            }
            let Some((url, said, image)) = needed(&part.kind, from, to) else { continue };
            let Ok(source) = self.source(url, said, image, to) else { continue };
            let (PartKind::Image(media) | PartKind::File(media)) = &part.kind else { continue };
            let is_image = matches!(&source, Source::Base64 { mime, .. } if mime.starts_with("image/"));
            let media = Media { source, ..media.clone() };
            // What a client calls a file may be a picture.
            part.kind = if is_image { PartKind::Image(media) } else { PartKind::File(media) };
        }
    }

    fn source(&self, url: &str, said: Option<&str>, image: bool, to: Format) -> Result<Source, NotFetched> {
        let known = self.by_url.borrow();
        let loaded = known.get(url).ok_or(NotFetched::TooMany(MOST))?.as_ref().map_err(Clone::clone)?;
        let mime = kind::accepted(image, said, loaded).ok_or(NotFetched::WrongType)?;
        Ok(match std::str::from_utf8(&loaded.bytes) {
            // It has a place for texts, and none for files.
            Ok(text) if to == Format::Ollama && !image => Source::Text(text.to_owned()),
            _ => Source::Base64 { mime, data: BASE64_STANDARD.encode(&loaded.bytes) },
        })
    }
}

impl Wanted<'_> {
    fn refused(&self, why: &NotFetched) -> CannotCarry {
        let message = format!("This model takes bytes only, and the URL in '{}' cannot be fetched: {why}.", self.field);
        CannotCarry { field: Some(self.field.clone()), message, hopeless: false }
    }
}

/// Everything that a target of this format needs, in the order of the conversation.
fn wanted(request: &Request, to: Format) -> Vec<Wanted<'_>> {
    let last_answer = request.messages.iter().rposition(|message| message.role == Role::Assistant);
    let mut wanted = Vec::new();
    for (index, message) in request.messages.iter().enumerate() {
        let asked = message.role == Role::User && last_answer.is_none_or(|answer| index > answer);
        for part in pieces(message) {
            if let Some((url, said, image)) = needed(&part.kind, request.from, to) {
                let field = format!("messages[{index}].{}", if image { "image" } else { "file" });
                wanted.push(Wanted { url, said, image, field, asked });
            }
        }
    }
    wanted
}

fn pieces(message: &Message) -> impl Iterator<Item = &Part> {
    message.parts.iter().flat_map(|part| match &part.kind {
        PartKind::ToolResult(result) => result.parts.iter(),
        _ => std::slice::from_ref(part).iter(),
    })
}

/// The URL of a piece, what the client says is behind it, and whether that is a picture; only where the format needs
/// the bytes.
fn needed(part: &PartKind, from: Format, to: Format) -> Option<(&str, Option<&str>, bool)> {
    let (media, image) = match part {
        PartKind::Image(media) => (media, true),
        PartKind::File(media) => (media, false),
        _ => return None,
    };
    let Source::Url { url, mime } = &media.source else { return None };
    let on_the_web = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
    let bytes_only = match to {
        Format::Ollama | Format::Bedrock => true,
        Format::Gemini => from != Format::Gemini && !GOOGLES.iter().any(|place| url.starts_with(place)),
        Format::Cohere => !image,
        Format::OpenAiChat => !image && from != Format::OpenAiChat,
        Format::OpenAiResponses | Format::Anthropic => false,
    };
    (on_the_web && bytes_only).then_some((url.as_str(), mime.as_deref(), image))
}

#[cfg(test)]
mod tests;
