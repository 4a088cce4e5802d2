//! From layers to one checked configuration.
//!
//! The `config` crate merges the layers and remembers the origin of each value. It stops at the first problem and
//! converts types generously, so the merged tree is checked here, key by key: every problem is found in one pass, and
//! what is wrong is replaced by its default so that the relations between the other keys are still examined.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use config::{Value, ValueKind};
use serde::Deserialize;

use super::environment::Environment;
use super::problems::{ConfigProblems, Problem, Source};
use super::section::{Entry, Key};
use super::{Config, hint, layers, outline};

/// The file that is read when none is named.
const USUAL_FILE: &str = "config.toml";

/// Knows where to look; can be asked again when the operator wants a reload.
#[derive(Clone, Debug)]
pub struct Loader {
    file: Option<PathBuf>,
    environment: Environment,
}

/// A configuration that passed every check, with the source of each value that is not a default.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    sources: BTreeMap<String, Source>,
}

impl Loaded {
    /// Where the value of a key came from.
    pub fn source(&self, key: &str) -> Source {
        self.sources.get(key).cloned().unwrap_or_else(Source::default_value)
    }
}

impl Loader {
    /// Read `file`, which must exist, or `./config.toml`, which need not.
    pub fn new(file: Option<PathBuf>, environment: Environment) -> Self {
        Self { file, environment }
    }

    /// The environment this loader looks into.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Read all layers and check everything. Reads files, so not for a worker thread.
    pub fn load(&self) -> Result<Loaded, ConfigProblems> {
        let keys = outline::keys();
        let mut problems = Vec::new();
        let file = self.file_layer(&mut problems);
        let variables = layers::of_environment(&self.environment, &keys, &mut problems);
        let merged = config::Config::builder().add_source(file).add_source(variables).build();

        let mut merge = Merge { tree: defaults(), sources: BTreeMap::new(), problems };
        match merged {
            Ok(merged) => merge.walk(&merged.cache, "", &Known::new(&keys)),
            Err(error) => merge.problem("", &Source::default_value(), error.to_string(), None),
        }
        merge.finish(&self.environment)
    }

    fn file_layer(&self, problems: &mut Vec<Problem>) -> layers::Layer {
        let path = self.file.as_deref().unwrap_or(Path::new(USUAL_FILE));
        let layer = match std::fs::read_to_string(path) {
            Ok(text) => layers::of_file(path, &text),
            Err(error) if error.kind() == ErrorKind::NotFound && self.file.is_none() => Ok(layers::Layer::default()),
            Err(error) => Err(Problem {
                key: String::new(),
                source: Source::file(path),
                message: format!("the file cannot be read: {error}"),
                hint: None,
            }),
        };
        layer.unwrap_or_else(|problem| {
            problems.push(problem);
            layers::Layer::default()
        })
    }
}

fn defaults() -> serde_json::Value {
    serde_json::to_value(Config::default()).unwrap_or_default()
}

/// What may stand in a configuration.
struct Known<'a> {
    keys: BTreeMap<&'a str, &'a Key>,
    sections: Vec<String>,
}

impl<'a> Known<'a> {
    fn new(keys: &'a [Key]) -> Self {
        let section = |entry| match entry {
            Entry::Section { path, .. } => Some(path),
            Entry::Key(_) => None,
        };
        let keys = keys.iter().map(|key| (key.path.as_str(), key)).collect();
        Self { keys, sections: outline::outline().into_iter().filter_map(section).collect() }
    }

    fn is_section(&self, path: &str) -> bool {
        self.sections.iter().any(|section| section == path)
    }

    fn nearest(&self, path: &str) -> Option<String> {
        let paths = self.keys.keys().copied().chain(self.sections.iter().map(String::as_str));
        hint::nearest(path, paths).map(|meant| format!("did you mean `{meant}`?"))
    }
}

/// The defaults, being overlaid with what the layers say.
struct Merge {
    tree: serde_json::Value,
    sources: BTreeMap<String, Source>,
    problems: Vec<Problem>,
}

impl Merge {
    fn walk(&mut self, node: &Value, path: &str, known: &Known<'_>) {
        let ValueKind::Table(table) = &node.kind else {
            let message = format!("expected a section, found {}", hint::in_words(&layers::to_json(node), true));
            return self.problem(path, &Source::from_origin(origin(node)), message, None);
        };
        for (name, value) in table {
            let path = super::section::join(path, name);
            let source = Source::from_origin(origin(value));
            match known.keys.get(path.as_str()) {
                Some(key) => self.take(key, layers::to_json(value), source),
                None if known.is_section(&path) => self.walk(value, &path, known),
                None => self.problem(&path, &source, "unknown key".to_owned(), known.nearest(&path)),
            }
        }
    }

    fn take(&mut self, key: &Key, value: serde_json::Value, source: Source) {
        if let Err(reason) = (key.accepts)(&value) {
            let message = refusal(key, &value, &reason);
            return self.problem(&key.path, &source, message, hint::for_value(key, &value));
        }
        let pointer = format!("/{}", key.path.replace('.', "/"));
        if let Some(place) = self.tree.pointer_mut(&pointer) {
            *place = value;
            self.sources.insert(key.path.clone(), source);
        }
    }

    fn problem(&mut self, key: &str, source: &Source, message: String, hint: Option<String>) {
        self.problems.push(Problem { key: key.to_owned(), source: source.clone(), message, hint });
    }

    fn finish(mut self, environment: &Environment) -> Result<Loaded, ConfigProblems> {
        let config = Config::deserialize(&self.tree).unwrap_or_else(|error| {
            self.problem("", &Source::default_value(), error.to_string(), None);
            Config::default()
        });
        let loaded = Loaded { config, sources: self.sources };
        for violation in loaded.config.validate(environment) {
            let source = loaded.source(&violation.key);
            self.problems.push(Problem { key: violation.key, source, message: violation.message, hint: None });
        }
        ConfigProblems::collect(self.problems).map_or(Ok(loaded), Err)
    }
}

/// Merging forgets where a table came from, but not where its values did.
fn origin(value: &Value) -> Option<&str> {
    let inside = || match &value.kind {
        ValueKind::Table(table) => table.values().find_map(origin),
        _ => None,
    };
    value.origin().or_else(inside)
}

/// A list says itself which of its entries is wrong; of anything else the kind and the value are told.
fn refusal(key: &Key, value: &serde_json::Value, reason: &str) -> String {
    if value.is_array() && key.default.is_array() {
        return format!("expected {}: {reason}", key.expected);
    }
    let range = key.range.as_ref().map(|range| format!(" ({range})")).unwrap_or_default();
    format!("expected {}{range}, found {}", key.expected, hint::in_words(value, key.secret))
}

#[cfg(test)]
#[path = "loader_tests.rs"]
mod tests;
