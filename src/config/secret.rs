//! Secrets in the configuration: the value itself, or where to find it. Never shown, never written out.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::environment::Environment;

/// Shown in place of a secret that stands in the configuration itself.
const MASK: &str = "***";

/// A secret setting: `env:NAME`, `file:PATH`, the value itself, or empty for none.
#[derive(Clone, Default)]
pub struct Secret(SecretString);

/// Why a secret that the configuration refers to cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is not set, or empty.
    #[error("environment variable {0} is not set")]
    NotInEnvironment(String),
    /// The file cannot be read.
    #[error("file {path} cannot be read: {source}")]
    Unreadable {
        /// The file that was named.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds nothing.
    #[error("file {0} is empty")]
    EmptyFile(PathBuf),
}

impl Secret {
    /// Take the text of a setting: a reference or the value itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// Whether nothing is configured.
    pub fn is_empty(&self) -> bool {
        self.0.expose_secret().is_empty()
    }

    /// The secret, looked up in the environment of the process or in its file; `None` when nothing is configured.
    pub fn resolve(&self) -> Result<Option<SecretString>, SecretError> {
        self.resolve_in(&Environment::of_the_process())
    }

    /// Like [`Secret::resolve`], with the environment given.
    pub fn resolve_in(&self, environment: &Environment) -> Result<Option<SecretString>, SecretError> {
        let text = self.0.expose_secret();
        if let Some(name) = text.strip_prefix("env:") {
            let value = environment.get(name).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| SecretError::NotInEnvironment(name.to_owned()))?;
            return Ok(Some(SecretString::from(value)));
        }
        if let Some(path) = text.strip_prefix("file:") {
            return read(PathBuf::from(path)).map(Some);
        }
        Ok((!text.is_empty()).then(|| self.0.clone()))
    }

    /// What may be shown: a reference as it is, a mask for a value, nothing for none.
    pub fn redacted(&self) -> &str {
        let text = self.0.expose_secret();
        let harmless = text.is_empty() || text.starts_with("env:") || text.starts_with("file:");
        if harmless { text } else { MASK }
    }
}

/// A secret file usually ends with the line end of the editor that wrote it; that is no part of the secret.
fn read(path: PathBuf) -> Result<SecretString, SecretError> {
    match std::fs::read_to_string(&path) {
        Err(source) => Err(SecretError::Unreadable { path, source }),
        Ok(text) => match text.trim_end_matches(['\r', '\n']) {
            "" => Err(SecretError::EmptyFile(path)),
            secret => Ok(SecretString::from(secret)),
        },
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.redacted())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.redacted())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(secret: &Secret, environment: &Environment) -> Option<String> {
        secret.resolve_in(environment).unwrap().map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn a_reference_to_a_variable_gives_its_value() {
        let environment: Environment = [("MASTER", "0123")].into_iter().collect();

        assert_eq!(resolved(&Secret::new("env:MASTER"), &environment).as_deref(), Some("0123"));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let error = Secret::new("env:MASTER").resolve_in(&Environment::default()).unwrap_err();

        assert_eq!(error.to_string(), "environment variable MASTER is not set");
    }

    #[test]
    fn a_file_gives_its_text_without_the_line_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "pass word\r\n").unwrap();
        let secret = Secret::new(format!("file:{}", file.path().display()));

        assert_eq!(resolved(&secret, &Environment::default()).as_deref(), Some("pass word"));
    }

    #[test]
    fn an_empty_or_missing_file_is_an_error_that_names_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let empty = Secret::new(format!("file:{}", file.path().display()));
        let missing = Secret::new("file:/nowhere/at/all");

        let errors = [empty, missing].map(|secret| secret.resolve_in(&Environment::default()).unwrap_err().to_string());

        assert!(errors[0].ends_with("is empty"), "{}", errors[0]);
        assert!(errors[1].starts_with("file /nowhere/at/all cannot be read"), "{}", errors[1]);
    }

    #[test]
    fn the_value_itself_is_never_shown_but_a_reference_is() {
        let value = Secret::new("hunter2");
        let reference = Secret::new("env:PASSWORD");

        let shown = format!("{value:?} {reference:?} {}", serde_json::to_string(&[&value, &reference]).unwrap());

        assert_eq!(shown, r#"Secret(***) Secret(env:PASSWORD) ["***","env:PASSWORD"]"#);
    }

    #[test]
    fn an_empty_secret_is_none() {
        assert_eq!(resolved(&Secret::default(), &Environment::default()), None);
    }
}
