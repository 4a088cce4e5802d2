//! What of a conversation this format has a place for.

use std::collections::HashSet;

use crate::chat::{
    Dropped, Family, Format, Media, Message, Part, PartKind, Refused, Request, Role, Source, Thinking, repair,
};

const NO_PLACE: &str = "OpenAI Responses has no place for it";
const FOREIGN: &str = "another provider sealed it";
const UNSEALED: &str = "it has no seal";

/// The conversation as it can be written, and what was left out of it.
///
/// # Errors
/// When the current turn holds what cannot be written: without it the answer would be to something else.
pub(super) fn fit(request: &Request, dropped: &mut Vec<Dropped>) -> Result<Vec<Message>, Refused> {
    let last_answer = request.messages.iter().rposition(|message| message.role == Role::Assistant);
    let mut messages = Vec::with_capacity(request.messages.len());
    for (index, message) in request.messages.iter().enumerate() {
        let current = last_answer.is_none_or(|last| index > last);
        let mut place = Place { from: request.from, role: message.role, index, current, dropped };
        if message.name.is_some() {
            place.drop("name", NO_PLACE);
        }
        messages.push(Message::new(message.role, place.parts(&message.parts)?));
    }
    if request.from == Format::OpenAiResponses {
        return Ok(messages);
    }
    let mut messages = repair::answered(repair::merged(repair::without_empty(messages)));
    mark_customs(&mut messages);
    Ok(messages)
}

/// A result is written as its call is.
fn mark_customs(messages: &mut [Message]) {
    let mut customs = HashSet::new();
    for part in messages.iter_mut().flat_map(|message| &mut message.parts) {
        match &mut part.kind {
            PartKind::ToolCall(call) if call.custom => drop(customs.insert(call.id.clone())),
            PartKind::ToolResult(result) => result.custom |= customs.contains(&result.call_id),
            _ => {}
        }
    }
}

struct Place<'a> {
    from: Format,
    role: Role,
    index: usize,
    /// It belongs to what the model is to answer now.
    current: bool,
    dropped: &'a mut Vec<Dropped>,
}

impl Place<'_> {
    fn drop(&mut self, what: &str, why: &'static str) {
        let dropped = Dropped::new(format!("messages[{}].{what}", self.index), why);
        if !self.dropped.contains(&dropped) {
            self.dropped.push(dropped);
        }
    }

    fn parts(&mut self, parts: &[Part]) -> Result<Vec<Part>, Refused> {
        let mut kept = Vec::with_capacity(parts.len());
        for part in parts {
            // Only the newest models know the hint, and prompts are cached by themselves.
            if part.cache.is_some() && self.from != Format::OpenAiResponses {
                self.drop("cache", "prompts are cached by themselves");
            }
            let cache = part.cache.clone().filter(|_| self.from == Format::OpenAiResponses);
            kept.extend(self.part(part)?.map(|kind| Part { kind, cache }));
        }
        Ok(kept)
    }

    fn part(&mut self, part: &Part) -> Result<Option<PartKind>, Refused> {
        let kept = match &part.kind {
            PartKind::Text { .. } => return Ok(Some(part.kind.clone())),
            PartKind::Image(media) => return self.media("image", media, has_url(media), part),
            PartKind::Audio(media) => return self.media("audio", media, audio_format(media).is_some(), part),
            PartKind::Video(media) => return self.media("video", media, false, part),
            PartKind::File(media) => return self.media("file", media, true, part),
            PartKind::Thinking(thinking) => self.thinking(thinking),
            PartKind::Refusal(text) if self.role != Role::Assistant => Part::text(text.clone()).kind.into(),
            PartKind::Refusal(_) => Some(part.kind.clone()),
            PartKind::ToolCall(call) => {
                if call.seal.is_some() {
                    self.drop("seal", FOREIGN);
                }
                Some(part.kind.clone())
            }
            PartKind::ToolResult(result) => {
                let mut result = result.clone();
                result.parts = self.parts(&result.parts)?;
                Some(PartKind::ToolResult(result))
            }
            PartKind::Native(_) if self.from == Format::OpenAiResponses => Some(part.kind.clone()),
            PartKind::Native(_) => {
                self.drop("native", "only its own format knows it");
                None
            }
        };
        Ok(kept)
    }

    fn thinking(&mut self, thinking: &Thinking) -> Option<PartKind> {
        let why = match &thinking.seal {
            Some(seal) if seal.family == Family::OpenAi => None,
            Some(_) => Some(FOREIGN),
            None if self.from == Format::OpenAiResponses => None,
            None => Some(UNSEALED),
        };
        if let Some(why) = why {
            self.drop("thinking", why);
            return None;
        }
        Some(PartKind::Thinking(thinking.clone()))
    }

    fn media(&mut self, what: &str, media: &Media, fits: bool, part: &Part) -> Result<Option<PartKind>, Refused> {
        let is_ours = matches!(self.from, Format::OpenAiChat | Format::OpenAiResponses);
        let foreign = matches!(media.source, Source::FileId(_)) && !is_ours;
        if self.role != Role::Assistant && fits && !foreign {
            return Ok(Some(part.kind.clone()));
        }
        if self.current {
            let why =
                if foreign { "is in another provider's file store" } else { "cannot be sent to OpenAI Responses" };
            let field = format!("messages[{}].{what}", self.index);
            return Err(Refused::new(field, format!("This {what} {why}")));
        }
        self.drop(what, if foreign { "it is in another provider's file store" } else { NO_PLACE });
        Ok(None)
    }
}

fn has_url(media: &Media) -> bool {
    !matches!(media.source, Source::Text(_))
}

/// The name of a sound's format, if it is one that can be sent.
pub(super) fn audio_format(media: &Media) -> Option<&'static str> {
    let Source::Base64 { mime, .. } = &media.source else { return None };
    match mime.strip_prefix("audio/")? {
        "wav" | "x-wav" | "wave" | "vnd.wave" => Some("wav"),
        "mp3" | "mpeg" => Some("mp3"),
        _ => None,
    }
}
