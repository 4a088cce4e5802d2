//! The operator's own instructions, laid around those of every request.
//!
//! ```text
//! prefixPrompt, prompt (mode prefix) | the combo's system_message, else prompt (mode replace), else the client's own
//!                                    | prompt (mode suffix), suffixPrompt | the conversation
//! ```
//! The nearer replaces, the farther surrounds: a combo's `system_message` takes the place of the client's instructions and
//! of a replacing prompt, and what an operator puts before or behind stays where it is. The client's messages are not
//! touched, so a provider's prompt cache is hit again from the second request on.

use serde::{Deserialize, Serialize};

use super::Stored;
use crate::wire::chat::{Message, Request, Role};

/// Where the prompt stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// Before the client's instructions.
    #[default]
    Prefix,
    /// Behind them, before the conversation.
    Suffix,
    /// In their place.
    Replace,
}

/// The words for it.
pub const PLACEMENTS: [&str; 3] = ["prefix", "suffix", "replace"];

/// The operator's own instructions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SystemPrompt {
    /// Whether any of it is sent.
    pub enabled: bool,
    /// The instructions.
    pub prompt: String,
    /// Where they stand.
    pub mode: Placement,
    /// More, always before the client's.
    pub prefix_prompt: String,
    /// More, always behind the client's.
    pub suffix_prompt: String,
}

impl Stored for SystemPrompt {
    const KEY: &'static str = "systemPrompt";
}

impl SystemPrompt {
    /// Whether requests are changed at all.
    pub fn changes(&self) -> bool {
        self.enabled && [&self.prompt, &self.prefix_prompt, &self.suffix_prompt].into_iter().any(|text| says(text))
    }

    /// Lay it around the instructions of a request, which are the combo's own if `of_combo`.
    pub fn apply(&self, request: &mut Request, of_combo: bool) {
        if !self.changes() {
            return;
        }
        let at = |mode| Some(self.prompt.as_str()).filter(|text| self.mode == mode && says(text));
        let role = self.role(request);
        let replacing = at(Placement::Replace).filter(|_| !of_combo);
        if replacing.is_some() {
            request.messages.retain(|message| !message.role.instructs());
        }
        let leading = request.messages.iter().take_while(|message| message.role.instructs()).count();
        let before = [Some(self.prefix_prompt.as_str()), at(Placement::Prefix), replacing];
        let behind = [at(Placement::Suffix), Some(self.suffix_prompt.as_str())];
        let conversation = request.messages.split_off(leading);
        let texts = |texts: &[Option<&str>]| -> Vec<Message> {
            texts.iter().flatten().filter(|text| says(text)).map(|text| Message::text(role, *text)).collect()
        };
        let theirs = std::mem::take(&mut request.messages);
        request.messages = texts(&before).into_iter().chain(theirs).chain(texts(&behind)).chain(conversation).collect();
    }

    /// The client's own word for an instruction: no provider wants both in one request.
    fn role(&self, request: &Request) -> Role {
        let instructs = request.messages.iter().map(|message| message.role).find(|role| role.instructs());
        instructs.unwrap_or(Role::System)
    }
}

fn says(text: &str) -> bool {
    !text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::wire::openai;

    fn request() -> Request {
        let body =
            br#"{"model":"m","messages":[{"role":"developer","content":"theirs"},{"role":"user","content":"hi"}]}"#;
        openai::decode_request(body).unwrap()
    }

    fn texts(request: &Request) -> Vec<&str> {
        request.messages.iter().filter_map(|message| message.parts[0].as_text()).collect()
    }

    fn prompt(mode: Placement) -> SystemPrompt {
        let (prefix_prompt, suffix_prompt) = ("before".into(), "behind".into());
        SystemPrompt { enabled: true, prompt: "ours".into(), mode, prefix_prompt, suffix_prompt }
    }

    #[rstest]
    #[case::prefix(Placement::Prefix, false, &["before", "ours", "theirs", "behind", "hi"])]
    #[case::suffix(Placement::Suffix, false, &["before", "theirs", "ours", "behind", "hi"])]
    #[case::replace(Placement::Replace, false, &["before", "ours", "behind", "hi"])]
    #[case::a_combo_wins_over_replace(Placement::Replace, true, &["before", "theirs", "behind", "hi"])]
    fn each_mode_has_its_place(#[case] mode: Placement, #[case] of_combo: bool, #[case] expected: &[&str]) {
        let mut request = request();

        prompt(mode).apply(&mut request, of_combo);

        assert_eq!(texts(&request), expected);
    }

    #[test]
    fn the_clients_word_for_instructions_is_used() {
        let (mut theirs, mut bare) = (request(), request());
        bare.messages.remove(0);

        prompt(Placement::Replace).apply(&mut theirs, false);
        prompt(Placement::Prefix).apply(&mut bare, false);

        assert_eq!((theirs.messages[0].role, bare.messages[0].role), (Role::Developer, Role::System));
    }

    #[test]
    fn what_is_switched_off_or_empty_changes_nothing() {
        let off = SystemPrompt { enabled: false, ..prompt(Placement::Prefix) };
        let empty = SystemPrompt { enabled: true, prompt: " \n".into(), ..SystemPrompt::default() };

        for prompt in [off, empty] {
            let mut same = request();
            prompt.apply(&mut same, false);
            assert_eq!((prompt.changes(), same), (false, request()));
        }
    }
}
