//! Other names for models: aliases of one hop, and patterns that lead to combos.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::glob::Glob;
use crate::ids::ComboName;

/// Aliases. What one leads to is never looked up here again, so that circles cannot be.
#[derive(Debug, Clone, Default)]
pub struct Aliases {
    exact: HashMap<Arc<str>, Arc<str>>,
    /// The most exact first.
    wild: Vec<(Glob, Arc<str>)>,
}

impl Aliases {
    /// From pairs of name and target; a name with `*` or `?` in it is a pattern.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let (wild, exact): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| Glob::is_wild(name));
        let mut wild: Vec<(Glob, Arc<str>)> = wild.into_iter().map(|(name, to)| (name.into(), to.into())).collect();
        wild.sort_by(|(a, _), (b, _)| b.specificity().cmp(&a.specificity()).then(a.as_str().cmp(b.as_str())));
        Self { exact: exact.into_iter().map(|(name, to)| (name.into(), to.into())).collect(), wild }
    }

    /// What the name itself stands for.
    pub fn exact(&self, name: &str) -> Option<&Arc<str>> {
        self.exact.get(name)
    }

    /// The most exact pattern that the name matches.
    pub fn wild(&self, name: &str) -> Option<(&Glob, &Arc<str>)> {
        self.wild.iter().find(|(glob, _)| glob.matches(name)).map(|(glob, to)| (glob, to))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wild.is_empty()
    }
}

/// A pattern of model names that a combo serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The pattern.
    pub glob: Glob,
    /// The combo.
    pub combo: ComboName,
    /// The higher number is looked at first.
    pub priority: i32,
    /// When it was made, in Unix milliseconds: of equals the older is looked at first.
    pub created: i64,
}
