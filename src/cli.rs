//! The command line: what can be asked for, and the two commands that need nothing but the configuration.
//!
//! Exit codes: 0 done, 1 failed, 2 asked wrongly (clap's own), 64 bad configuration; a command that only reads and is led
//! by its configuration to a place without a database counts as such.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use serde::Serialize;
use serde_json::Value;

use crate::config::{Config, ConfigProblems, Environment, Loaded, Loader, Source, outline};

/// Exit code for a bad configuration.
const BAD_CONFIGURATION: u8 = 64;

const EXAMPLES: &str = "\
Examples:
  omniroute                                  start the gateway
  omniroute --config /etc/omniroute.toml     start it with this file
  omniroute check                            is the configuration sound, and where does each value come from?
  omniroute explain openai/gpt-4o            which connections would serve this model, and why
  omniroute keys create --name laptop        make a client key; it is shown once
  omniroute completions bash                 print completions for a shell

Exit codes: 0 done, 1 failed, 2 asked wrongly, 64 bad configuration.";

/// One endpoint in front of many LLM provider accounts.
#[derive(Debug, Parser)]
#[command(name = "omniroute", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// File to read the configuration from [default: ./config.toml, if there is one]
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,

    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do; `serve` when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Start the gateway (the default)
    Serve,
    /// Check the configuration and show what is in force
    Check,
    /// Show which connections would serve a model, and why
    Explain {
        /// Model string as a client would send it
        model: String,
    },
    /// Client keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Ask the running gateway whether it is ready
    Healthcheck {
        /// Ask there instead of at the configured address
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// Print the OpenAPI description
    Openapi,
    /// Print completions for a shell
    Completions {
        /// Shell to print them for
        shell: Shell,
    },
}

/// What can be done with the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum AuditCommand {
    /// Prove that no row was changed, removed or put in; names the first that was
    Verify {
        /// Hash of a row that was noted earlier and must still be there
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
}

/// What can be done with client keys.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum KeysCommand {
    /// Make a key; it is shown once
    Create(CreateKey),
    /// List the keys, masked
    List,
    /// Make a key worthless
    Revoke {
        /// Id of the key
        id: String,
    },
}

/// A key to be made.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CreateKey {
    /// Name to recognise it by
    #[arg(long)]
    pub name: String,

    /// Models it may use, separated by commas; all when absent
    #[arg(long, value_delimiter = ',', value_name = "MODEL")]
    pub models: Vec<String>,

    /// Scopes such as `manage`, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "SCOPE")]
    pub scopes: Vec<String>,

    /// Days until it expires; never when absent
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub expires_days: Option<u32>,

    /// Calls per minute (refused ones do not count); unlimited when absent
    #[arg(long, value_name = "CALLS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rpm: Option<u32>,
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// It was tried and failed.
    #[error("{0}")]
    Failure(String),
    /// It was asked for in the wrong way.
    #[error("{0}")]
    Usage(String),
    /// The configuration is bad, or leads to a place where nothing is.
    #[error(transparent)]
    Config(#[from] ConfigProblems),
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::Failure(error.to_string())
    }
}

impl CliError {
    /// The exit code as a number.
    pub fn code(&self) -> u8 {
        match self {
            Self::Failure(_) => 1,
            Self::Usage(_) => 2,
            Self::Config(_) => BAD_CONFIGURATION,
        }
    }

    /// What to print on standard error; with `--json` an object, bad configurations with every problem.
    pub fn render(&self, json: bool) -> String {
        match self {
            _ if !json => format!("omniroute: {self}"),
            Self::Config(problems) => serde_json::json!({ "ok": false, "problems": problems }).to_string(),
            _ => serde_json::json!({ "ok": false, "error": self.to_string() }).to_string(),
        }
    }
}

impl From<&CliError> for ExitCode {
    fn from(error: &CliError) -> Self {
        Self::from(error.code())
    }
}

impl Cli {
    /// The command, `serve` when none was given.
    pub fn command(&self) -> Command {
        self.command.clone().unwrap_or(Command::Serve)
    }

    /// The loader for the file named on the command line, or the usual one.
    pub fn loader(&self, environment: Environment) -> Loader {
        Loader::new(self.config.clone(), environment)
    }
}

/// `omniroute check`: load and validate, then print each value with its source.
pub fn check(loader: &Loader, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let loaded = loader.load()?;
    let settings = settings(&loaded);
    let missing = Some(&loaded.config.storage.data_dir).filter(|dir| !dir.exists());
    if json {
        let ready = missing.is_none();
        writeln!(out, "{}", serde_json::json!({ "ok": true, "settings": settings, "dataDirExists": ready }))?;
        return Ok(());
    }
    let width = settings.iter().map(|setting| setting.key.len()).max().unwrap_or_default();
    for Setting { key, value, source } in &settings {
        writeln!(out, "{key:width$} = {value}  # {source}")?;
    }
    if let Some(dir) = missing {
        let source = loaded.source("storage.data_dir");
        writeln!(
            out,
            "Note: storage.data_dir ({source}): {} does not exist; the first start makes it.",
            dir.display()
        )?;
    }
    writeln!(out, "The configuration is sound.")?;
    Ok(())
}

/// One line of what is in force.
#[derive(Serialize)]
struct Setting {
    key: String,
    value: Value,
    source: Source,
}

/// Serialising the configuration masks its secrets, so what is printed never held them.
fn settings(loaded: &Loaded) -> Vec<Setting> {
    let values = serde_json::to_value::<&Config>(&loaded.config).unwrap_or_default();
    let setting = |key: crate::config::section::Key| {
        let value = values.pointer(&format!("/{}", key.path.replace('.', "/"))).cloned().unwrap_or_default();
        Setting { source: loaded.source(&key.path), value, key: key.path }
    };
    outline::keys().into_iter().map(setting).collect()
}

/// `omniroute completions`: the script for a shell.
pub fn completions(shell: Shell, out: &mut dyn Write) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command_factory(), "omniroute", &mut script);
    Ok(out.write_all(&script)?)
}

impl Cli {
    fn command_factory() -> clap::Command {
        <Self as CommandFactory>::command()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(format!("omniroute {arguments}").split_whitespace())
    }

    fn loader<const N: usize>(variables: [(&str, &str); N]) -> (tempfile::NamedTempFile, Loader) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let loader = Loader::new(Some(file.path().to_owned()), variables.into_iter().collect());
        (file, loader)
    }

    fn checked<const N: usize>(variables: [(&str, &str); N], json: bool) -> Result<String, CliError> {
        let (_file, loader) = loader(variables);
        let mut out = Vec::new();
        check(&loader, json, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command_factory().debug_assert();
    }

    #[test]
    fn without_a_command_the_gateway_is_served() {
        assert_eq!(parse("--config x.toml").unwrap().command(), Command::Serve);
    }

    #[test]
    fn every_command_is_understood_with_global_options_after_it() {
        let commands = ["serve", "check", "explain a/b", "keys list", "keys revoke x", "healthcheck", "openapi"];

        for command in commands {
            let cli = parse(&format!("{command} --json --config x.toml")).unwrap();
            assert!(cli.json && cli.config.is_some() && cli.command.is_some(), "{command}");
        }
    }

    #[test]
    fn a_key_is_created_with_limits() {
        let cli = parse("keys create --name ci --models a/b,c --expires-days 30 --rpm 60").unwrap();

        let Command::Keys(KeysCommand::Create(key)) = cli.command() else { panic!("{cli:?}") };

        assert_eq!((key.name.as_str(), key.models.len(), key.expires_days, key.rpm), ("ci", 2, Some(30), Some(60)));
    }

    #[test]
    fn wrong_arguments_exit_with_2_and_the_other_errors_with_1_and_64() {
        let usage = parse("keys create --rpm 0").unwrap_err().exit_code();
        let (failure, config) = (CliError::Failure(String::new()), checked([("PORT", "x")], false).unwrap_err());

        assert_eq!((usage, failure.code(), config.code()), (2, 1, 64));
        assert_eq!(CliError::Usage(String::new()).code(), 2);
    }

    #[test]
    fn help_shows_examples() {
        assert!(Cli::command_factory().render_help().to_string().contains("omniroute explain openai/gpt-4o"));
    }

    #[test]
    fn check_prints_each_value_with_its_source_and_no_secret() {
        let text = checked([("PORT", "8080"), ("INITIAL_PASSWORD", "hunter2")], false).unwrap();

        assert!(
            text.lines().any(|l| l.starts_with("server.port ") && l.ends_with("8080  # environment variable PORT"))
        );
        assert!(text.lines().any(|l| l.starts_with("server.host ") && l.ends_with("\"127.0.0.1\"  # default")));
        assert!(text.contains("\"***\"") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn check_prints_json_on_demand() {
        let text = checked([("PORT", "8080")], true).unwrap();

        let report: Value = serde_json::from_str(&text).unwrap();

        let settings = report["settings"].as_array().unwrap();
        let port = settings.iter().find(|setting| setting["key"] == "server.port").unwrap();
        assert_eq!((&report["ok"], &port["value"]), (&Value::from(true), &Value::from(8080)));
    }

    #[test]
    fn check_says_that_the_data_directory_is_not_there_and_does_not_make_it() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("mistyped");

        let missing = checked([("DATA_DIR", dir.to_str().unwrap())], false).unwrap();
        let made = dir.exists();
        let present = checked([("DATA_DIR", home.path().to_str().unwrap())], false).unwrap();

        assert!(missing.contains("environment variable DATA_DIR") && missing.contains("does not exist"), "{missing}");
        assert!(!made && !present.contains("does not exist"), "{present}");
    }

    #[test]
    fn a_bad_configuration_is_rendered_with_every_problem() {
        let error = checked([("PORT", "x"), ("LOG_FORMAT", "y")], true).unwrap_err();

        let report: Value = serde_json::from_str(&error.render(true)).unwrap();

        assert_eq!(report["problems"].as_array().unwrap().len(), 2);
        assert!(error.render(false).contains("server.port (environment variable PORT)"));
    }

    #[test]
    fn completions_name_the_commands() {
        let mut out = Vec::new();

        completions(Shell::Bash, &mut out).unwrap();

        assert!(String::from_utf8(out).unwrap().contains("healthcheck"));
    }
}
