//! What of a conversation this format has a place for.

use std::collections::HashSet;

use crate::chat::lost::{self, Misfit};
use crate::chat::{Dropped, Family, Format, Media, Message, Part, PartKind, Refused, Request, Role, Source, repair};

const NO_PLACE: &str = "OpenAI Responses has no place for it";
const FOREIGN: &str = "another provider sealed it";
const UNSEALED: &str = "it has no seal";

/// The conversation as it can be written, and what was left out of it.
///
/// # Errors
/// When the current turn holds what cannot be written: without it the answer would be to something else.
pub(super) fn fit(request: &Request, dropped: &mut Vec<Dropped>) -> Result<Vec<Message>, Refused> {
    let from = request.from;
    let fitting = lost::fitting(request, Format::OpenAiResponses, dropped, |role, part| misfit(from, role, part));
    let messages = fitting?.into_iter().map(|message| written_here(message, from)).collect();
    if from == Format::OpenAiResponses {
        return Ok(messages);
    }
    let mut messages = repair::answered(repair::merged(repair::without_empty(messages)));
    mark_customs(&mut messages);
    Ok(messages)
}

/// A message as this format writes it: without a name and foreign marks, and nobody but the model declines.
fn written_here(message: Message, from: Format) -> Message {
    let Message { role, mut parts, .. } = message;
    for part in &mut parts {
        rewrite(part, role, from);
    }
    Message::new(role, parts)
}

fn rewrite(part: &mut Part, role: Role, from: Format) {
    if from != Format::OpenAiResponses {
        part.cache = None;
    }
    match &mut part.kind {
        PartKind::Refusal(text) if role != Role::Assistant => part.kind = Part::text(std::mem::take(text)).kind,
        PartKind::ToolResult(result) => result.parts.iter_mut().for_each(|part| rewrite(part, role, from)),
        _ => {}
    }
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

/// Why a part has no place here.
fn misfit(from: Format, role: Role, part: &Part) -> Option<Misfit> {
    let word = part.kind.word();
    let (media, fits) = match &part.kind {
        PartKind::Image(media) => (media, !matches!(media.source, Source::Text(_))),
        PartKind::Audio(media) => (media, audio_format(media).is_some()),
        PartKind::Video(media) => (media, false),
        PartKind::File(media) => (media, true),
        PartKind::Thinking(thinking) => {
            let why = match &thinking.seal {
                Some(seal) if seal.family == Family::OpenAi => return None,
                None if from == Format::OpenAiResponses => return None,
                Some(_) => FOREIGN,
                None => UNSEALED,
            };
            return Some(Misfit::aside(word, why));
        }
        PartKind::Native(_) if from != Format::OpenAiResponses => {
            return Some(Misfit::aside(word, "only its own format knows it"));
        }
        _ => return None,
    };
    let is_ours = from.family() == Family::OpenAi;
    if matches!(media.source, Source::FileId(_)) && !is_ours {
        return Some(Misfit::content(word, "it is in another provider's file store"));
    }
    (role == Role::Assistant || !fits).then(|| Misfit::content(word, NO_PLACE))
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
