//! The command line, and the first minute of a new user.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use omniroute_testkit::gateway::{Gateway, Signal};
use omniroute_testkit::http::Request;
use serde_json::{Value, json};

use crate::common::{PATIENCE, Site, calm, program};

/// Run the program in a directory of its own with nothing in its environment but this.
#[expect(clippy::disallowed_methods, reason = "a test runs the program under test")]
fn run(home: &std::path::Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_omniroute"));
    command.args(arguments).current_dir(home).env_clear().stdin(Stdio::null());
    command.envs(environment.iter().copied()).output().expect("the program")
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", text(output), complaint(output)))
}

#[test]
fn help_names_every_command_and_shows_examples() {
    let output = run(home().path(), &["--help"], &[]);

    assert_eq!(output.status.code(), Some(0));
    for word in ["serve", "check", "explain", "keys", "healthcheck", "openapi", "completions", "Examples"] {
        assert!(text(&output).contains(word), "{word}: {}", text(&output));
    }
}

#[test]
fn a_misspelt_key_stops_check_and_start_with_64_and_the_likely_meaning_before_a_port_is_bound() {
    let home = home();
    std::fs::write(home.path().join("config.toml"), "[server]\nprot = 9\n").unwrap();

    for arguments in [&["check"][..], &["serve"], &[]] {
        let output = run(home.path(), arguments, &[]);

        let said = complaint(&output);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
        assert!(said.contains("server.prot") && said.contains("port") && said.contains("config.toml"), "{said}");
    }
    assert!(!home.path().join("data").exists(), "nothing was created");
}

#[test]
fn every_problem_is_told_at_once_and_as_json_on_demand() {
    let environment = [("PORT", "many"), ("OMNIROUTE__DEADLINES__IDLE_MS", "-1"), ("OMNIROUTE__SERVER__HOTS", "x")];

    let output = run(home().path(), &["check", "--json"], &environment);

    let said = complaint(&output) + &text(&output);
    let report: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!((output.status.code(), report["problems"].as_array().map(Vec::len)), (Some(64), Some(3)), "{said}");
}

#[test]
fn a_sound_configuration_is_shown_with_the_source_of_each_value() {
    let home = home();
    std::fs::write(home.path().join("config.toml"), "[deadlines]\nidle_ms = 1234\n").unwrap();

    let output = run(home.path(), &["check"], &[("OMNIROUTE__DEADLINES__TOTAL_MS", "99999")]);

    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let line = |key: &str| text(&output).lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    assert!(line("deadlines.idle_ms").contains("1234") && line("deadlines.idle_ms").contains("config.toml"));
    assert!(line("deadlines.total_ms").contains("OMNIROUTE__DEADLINES__TOTAL_MS"));
    assert!(!home.path().join("data").exists());
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked_beside_a_running_gateway() {
    let site = Site::open(calm()).await;
    let data = site.gateway.data_dir.to_string_lossy().into_owned();
    let environment = [("DATA_DIR", data.as_str())];
    let home = site.gateway.home();

    let made = json_of(&run(home, &["keys", "create", "--name", "cli", "--models", "a/*", "--json"], &environment));
    let key = made["key"].as_str().unwrap().to_owned();
    let ask = async || site.gateway.ask(&Request::chat("a/m", "x", false).key(&key)).await.status();
    let taken_up =
        crate::common::eventually(Duration::from_secs(15), async || (ask().await == 200).then_some(())).await;
    let listed = run(home, &["keys", "list", "--json"], &environment);
    let revoked = run(home, &["keys", "revoke", made["id"].as_str().unwrap(), "--json"], &environment);
    let refused = crate::common::eventually(Duration::from_secs(15), async || (ask().await == 401).then_some(())).await;

    assert!(taken_up.is_some() && refused.is_some(), "{}", site.gateway.log());
    assert!(json_of(&listed)["keys"].as_array().unwrap().iter().any(|row| row["name"] == "cli"));
    assert!(!text(&listed).contains(&key));
    assert_eq!(revoked.status.code(), Some(0), "{}", complaint(&revoked));
    assert_eq!(run(home, &["keys", "revoke", "nobody"], &environment).status.code(), Some(1));
}

#[test]
fn what_only_reads_refuses_a_place_without_a_database_and_leaves_nothing_behind() {
    let home = home();
    let environment = [("DATA_DIR", "mistyped")];

    for arguments in [&["keys", "list"][..], &["keys", "revoke", "x"], &["explain", "demo"]] {
        let output = run(home.path(), arguments, &environment);

        let said = complaint(&output);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
        assert!(said.contains("storage.data_dir (environment variable DATA_DIR)"), "{said}");
        assert!(said.contains("mistyped/omniroute.sqlite"), "{said}");
    }
    let check = run(home.path(), &["check"], &environment);
    assert!(check.status.success() && text(&check).contains("mistyped does not exist"), "{}", text(&check));
    assert!(!home.path().join("mistyped").exists());

    let made = run(home.path(), &["keys", "create", "--name", "first"], &environment);
    assert!(
        made.status.success() && text(&made).contains("mistyped/omniroute.sqlite has been made"),
        "{}",
        text(&made)
    );
}

#[test]
fn explain_shows_the_order_of_candidates() {
    let home = home();

    run(home.path(), &["keys", "create", "--name", "first"], &[]);
    let demo = run(home.path(), &["explain", "demo", "--json"], &[]);
    let unknown = run(home.path(), &["explain", "nobody/x"], &[]);

    let report = json_of(&demo);
    assert_eq!((demo.status.code(), &report["combo"]), (Some(0), &json!("demo")));
    let names: Vec<_> = report["candidates"].as_array().unwrap().iter().map(|line| line["name"].clone()).collect();
    assert_eq!(names, ["demo-flaky", "demo-steady"]);
    assert_eq!(unknown.status.code(), Some(1), "{}", complaint(&unknown));
}

#[tokio::test]
async fn the_healthcheck_follows_readiness() {
    let mut site = Site::open(calm()).await;
    let (port, home) = (site.gateway.addr.port().to_string(), home());
    let environment = [("PORT", port.as_str())];

    let up = run(home.path(), &["healthcheck"], &environment);
    site.gateway.kill().await;
    let down = run(home.path(), &["healthcheck"], &environment);

    assert_eq!((up.status.code(), down.status.code()), (Some(0), Some(1)), "{}", complaint(&up));
}

#[test]
fn the_openapi_description_is_printed() {
    let document = json_of(&run(home().path(), &["openapi"], &[]));

    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    for path in ["/v1/chat/completions", "/api/resilience", "/api/keys/{id}", "/readyz"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
}

#[test]
fn completions_are_printed_and_a_wrong_command_exits_with_2() {
    let completions = run(home().path(), &["completions", "bash"], &[]);
    let wrong = run(home().path(), &["no-such-command"], &[]);

    assert!(completions.status.success() && text(&completions).contains("complete -F"));
    assert_eq!(wrong.status.code(), Some(2));
}

// --- the first minute ---

/// The call that the first start printed, as the shell would read it.
fn printed_call(log: &str) -> Request {
    let call = log.split("/v1/chat/completions").nth(1).expect("a curl in the log");
    let quoted: Vec<&str> = call.split('\'').collect();
    let mut request = Request::new("POST", "/v1/chat/completions");
    for header in [quoted[1], quoted[3]] {
        let (name, value) = header.split_once(": ").expect("a header");
        request = request.header(name, value);
    }
    request.body(quoted[5])
}

async fn first_start() -> Gateway {
    program().env("INITIAL_PASSWORD", "").start().await
}

#[tokio::test]
async fn the_first_start_says_where_how_to_sign_in_and_prints_a_call_that_answers() {
    let gateway = first_start().await;
    let log = gateway.log();

    let answer = gateway.ask(&printed_call(&log)).await;

    assert!(log.contains(&format!("http://{}", gateway.addr)), "{log}");
    assert!(log.contains("/api/init") && log.contains("token"), "{log}");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let body = answer.json();
    assert!(!body["choices"][0]["message"]["content"].as_str().unwrap().is_empty(), "{body}");
    assert_eq!(answer.header("x-omniroute-provider"), Some("demo"));
}

#[tokio::test]
async fn a_second_start_says_less_and_shows_no_secret_again() {
    let mut gateway = program().start().await;
    let first = gateway.log();
    let key = first.split("Bearer ").nth(1).and_then(|rest| rest.split('\'').next()).expect("a key").to_owned();

    gateway.restart().await;

    let second = gateway.log()[first.len()..].to_owned();
    assert!(second.contains(&gateway.addr.to_string()), "{second}");
    assert!(!second.contains(&key) && !second.contains("Bearer "), "{second}");
}

#[tokio::test]
async fn within_40_requests_the_demo_shows_a_failover_in_its_headers_and_in_the_resilience_view() {
    let gateway = program().start().await;
    let call = printed_call(&gateway.log());
    let begin = Instant::now();

    let mut failovers = 0;
    for _ in 0..40 {
        let answer = gateway.ask(&call).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        failovers += usize::from(answer.header("x-omniroute-attempts") == Some("2"));
        if answer.header("x-omniroute-attempts") == Some("2") {
            assert!(answer.header("x-omniroute-fallback-reason").is_some_and(|why| why.contains("demo-flaky")));
        }
    }

    assert!(failovers >= 1, "no failover in 40 requests");
    assert!(begin.elapsed() < 3 * PATIENCE);
    let seen = gateway.admin().await.resilience().await;
    let flaky = seen["state"]["connections"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "demo-flaky")
        .cloned()
        .unwrap();
    assert!(flaky["counts"]["failed"].as_u64().unwrap() >= 1 && flaky["lastError"].is_object(), "{flaky}");
}

#[tokio::test]
async fn provider_keys_of_the_environment_become_connections() {
    let gateway = program().env("OPENAI_API_KEY", "sk-from-env").env("GROQ_API_KEY", "gsk-from-env").start().await;

    let list = gateway.admin().await.get("/api/providers").await;

    let rows = list["connections"].as_array().unwrap();
    for provider in ["openai", "groq"] {
        let row = rows.iter().find(|row| row["provider"] == provider).unwrap_or_else(|| panic!("{list}"));
        assert_eq!((&row["sourceLabel"], &row["readOnly"]), (&json!("from environment"), &json!(true)));
    }
    assert!(!list.to_string().contains("from-env\"") && !gateway.log().contains("sk-from-env"));
    assert!(gateway.log().contains("found in the environment: GROQ_API_KEY, OPENAI_API_KEY"), "{}", gateway.log());
}

#[tokio::test]
async fn the_banner_says_which_password_counts() {
    let mut gateway =
        program().password("").config_file("[auth]\ninitial_password = \"the first of all passwords\"\n").start().await;
    let first = gateway.log();

    gateway.restart().await;

    let second = gateway.log()[first.len()..].to_owned();
    assert!(first.contains("auth.initial_password (") && first.contains("config.toml)"), "{first}");
    assert!(second.contains("stored before") && second.contains("config.toml"), "{second}");
    assert!(!(first + &second).contains("the first of all passwords"));
}

#[tokio::test]
async fn ctrl_c_says_that_it_drains_and_a_second_one_ends_it() {
    let mut gateway = program().set("server.drain_delay_ms", "60000").start().await;
    let said = |gateway: &Gateway| gateway.log().contains("draining, press Ctrl-C again to stop at once");

    gateway.signal(Signal::INT);
    let told = crate::common::eventually(PATIENCE, async || said(&gateway).then_some(())).await;
    gateway.signal(Signal::INT);
    let status = gateway.ended(PATIENCE).await;

    assert!(told.is_some(), "{}", gateway.log());
    assert_eq!(status.code(), Some(1));
}

#[test]
fn check_reads_the_files_that_the_configuration_names_and_tells_the_line() {
    let home = home();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("oauth.toml"), "# ours\n[gitlab]\nclient_idd = \"x\"\n").unwrap();
    std::fs::write(path("roots.pem"), "no certificate").unwrap();
    std::fs::write(path("journal"), "a file").unwrap();
    let (oauth, roots) = (path("oauth.toml"), format!("{},{}", path("roots.pem"), path("missing.pem")));
    let journal = path("journal");
    let environment = [
        ("OMNIROUTE__OAUTH__FILE", oauth.as_str()),
        ("OMNIROUTE__UPSTREAM__EXTRA_ROOTS", roots.as_str()),
        ("OMNIROUTE__USAGE__JOURNAL_DIR", journal.as_str()),
    ];

    let output = run(home.path(), &["check", "--json"], &environment);

    let said: Value = serde_json::from_str(&complaint(&output)).unwrap();
    let told: Vec<_> = said["problems"].as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap()).collect();
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(told, ["oauth.file", "upstream.extra_roots", "upstream.extra_roots", "usage.journal_dir"], "{said}");
    let message = said["problems"][0]["message"].as_str().unwrap();
    assert!(message.contains("oauth.toml:3: the entry `gitlab`") && message.contains("client_idd"), "{message}");
    assert!(said.to_string().contains("missing.pem") && said.to_string().contains("it holds no certificate"), "{said}");
}
