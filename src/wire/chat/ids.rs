//! Ids and names that every format takes.
//!
//! All of it is a function of the input alone, so that a retry, or the next turn of the same conversation, gives the same bytes
//! and the provider's prompt cache keeps hitting.

use sha2::{Digest, Sha256};

use super::request::{Request, ToolChoice, ToolKind};
use super::way_back::{Original, WayBack};

/// What a name or id may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spelling {
    /// Characters at most.
    pub longest: usize,
    /// Characters that are allowed beside letters, digits, `_` and `-`.
    pub also: &'static str,
    /// The first one must be a letter or `_`.
    pub starts_with_letter: bool,
}

impl Spelling {
    /// OpenAI: up to 64 of `[A-Za-z0-9_-]`.
    pub const OPENAI: Self = Self { longest: 64, also: "", starts_with_letter: false };
    /// Anthropic: up to 128 of `[A-Za-z0-9_-]`.
    pub const ANTHROPIC: Self = Self { longest: 128, also: "", starts_with_letter: false };
    /// Gemini: up to 64, the first one no digit.
    pub const GEMINI: Self = Self { longest: 64, also: ".:", starts_with_letter: true };

    fn takes(self, text: &str) -> bool {
        !text.is_empty()
            && text.len() <= self.longest
            && text.chars().all(|c| self.takes_char(c))
            && (!self.starts_with_letter || text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
    }

    fn takes_char(self, c: char) -> bool {
        c.is_ascii_alphanumeric() || c == '_' || c == '-' || self.also.contains(c)
    }

    /// The text itself if it may stay, else one that looks like it and ends in a piece of its hash.
    pub fn fit(self, text: &str) -> String {
        if self.takes(text) {
            return text.to_owned();
        }
        let mut fitted: String = text.chars().map(|c| if self.takes_char(c) { c } else { '_' }).collect();
        if self.starts_with_letter && !fitted.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            fitted.insert(0, '_');
        }
        // It is ASCII by now.
        fitted.truncate(self.longest.saturating_sub(9));
        format!("{fitted}_{}", short_hash(&[text]))
    }
}

/// An id of nine letters or digits, for Mistral, which takes no other.
pub fn nine(id: &str) -> String {
    if is_nine(id) { id.to_owned() } else { short_hash(&[id]).chars().chain(['0']).collect() }
}

/// Whether an id is nine letters or digits.
pub fn is_nine(id: &str) -> bool {
    id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric())
}

/// An id for a call of a format without ids: from where it stands and what it calls.
pub fn call_id(turn: usize, call: usize, name: &str) -> String {
    format!("call_{}", short_hash(&[&turn.to_string(), &call.to_string(), name]))
}

fn short_hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// The provider's names of the client's tools, with the way back.
#[derive(Debug, Default)]
pub struct Names {
    known: Vec<(Original, String)>,
}

impl Names {
    /// Names for all tools of a request, in this spelling. Tools of a namespace become `namespace__name`.
    pub fn of(request: &Request, spelling: Spelling) -> Self {
        let mut names = Self::default();
        for tool in &request.tools {
            let original = match &tool.kind {
                ToolKind::Function { name, namespace, .. } => {
                    Original { name: name.clone(), namespace: namespace.clone(), custom: false }
                }
                ToolKind::Custom { name, namespace, .. } => {
                    Original { name: name.clone(), namespace: namespace.clone(), custom: true }
                }
                ToolKind::Native(_) => continue,
            };
            let flat = flat_name(&original.name, original.namespace.as_deref());
            names.known.push((original, spelling.fit(&flat)));
        }
        names
    }

    /// The provider's name of a tool, also of one that a past turn called and that is not offered any more.
    pub fn upstream(&self, name: &str, namespace: Option<&str>, spelling: Spelling) -> String {
        let known = self.known.iter().find(|(tool, _)| tool.name == name && tool.namespace.as_deref() == namespace);
        known.map_or_else(|| spelling.fit(&flat_name(name, namespace)), |(_, upstream)| upstream.clone())
    }

    /// The provider's names of a choice's tools; a name without its namespace is found too.
    pub fn chosen(&self, name: &str, spelling: Spelling) -> String {
        let known = self.known.iter().find(|(tool, _)| tool.name == name);
        known.map_or_else(|| spelling.fit(name), |(_, upstream)| upstream.clone())
    }

    /// What must be undone in the answer. A target that knows custom tools says so and keeps them.
    pub fn way_back(&self, keeps_customs: bool) -> WayBack {
        let mut way_back = WayBack::default();
        for (original, upstream) in &self.known {
            let disguised = original.custom && !keeps_customs;
            if disguised || original.namespace.is_some() || original.name != *upstream {
                way_back.renamed(upstream.clone(), Original { custom: disguised, ..original.clone() });
            }
        }
        way_back
    }
}

fn flat_name(name: &str, namespace: Option<&str>) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}__{name}"))
}

/// The tools of a choice, where it names some.
pub fn chosen_names(choice: &ToolChoice) -> &[String] {
    match choice {
        ToolChoice::Named(name) => std::slice::from_ref(name),
        ToolChoice::Allowed { names, .. } => names,
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Required => &[],
    }
}
