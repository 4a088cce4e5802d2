//! What operators rely on: which layer wins, and what is said when something is wrong.

use rstest::rstest;

use super::*;
use crate::config::{LogFormat, Secret};

/// Load from the text of a file and from variables.
fn load<const N: usize>(file: &str, variables: [(&str, &str); N]) -> Result<Loaded, ConfigProblems> {
    let stored = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(stored.path(), file).unwrap();
    Loader::new(Some(stored.path().to_owned()), variables.into_iter().collect()).load()
}

/// The problems as text, with the file's random name replaced.
fn problems<const N: usize>(file: &str, variables: [(&str, &str); N]) -> Vec<String> {
    let readable = |problem: &Problem| {
        let name = if problem.source.as_str().starts_with('/') { "config.toml" } else { problem.source.as_str() };
        problem.to_string().replace(problem.source.as_str(), name)
    };
    load(file, variables).unwrap_err().iter().map(readable).collect()
}

#[test]
fn without_a_file_and_variables_everything_is_default() {
    let loader = Loader::new(None, Environment::default());

    let loaded = loader.load().unwrap();

    assert_eq!(loaded.config, Config::default());
}

#[test]
fn a_file_wins_over_defaults_and_leaves_the_rest() {
    let loaded = load("[server]\nport = 8_080\n", []).unwrap();

    assert_eq!(loaded.config.server.port, 8080);
    assert_eq!(loaded.config.server.host, "127.0.0.1");
    assert_eq!(loaded.source("server.host").as_str(), "default");
}

#[test]
fn a_compatible_name_wins_over_the_file_and_the_full_name_over_both() {
    let file = "[server]\nport = 1\n";

    let compatible = load(file, [("PORT", "2")]).unwrap();
    let newer = load(file, [("PORT", "2"), ("OMNIROUTE_PORT", "3")]).unwrap();
    let full = load(file, [("PORT", "2"), ("OMNIROUTE_PORT", "3"), ("OMNIROUTE__SERVER__PORT", "4")]).unwrap();

    assert_eq!([&compatible, &newer, &full].map(|loaded| loaded.config.server.port), [2, 3, 4]);
    assert_eq!(full.source("server.port").as_str(), "environment variable OMNIROUTE__SERVER__PORT");
}

#[rstest]
#[case("PORT", "8080", |c: &Config| c.server.port == 8080)]
#[case("OMNIROUTE_PORT", "8080", |c: &Config| c.server.port == 8080)]
#[case("HOST", "0.0.0.0", |c: &Config| c.server.host == "0.0.0.0")]
#[case("DATABASE_URL", "sqlite:x.db", |c: &Config| c.storage.database_url == Secret::new("sqlite:x.db"))]
#[case("LOG_LEVEL", "debug", |c: &Config| c.logging.level == "debug")]
#[case("LOG_FORMAT", "JSON", |c: &Config| c.logging.format == LogFormat::Json)]
#[case("DATA_DIR", "/var/lib/omniroute", |c: &Config| c.storage.data_dir == Path::new("/var/lib/omniroute"))]
#[case("INITIAL_PASSWORD", "pw 1", |c: &Config| c.auth.initial_password == Secret::new("pw 1"))]
#[case("REQUIRE_API_KEY", "false", |c: &Config| !c.auth.require_api_key)]
#[case("STORAGE_ENCRYPTION_KEY", "k", |c: &Config| c.storage.master_key == Secret::new("k"))]
#[case("MAX_BODY_SIZE_BYTES", "10485760", |c: &Config| c.server.max_body_bytes == 10_485_760)]
fn a_compatible_name_is_understood(#[case] name: &str, #[case] value: &str, #[case] holds: fn(&Config) -> bool) {
    let loaded = load("", [(name, value)]).unwrap();

    assert!(holds(&loaded.config), "{name}={value} had no effect");
}

#[test]
fn every_compatible_name_leads_to_a_key() {
    let keys = outline::keys();

    for (name, path) in layers::COMPATIBLE_NAMES {
        assert!(keys.iter().any(|key| key.path == path), "{name} leads to {path}, which is no key");
    }
}

#[test]
fn an_empty_compatible_variable_counts_as_not_set() {
    let loaded = load("[server]\nport = 1\n", [("PORT", ""), ("DATABASE_URL", " ")]).unwrap();

    assert_eq!(loaded.config.server.port, 1);
    assert!(loaded.config.storage.database_url.is_empty());
}

#[test]
fn a_list_in_a_variable_is_separated_by_commas() {
    let variables = [("OMNIROUTE__UPSTREAM__ALLOW_PRIVATE_HOSTS", "127.0.0.1:8000, llm.internal:*,")];

    let loaded = load("", variables).unwrap();

    let hosts: Vec<_> = loaded.config.upstream.allow_private_hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["127.0.0.1:8000", "llm.internal:*"]);
}

#[test]
fn nested_keys_are_reached_by_variables_and_their_siblings_keep_their_own_defaults() {
    let variables = [("OMNIROUTE__RESILIENCE__PROVIDER_BREAKER__OAUTH__FAILURE_THRESHOLD", "9")];

    let loaded = load("[resilience.provider_breaker.local]\nwindow_ms = 5000\n", variables).unwrap();

    let breaker = &loaded.config.resilience.provider_breaker;
    assert_eq!((breaker.oauth.failure_threshold, breaker.oauth.reset_timeout_ms), (9, 60_000));
    assert_eq!((breaker.local.window_ms, breaker.local.failure_threshold), (5000, 2));
}

#[test]
fn an_unknown_key_names_the_key_the_source_and_what_was_meant() {
    let found = problems("port = 1\n[server]\nprot = 1\n[srever]\nhost = \"::\"\n", []);

    assert_eq!(
        found,
        [
            "port (config.toml): unknown key; did you mean `server.port`?",
            "server.prot (config.toml): unknown key; did you mean `server.port`?",
            "srever (config.toml): unknown key; did you mean `server`?",
        ]
    );
}

#[test]
fn an_unknown_variable_is_answered_with_the_name_of_the_right_one() {
    let found = problems("", [("OMNIROUTE__SERVER__PROT", "1"), ("OMNIROUTE__QQ__ZZ", "1")]);

    assert_eq!(
        found,
        [
            "qq.zz (environment variable OMNIROUTE__QQ__ZZ): unknown key",
            "server.prot (environment variable OMNIROUTE__SERVER__PROT): unknown key; \
             did you mean `OMNIROUTE__SERVER__PORT`?",
        ]
    );
}

#[rstest]
#[case(
    "[server]\nport = \"abc\"",
    "server.port (config.toml): expected an integer from 0 to 65535, found the text \"abc\""
)]
#[case(
    "[server]\nport = 70000",
    "server.port (config.toml): expected an integer from 0 to 65535, found the number 70000"
)]
#[case(
    "[server]\nkeep_alive_s = \"75s\"",
    "server.keep_alive_s (config.toml): expected an integer (61 to 3600), found the text \"75s\"; \
     the key's name gives the unit, write the number of seconds alone"
)]
#[case(
    "[auth]\nrequire_api_key = \"true\"",
    "auth.require_api_key (config.toml): expected true or false, found the text \"true\"; write it without quotes"
)]
#[case(
    "[logging]\nformat = \"xml\"",
    "logging.format (config.toml): expected \"auto\", \"text\" or \"json\", found the text \"xml\""
)]
#[case(
    "[server]\ntrusted_proxies = \"10.0.0.0/8\"",
    "server.trusted_proxies (config.toml): expected a list of networks such as 10.0.0.0/8, \
     found the text \"10.0.0.0/8\"; write it as a list, in square brackets"
)]
#[case("server = 5", "server (config.toml): expected a section, found the number")]
#[case("[server]\nport = -1", "server.port (config.toml): expected an integer from 0 to 65535, found the number -1")]
fn a_value_of_the_wrong_type_is_explained(#[case] file: &str, #[case] message: &str) {
    assert_eq!(problems(file, []), [message]);
}

#[test]
fn a_list_names_the_entry_that_is_wrong() {
    let found = problems("[upstream]\nallow_private_hosts = [\"a:1\", \"b\"]\n", []);

    assert_eq!(
        found,
        ["upstream.allow_private_hosts (config.toml): expected a list of `host:port` or `host:*`: \
          `b` is no `host:port` or `host:*`"]
    );
}

#[rstest]
#[case("[server]\nkeep_alive_s = 30", "server.keep_alive_s", "30 is out of range, expected 61 to 3600")]
#[case("[routing]\nmax_attempts = 7", "routing.max_attempts", "7 is out of range, expected 1 to 6")]
#[case("[server]\nhost = \"0.0.0.0:80\"", "server.host", "without a port")]
#[case("[server]\nhost = \"0.0.0.0\"\n[auth]\nrequire_api_key = false", "auth.require_api_key", "others can reach")]
#[case("[server]\ncors_allowed_origins = [\"https://a.b/c\"]", "server.cors_allowed_origins", "is no origin")]
#[case("[auth]\nsession_idle_s = 50000", "auth.session_idle_s", "session_absolute_s")]
#[case("[auth]\nservice_key = \"env:NOT_SET\"", "auth.service_key", "variable NOT_SET is not set")]
#[case("[storage]\ndata_dir = \"\"", "storage.data_dir", "expected a directory")]
#[case("[storage]\ndatabase_url = \"mysql://x\"", "storage.database_url", "sqlite:PATH")]
#[case("[storage]\ndatabase_url = \"postgres://u@h/d\"", "storage.master_key", "must be set")]
#[case("[upstream]\nkeep_alive_s = 3600\nlifetime_s = 60", "upstream.keep_alive_s", "lifetime_s")]
#[case("[upstream]\nuser_agent = \"a\\nb\"", "upstream.user_agent", "printable")]
#[case("[deadlines]\ntotal_ms = 60000\nidle_ms = 60001", "deadlines.idle_ms", "total_ms")]
#[case("[logging]\nlevel = \"info,a=very\"", "logging.level", "`a=very` is neither")]
#[case("[logging]\nlevel = \"loud\"", "logging.level", "`loud` is neither")]
#[case(
    "[resilience.provider_breaker.local]\ndegradation_threshold = 3",
    "resilience.provider_breaker.local.degradation_threshold",
    "never be reached"
)]
#[case(
    "[resilience.provider_breaker.oauth]\nmax_open_ms = 1000",
    "resilience.provider_breaker.oauth.reset_timeout_ms",
    "max_open_ms"
)]
#[case(
    "[resilience.connection_cooldown.apikey]\nmax_cooldown_ms = 1",
    "resilience.connection_cooldown.apikey.base_cooldown_ms",
    "max_cooldown_ms"
)]
fn a_value_without_sense_is_refused(#[case] file: &str, #[case] key: &str, #[case] message: &str) {
    let problems = load(file, []).unwrap_err();

    let found: Vec<_> =
        problems.iter().map(|problem| (problem.key.as_str(), problem.message.contains(message))).collect();

    assert_eq!(found, [(key, true)], "{problems}");
}

#[test]
fn all_problems_are_told_at_once() {
    let file = "[server]\nport = true\nkeep_alive_s = 5\nhots = 1\n[routing]\nmax_attempts = 0\n";

    let found = problems(file, [("REQUIRE_API_KEY", "perhaps"), ("OMNIROUTE__X", "1")]);

    let keys: Vec<_> = found.iter().map(|problem| problem.split(' ').next().unwrap()).collect();
    assert_eq!(
        keys,
        ["auth.require_api_key", "routing.max_attempts", "server.hots", "server.keep_alive_s", "server.port", "x"]
    );
}

#[test]
fn a_syntax_error_names_the_line_and_does_not_repeat_it() {
    let found = problems("[storage]\nmaster_key = hunter2\n", []);

    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("config.toml: line 2 is no TOML"), "{}", found[0]);
    assert!(!found[0].contains("hunter2"), "{}", found[0]);
}

#[test]
fn a_file_that_was_named_must_exist() {
    let loader = Loader::new(Some("/nowhere/omniroute.toml".into()), Environment::default());

    let problems = loader.load().unwrap_err().to_string();

    assert!(problems.contains("/nowhere/omniroute.toml: the file cannot be read"), "{problems}");
}

#[test]
fn a_secret_is_shown_neither_in_a_problem_nor_in_the_configuration() {
    let file = "[storage]\nmaster_key = 123456789\n[auth]\nservice_key = \"hunter2\"\n";

    let refused = problems(file, []).join("\n");
    let loaded = load(
        "[auth]\nservice_key = \"hunter2\"\n",
        [("DATABASE_URL", "postgres://u:hunter2@h/d"), ("STORAGE_ENCRYPTION_KEY", "hunter2")],
    )
    .unwrap();

    let shown = format!("{loaded:?} {}", serde_json::to_string(&loaded.config).unwrap());
    assert!(refused.contains("storage.master_key") && !refused.contains("123456789"), "{refused}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
