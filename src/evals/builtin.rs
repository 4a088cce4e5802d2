//! Suites that are compiled in: small ones, so that models can be compared before anybody has written a case.

use serde::Deserialize;

use super::suite::Case;

/// A suite that everybody has.
#[derive(Debug, Clone, Deserialize)]
pub struct Builtin {
    /// Identity.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Its cases.
    pub cases: Vec<Case>,
}

/// All of them.
pub fn suites() -> Vec<Builtin> {
    serde_json::from_str(include_str!("builtin.json")).unwrap_or_default()
}

/// The one of this id.
pub fn suite(id: &str) -> Option<Builtin> {
    suites().into_iter().find(|suite| suite.id == id)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::evals::score;

    #[test]
    fn the_suites_that_are_compiled_in_can_be_run() {
        let suites = suites();

        let cases: Vec<_> = suites.iter().flat_map(|suite| &suite.cases).collect();
        let ids: HashSet<_> = cases.iter().map(|case| &case.id).collect();

        assert_eq!((suites.len(), ids.len()), (2, cases.len()));
        assert!(cases.iter().all(|case| score::check(&case.expected) == Ok(())));
    }
}
