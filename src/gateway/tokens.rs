//! Counting tokens without asking anybody.

use bpe_openai::Tokenizer;

use crate::wire::chat::{Message, Part, PartKind, Request, ToolKind};
use crate::wire::usage::Usage;

/// What a message costs beside its words, and what opens the answer (OpenAI cookbook, "How to count tokens").
const PER_MESSAGE: u64 = 3;
const OPENING: u64 = 3;
/// An image of average size; providers count between 85 and 1,600.
const PER_IMAGE: u64 = 765;

/// How a number of tokens came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The provider counted.
    Provider,
    /// Counted with the tokenizer of the model's family.
    Tokenizer,
    /// Guessed from the characters.
    Estimated,
}

impl Source {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Tokenizer => "tokenizer",
            Self::Estimated => "estimated",
        }
    }
}

/// Tokens of a request for this model.
pub fn count(request: &Request, model: &str) -> (u64, Source) {
    match tokenizer(model) {
        Some(tokenizer) => (counted(request, tokenizer), Source::Tokenizer),
        None => estimate(request),
    }
}

/// The same from the characters alone.
pub fn estimate(request: &Request) -> (u64, Source) {
    (Usage::estimate(request.prompt_chars(), 0).prompt_tokens(), Source::Estimated)
}

/// The tokenizer of a model's family. Only OpenAI publishes its own.
fn tokenizer(model: &str) -> Option<&'static Tokenizer> {
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    match () {
        () if starts(&["gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "gpt-oss", "chatgpt-", "o1", "o3", "o4"]) => {
            Some(bpe_openai::o200k_base())
        }
        () if starts(&["gpt-4", "gpt-3.5"]) => Some(bpe_openai::cl100k_base()),
        () => None,
    }
}

fn counted(request: &Request, tokenizer: &Tokenizer) -> u64 {
    let messages: u64 = request.messages.iter().map(|message| of_message(message, tokenizer)).sum();
    let tools: u64 = request.tools.iter().map(|tool| of_tool(&tool.kind, tokenizer)).sum();
    messages + tools + OPENING
}

fn of_message(message: &Message, tokenizer: &Tokenizer) -> u64 {
    let parts: u64 = message.parts.iter().map(|part| of_part(part, tokenizer)).sum();
    parts + PER_MESSAGE + message.name.as_deref().map_or(0, |name| words(name, tokenizer))
}

fn of_part(part: &Part, tokenizer: &Tokenizer) -> u64 {
    match &part.kind {
        PartKind::Text { text, .. } | PartKind::Refusal(text) => words(text, tokenizer),
        PartKind::Thinking(thinking) => words(&thinking.text, tokenizer),
        PartKind::ToolCall(call) => words(&call.name, tokenizer) + words(&call.arguments, tokenizer),
        PartKind::ToolResult(result) => result.parts.iter().map(|part| of_part(part, tokenizer)).sum(),
        PartKind::Native(value) => words(&value.to_string(), tokenizer),
        PartKind::Image(_) => PER_IMAGE,
        PartKind::Audio(_) | PartKind::Video(_) | PartKind::File(_) => 0,
    }
}

fn of_tool(tool: &ToolKind, tokenizer: &Tokenizer) -> u64 {
    let text = |text: &Option<String>| text.as_deref().map_or(0, |text| words(text, tokenizer));
    match tool {
        ToolKind::Function { name, description, schema, .. } => {
            let schema = schema.as_ref().map_or(0, |schema| words(&schema.to_string(), tokenizer));
            words(name, tokenizer) + text(description) + schema
        }
        ToolKind::Custom { name, description, .. } => words(name, tokenizer) + text(description),
        ToolKind::Native(value) => words(&value.to_string(), tokenizer),
    }
}

fn words(text: &str, tokenizer: &Tokenizer) -> u64 {
    tokenizer.count(text) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chat::{Format, Role};

    fn request(text: &str) -> Request {
        let mut request = Request::new(Format::Anthropic, "m");
        request.messages.push(Message::text(Role::User, text));
        request
    }

    #[test]
    fn a_model_with_a_published_tokenizer_is_counted_by_it() {
        assert_eq!(
            count(&request("hello world"), "openai/gpt-4o-mini"),
            (2 + PER_MESSAGE + OPENING, Source::Tokenizer)
        );
        assert_eq!(count(&request("hello world"), "gpt-4-turbo").1, Source::Tokenizer);
    }

    #[test]
    fn any_other_model_is_guessed_and_says_so() {
        assert_eq!(count(&request("hello world!"), "claude-sonnet-4-6"), (3, Source::Estimated));
    }
}
