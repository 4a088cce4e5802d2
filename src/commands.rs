//! The commands that do their work and end. Serving is not among them: that is `main`'s.

pub mod explain;
pub mod healthcheck;
pub mod keys;

use std::io::Write;

use crate::boot::{Foundation, FoundationError};
use crate::cli::{self, CliError, Command};
use crate::config::{Config, Loader};
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
        Command::Check => cli::check(loader, json, out),
        Command::Completions { shell } => cli::completions(shell, out),
        Command::Openapi => openapi(out),
        Command::Healthcheck { url } => healthcheck::run(&configured(loader)?, url.as_deref(), json, out),
        Command::Keys(command) => {
            let foundation = Foundation::open(&configured(loader)?, loader.environment())?;
            actix_rt::System::new().block_on(keys::run(command, &foundation, json, out))
        }
        Command::Explain { model } => {
            let config = configured(loader)?;
            let foundation = Foundation::open(&config, loader.environment())?;
            actix_rt::System::new().block_on(explain::run(&model, config, loader, foundation, json, out))
        }
    }
}

fn configured(loader: &Loader) -> Result<Config, CliError> {
    Ok(loader.load()?.config)
}

fn openapi(out: &mut dyn Write) -> Result<(), CliError> {
    let document = serde_json::to_string_pretty(&routes::openapi::document());
    let document = document.map_err(|error| CliError::Failure(error.to_string()))?;
    Ok(writeln!(out, "{document}")?)
}
