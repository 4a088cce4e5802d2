//! What the configuration only names: files that the next start reads, directories that it makes. `check` looks at them as
//! well, so that a configuration that is sound starts.

use std::path::Path;

use crate::config::{ConfigProblems, Environment, Loaded, Problem};
use crate::providers::oauth::OauthBook;
use crate::upstream::{ClientFactory, UpstreamSettings};

/// Read what is named.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(loaded: &Loaded, environment: &Environment) -> Result<(), ConfigProblems> {
    let config = &loaded.config;
    let mut found = Vec::new();
    if let Err(error) = OauthBook::read(&config.oauth.file, environment) {
        found.push(problem(loaded, "oauth.file", error.to_string()));
    }
    // One by one: a start ends at the first.
    for root in &config.upstream.extra_roots {
        let settings = UpstreamSettings { extra_roots: vec![root.clone()], ..UpstreamSettings::default() };
        if let Err(error) = ClientFactory::new(settings) {
            found.push(problem(loaded, "upstream.extra_roots", error.to_string()));
        }
    }
    let backups = config.storage.data_dir.join(&config.backups.dir);
    let directories = [
        ("storage.data_dir", &config.storage.data_dir),
        ("usage.journal_dir", &config.usage.journal_dir(&config.storage)),
        ("backups.dir", &backups),
    ];
    for (key, directory) in directories.into_iter().filter(|(_, directory)| is_something_else(directory)) {
        found.push(problem(loaded, key, format!("{} is no directory", directory.display())));
    }
    ConfigProblems::collect(found).map_or(Ok(()), Err)
}

/// What is not there yet is made at the start.
fn is_something_else(directory: &Path) -> bool {
    directory.exists() && !directory.is_dir()
}

fn problem(loaded: &Loaded, key: &str, message: String) -> Problem {
    let message = message.strip_prefix(key).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&message).to_owned();
    Problem { key: key.to_owned(), source: loaded.source(key), message, hint: None }
}
