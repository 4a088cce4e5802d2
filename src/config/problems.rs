//! What is wrong with a configuration: every problem at once, each with its key, its source and the likely meaning.

use std::fmt;

use serde::Serialize;

/// Where a value came from, in words: `default`, a file, or `environment variable NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Source(String);

impl Source {
    /// The value nobody set.
    pub fn default_value() -> Self {
        Self("default".to_owned())
    }

    /// A configuration file.
    pub fn file(path: &std::path::Path) -> Self {
        Self(path.display().to_string())
    }

    /// An environment variable.
    pub fn variable(name: &str) -> Self {
        Self(format!("environment variable {name}"))
    }

    /// Read back what [`Source::as_str`] gave.
    pub(super) fn from_origin(origin: Option<&str>) -> Self {
        origin.map_or_else(Self::default_value, |origin| Self(origin.to_owned()))
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Dotted path of the key; empty when the file as a whole is meant.
    pub key: String,
    /// Where the value came from.
    pub source: Source,
    /// What is wrong.
    pub message: String,
    /// What was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.source, self.message)?,
            key => write!(f, "{key} ({}): {}", self.source, self.message)?,
        }
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct ConfigProblems(Vec<Problem>);

impl ConfigProblems {
    /// The problems in the order of their keys, or `None` when there are none.
    pub fn collect(mut problems: Vec<Problem>) -> Option<Self> {
        problems.sort_by(|a, b| a.key.cmp(&b.key));
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// The problems in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl From<Problem> for ConfigProblems {
    fn from(only: Problem) -> Self {
        Self(vec![only])
    }
}

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "problem" } else { "problems" };
        write!(f, "{} {plural} in the configuration:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}
