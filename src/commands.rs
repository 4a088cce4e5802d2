//! The commands that do their work and end. Serving is not among them: that is `main`'s.

pub mod audit;
pub mod explain;
pub mod healthcheck;
pub mod keys;
mod named_files;

use std::io::Write;

use crate::boot::{Foundation, FoundationError};
use crate::cli::{self, CliError, Command, KeysCommand};
use crate::config::{ConfigProblems, Environment, Loaded, Loader, Problem, Source};
use crate::routes;
use crate::store::StoreError;

impl From<FoundationError> for CliError {
    fn from(error: FoundationError) -> Self {
        Self::Failure(error.to_string())
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::Failure(format!("the store: {error}"))
    }
}

/// Do what was asked for and print the answer.
///
/// # Errors
/// Why it could not be done.
pub fn run(command: Command, loader: &Loader, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        Command::Serve => Err(CliError::Usage("serving is no command of this list".to_owned())),
        Command::Check => {
            named_files::check(&loader.load()?, loader.environment())?;
            cli::check(loader, json, out)
        }
        Command::Completions { shell } => cli::completions(shell, out),
        Command::Openapi => openapi(out),
        Command::Healthcheck { url } => healthcheck::run(&loader.load()?.config, url.as_deref(), json, out),
        Command::Keys(command @ KeysCommand::Create(_)) => {
            let foundation = Foundation::open(&loader.load()?.config, loader.environment())?;
            actix_rt::System::new().block_on(keys::run(command, &foundation, json, out))
        }
        Command::Keys(command) => {
            let foundation = existing(&loader.load()?, loader.environment())?;
            actix_rt::System::new().block_on(keys::run(command, &foundation, json, out))
        }
        Command::Audit(command) => {
            let foundation = existing(&loader.load()?, loader.environment())?;
            actix_rt::System::new().block_on(audit::run(command, &foundation, json, out))
        }
        Command::Explain { model } => {
            let loaded = loader.load()?;
            let foundation = existing(&loaded, loader.environment())?;
            actix_rt::System::new().block_on(explain::run(&model, loaded.config, loader, foundation, json, out))
        }
    }
}

/// What a command works on that makes nothing. Where nothing is, the setting that led there is named with its source.
fn existing(loaded: &Loaded, environment: &Environment) -> Result<Foundation, CliError> {
    match Foundation::existing(&loaded.config, environment) {
        Err(error @ FoundationError::NoDatabase { .. }) => {
            let own = loaded.source("storage.database_url") != Source::default_value();
            let key = if own { "storage.database_url" } else { "storage.data_dir" };
            Err(CliError::Config(ConfigProblems::from(Problem {
                key: key.to_owned(),
                source: loaded.source(key),
                message: error.to_string(),
                hint: Some("correct the setting, or start the gateway once: this command makes no database".to_owned()),
            })))
        }
        opened => Ok(opened?),
    }
}

fn openapi(out: &mut dyn Write) -> Result<(), CliError> {
    let document = serde_json::to_string_pretty(&routes::openapi::document());
    let document = document.map_err(|error| CliError::Failure(error.to_string()))?;
    Ok(writeln!(out, "{document}")?)
}
