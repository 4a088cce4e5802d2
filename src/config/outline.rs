//! The list of all keys, and the text of `config.toml` made from it.

use serde_json::Value;

use super::Config;
use super::reload::needs_restart;
use super::section::{Entry, Key, Node, Place};

const HEAD: &str = "\
# OmniRoute: every key with its default. Delete what you do not change.
# Stronger than this file: OMNIROUTE__SECTION__KEY in the environment (lists separated by commas), for example
# OMNIROUTE__UPSTREAM__ALLOW_PRIVATE_HOSTS=127.0.0.1:11434. Secrets may be `env:NAME` or `file:PATH`.
# `omniroute check` says what is in force and where each value came from.
# A changed file is taken up by SIGHUP; keys marked [restart] wait for the next start.
";

/// All sections and keys in the order of `config.toml`.
pub fn outline() -> Vec<Entry> {
    let mut outline = Vec::new();
    Config::default().describe(Place::default(), &mut outline);
    outline
}

/// All keys in the order of `config.toml`.
pub fn keys() -> Vec<Key> {
    let key = |entry| match entry {
        Entry::Key(key) => Some(*key),
        Entry::Section { .. } => None,
    };
    outline().into_iter().filter_map(key).collect()
}

/// The text of `config.toml`.
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    for entry in outline() {
        match entry {
            Entry::Section { path, doc } => text.push_str(&format!("\n# {doc}\n[{path}]\n")),
            Entry::Key(key) => text.push_str(&lines(&key)),
        }
    }
    text
}

fn lines(key: &Key) -> String {
    let name = key.path.rsplit('.').next().unwrap_or(&key.path);
    let range = key.range.as_ref().map(|range| format!(" ({range})")).unwrap_or_default();
    let restart = if needs_restart(&key.path) { " [restart]" } else { "" };
    format!("# {}{range}{restart}\n{name} = {}\n", key.doc, literal(&key.default))
}

/// JSON and TOML write texts, numbers, truth values and lists of them the same way.
fn literal(value: &Value) -> String {
    value.to_string().replace("\",\"", "\", \"")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// `UPDATE_CONFIG=1 cargo test` writes the file anew.
    #[test]
    fn config_toml_says_what_the_structs_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml");
        if std::env::var_os("UPDATE_CONFIG").is_some() {
            std::fs::write(path, document()).unwrap();
        }

        let stored = std::fs::read_to_string(path).unwrap();

        assert!(stored == document(), "config.toml differs from the structs: run UPDATE_CONFIG=1 cargo test");
    }

    #[test]
    fn config_toml_read_back_gives_the_defaults() {
        let read: Config = toml::from_str(&document()).unwrap();

        assert_eq!(read, Config::default());
    }

    #[test]
    fn every_key_has_one_line_of_meaning_of_its_own_path() {
        let keys = keys();

        let paths: HashSet<_> = keys.iter().map(|key| key.path.as_str()).collect();

        assert_eq!(paths.len(), keys.len());
        for key in &keys {
            assert!(key.doc.len() > 8 && !key.doc.contains('\n'), "{} is not explained: {}", key.path, key.doc);
        }
    }

    #[test]
    fn every_default_is_accepted_by_its_own_key() {
        for key in keys() {
            assert_eq!((key.accepts)(&key.default), Ok(()), "{}", key.path);
        }
    }
}
