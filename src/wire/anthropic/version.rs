//! What a model can do, by the version in its name.
//!
//! Names come in many spellings (`claude-opus-4-6`, `claude-3-7-sonnet-20250219`, `anthropic/claude-sonnet-4.5`,
//! `us.anthropic.claude-opus-4-20250514-v1:0`), so the first one or two short numbers behind `claude` count. Models of other
//! makers that speak the format have no version.

/// The version of a Claude model, or that it is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version(Option<(u32, u32)>);

/// How a model is told to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThinkingForm {
    /// It cannot.
    Never,
    /// With a budget of tokens.
    Budget,
    /// As it sees fit, by an effort; a budget is taken too.
    Either,
    /// Only as it sees fit.
    Adaptive,
}

impl Version {
    /// The version in this name.
    pub(crate) fn of(model: &str) -> Self {
        let lower = model.to_ascii_lowercase();
        let Some((_, name)) = lower.split_once("claude") else { return Self(None) };
        let words = name.split(|c: char| !c.is_ascii_alphanumeric());
        let mut words = words.filter(|word| !word.is_empty()).skip_while(|word| short_number(word).is_none());
        match words.next().and_then(short_number) {
            // A name without a number is one of the newest.
            None => Self(Some((u32::MAX, 0))),
            Some(major) => Self(Some((major, words.next().and_then(short_number).unwrap_or(0)))),
        }
    }

    /// One of Anthropic's own models.
    pub(crate) fn is_claude(self) -> bool {
        self.0.is_some()
    }

    fn from(self, major: u32, minor: u32) -> bool {
        self.0.is_some_and(|version| version >= (major, minor))
    }

    /// How it is told to think.
    pub(crate) fn thinking(self) -> ThinkingForm {
        match self.0 {
            Some(version) if version < (3, 7) => ThinkingForm::Never,
            Some(version) if version >= (4, 7) => ThinkingForm::Adaptive,
            Some(version) if version >= (4, 6) => ThinkingForm::Either,
            _ => ThinkingForm::Budget,
        }
    }

    /// It knows `output_config.format` and strict tools. Strangers are given the benefit of the doubt.
    pub(crate) fn takes_schemas(self) -> bool {
        !self.is_claude() || self.from(4, 1)
    }

    /// It refuses temperature and its like.
    pub(crate) fn refuses_sampling(self) -> bool {
        self.from(4, 7)
    }

    /// It refuses temperature and `top_p` together.
    pub(crate) fn wants_one_of_sampling(self) -> bool {
        self.from(4, 1)
    }

    /// It takes instructions in the middle of a conversation.
    pub(crate) fn takes_mid_instructions(self) -> bool {
        self.from(4, 7)
    }

    /// It knows the effort between `high` and `max`.
    pub(crate) fn knows_xhigh(self) -> bool {
        self.from(4, 7)
    }
}

fn short_number(word: &str) -> Option<u32> {
    (word.len() <= 2).then(|| word.parse().ok()).flatten()
}
