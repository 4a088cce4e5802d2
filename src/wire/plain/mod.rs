//! Services that take a prompt and give a text: no tools, no pictures, no stream.
//!
//! Their formats differ in the names of a few members only, so each file beside this one writes a request and finds the text
//! of an answer; what they share is here. Tools, several answers and promised shapes of the answer are refused, because leaving
//! them out would change what comes back; so is what the user shows in the last turn. All else that has no place is named as
//! dropped. A client that asked for a stream gets the answer in one piece.

pub mod gitlab;
pub mod nlpcloud;
pub mod petals;
#[cfg(test)]
mod tests;

use crate::chat::{
    Answer, BadAnswer, Begin, Choice, Dropped, Event, Message, OutputFormat, Part, PartKind, Refused, Request, Role,
    Stop, StreamDecoder, ToolChoice, Truncated, repair,
};

/// A conversation in words.
#[derive(Debug, Default, PartialEq, Eq)]
struct Spoken {
    /// The instructions.
    instructions: String,
    /// What was said, user and model in turns, the user first and last.
    turns: Vec<(Role, String)>,
    dropped: Vec<Dropped>,
}

/// The conversation in words, for a service that takes these parameters beside it.
fn spoken(request: &Request, takes: &[&str]) -> Result<Spoken, Refused> {
    refuse(request)?;
    let mut spoken = Spoken::default();
    spoken.report(request, takes);
    let messages = repair::alternating(request.messages.clone());
    let last = messages.len().saturating_sub(1);
    for (index, message) in messages.iter().enumerate() {
        let words = spoken.words(message, index, index == last)?;
        match message.role {
            _ if words.is_empty() => {}
            Role::System | Role::Developer if spoken.instructions.is_empty() => spoken.instructions = words,
            Role::System | Role::Developer => spoken.instructions.extend(["\n\n", &words]),
            role => spoken.turns.push((role, words)),
        }
    }
    match spoken.turns.last() {
        Some((Role::User, _)) => Ok(spoken),
        _ => Err(Refused::new(
            "messages",
            "this model's provider answers what a user says, and the user did not speak last",
        )),
    }
}

fn refuse(request: &Request) -> Result<(), Refused> {
    let tools = !request.tools.is_empty() && request.tool_choice != Some(ToolChoice::None);
    let problem = if tools {
        Some(("tools", "this model's provider cannot call tools"))
    } else if request.sampling.n.is_some_and(|n| n > 1) {
        Some(("n", "this model's provider gives one answer at a time"))
    } else if request.output != OutputFormat::Text {
        Some(("response_format", "this model's provider promises no shape of its answer"))
    } else if request.modalities.iter().any(|kind| kind != "text") {
        Some(("modalities", "this model's provider answers in text"))
    } else {
        None
    };
    problem.map_or(Ok(()), |(field, message)| Err(Refused::new(field, message)))
}

impl Spoken {
    fn report(&mut self, request: &Request, takes: &[&str]) {
        let sampling = &request.sampling;
        let given = [
            ("max_tokens", sampling.max_tokens.is_some()),
            ("temperature", sampling.temperature.is_some()),
            ("top_p", sampling.top_p.is_some()),
            ("top_k", sampling.top_k.is_some()),
            ("min_p", sampling.min_p.is_some()),
            ("stop", !sampling.stop.is_empty()),
            ("seed", sampling.seed.is_some()),
            ("presence_penalty", sampling.presence_penalty.is_some()),
            ("frequency_penalty", sampling.frequency_penalty.is_some()),
            ("logit_bias", sampling.logit_bias.is_some()),
            ("logprobs", sampling.logprobs == Some(true)),
            ("top_logprobs", sampling.top_logprobs.is_some()),
            ("tools", !request.tools.is_empty()),
            ("reasoning", request.reasoning.is_some()),
            ("verbosity", request.verbosity.is_some()),
            ("user", request.user.is_some()),
            ("metadata", request.metadata.is_some()),
            ("service_tier", request.service_tier.is_some()),
            ("cache_key", request.cache_key.is_some()),
        ];
        let unknown = given.iter().filter(|(name, given)| *given && !takes.contains(name)).map(|(name, _)| *name);
        let named = unknown.chain(request.rest.keys().map(String::as_str));
        self.dropped.extend(named.map(|name| Dropped::new(name, "the service takes words only")));
    }

    fn words(&mut self, message: &Message, index: usize, is_last: bool) -> Result<String, Refused> {
        let mut texts = Vec::new();
        for part in &message.parts {
            match kind_of(part) {
                None => texts.extend(text_of(part)),
                Some(kind) if is_last && kind != "tool_call" && kind != "thinking" => {
                    let message = format!("this model's provider reads text, not a {}", kind.replace('_', " "));
                    return Err(Refused::new(format!("messages[{index}].{kind}"), message));
                }
                Some(kind) => {
                    self.dropped.push(Dropped::new(format!("messages[{index}].{kind}"), "the service reads text only"));
                }
            }
        }
        Ok(texts.join("\n\n"))
    }

    /// The whole conversation as one text that ends where the model is to go on.
    fn transcript(&self, user: &str, model: &str) -> String {
        let mut text = self.instructions.clone();
        for (role, words) in &self.turns {
            let name = if *role == Role::User { user } else { model };
            let gap = if text.is_empty() { "" } else { "\n\n" };
            text.extend([gap, name, ": ", words]);
        }
        text.extend(["\n\n", model, ":"]);
        text
    }
}

fn text_of(part: &Part) -> Option<&str> {
    match &part.kind {
        PartKind::Text { text, .. } | PartKind::Refusal(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// What a part is, if it is no text.
const fn kind_of(part: &Part) -> Option<&'static str> {
    Some(match &part.kind {
        PartKind::Text { .. } | PartKind::Refusal(_) => return None,
        PartKind::Image(_) => "image",
        PartKind::Audio(_) => "audio",
        PartKind::Video(_) => "video",
        PartKind::File(_) => "file",
        PartKind::ToolCall(_) => "tool_call",
        PartKind::ToolResult(_) => "tool_result",
        PartKind::Thinking(_) => "thinking",
        PartKind::Native(_) => "native",
    })
}

/// An answer that is this text.
fn answer(text: Option<&str>, model: Option<&str>, stop: Stop) -> Result<Answer, BadAnswer> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| BadAnswer::Broken("it holds no text".to_owned()))?;
    let choice = Choice { index: 0, parts: vec![Part::text(text)], stop, logprobs: None };
    let begin = Begin { model: model.map(str::to_owned), ..Begin::default() };
    Ok(Answer { begin, choices: vec![choice], usage: None, took: None })
}

/// Tells a whole answer as a stream of one piece.
#[derive(Debug)]
pub struct Decoder {
    read: fn(&[u8]) -> Result<Answer, BadAnswer>,
    over: bool,
}

impl Decoder {
    /// For answers that this reads.
    pub const fn new(read: fn(&[u8]) -> Result<Answer, BadAnswer>) -> Self {
        Self { read, over: false }
    }
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, _: Option<&str>, data: &[u8], out: &mut Vec<Event>) -> Result<bool, BadAnswer> {
        if !self.over {
            out.extend((self.read)(data)?.events());
            self.over = true;
        }
        Ok(true)
    }

    fn end(&mut self, _: &mut Vec<Event>) -> Result<(), Truncated> {
        if self.over { Ok(()) } else { Err(Truncated) }
    }
}
