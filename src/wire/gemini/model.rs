//! What a model can do, by its name.

use crate::chat::Effort;

/// The abilities that change how a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Its generation, such as (2, 5); names without a number are the newest.
    generation: (u32, u32),
    pro: bool,
    lite: bool,
}

impl Abilities {
    /// Those of the model of this name.
    pub(super) fn of(model: &str) -> Self {
        let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
        let generation = match name.strip_prefix("gemini-") {
            None if name.starts_with("gemma") || name.contains("bison") => (1, 0),
            None => (2, 5),
            Some(rest) => version(rest),
        };
        Self { generation, pro: name.contains("pro"), lite: name.contains("lite") }
    }

    /// It reads real JSON Schema.
    pub(super) fn json_schema(self) -> bool {
        self.generation >= (2, 5)
    }

    /// It thinks, and how much can be said.
    pub(super) fn thinks(self) -> bool {
        self.generation >= (2, 5)
    }

    /// How much to think is said in words, calls must come back signed, and results may hold images.
    pub(super) fn third(self) -> bool {
        self.generation >= (3, 0)
    }

    /// Functions together with JSON output or with search.
    pub(super) fn mixes_tools(self) -> bool {
        self.third()
    }

    /// The budget nearest to the wanted one; 0 is off where that can be.
    pub(super) fn budget(self, wanted: u64) -> u64 {
        match (self.pro, self.lite) {
            (true, _) => wanted.clamp(128, 32_768),
            (_, true) if wanted > 0 => wanted.clamp(512, 24_576),
            _ => wanted.min(24_576),
        }
    }

    /// The level nearest to an effort; the first model of the third generation knows two only.
    pub(super) fn level(self, effort: Effort) -> &'static str {
        let two_only = self.pro && self.generation == (3, 0);
        match effort {
            Effort::Minimal if self.pro => "LOW",
            Effort::Minimal => "MINIMAL",
            Effort::Low => "LOW",
            Effort::Medium if !two_only => "MEDIUM",
            _ => "HIGH",
        }
    }
}

/// `2.5-pro` as (2, 5), `flash-latest` as the newest.
fn version(rest: &str) -> (u32, u32) {
    let number = rest.split('-').next().unwrap_or_default();
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    major.parse().map_or((2, 5), |major| (major, minor.parse().unwrap_or(0)))
}
