//! `omniroute explain <model>`: which connections would serve a model, in which order, and what keeps the others.
//!
//! The same directory, registry and plan as in the gateway, in the state that was stored last; nothing listens and
//! nothing is written. Provider keys of the environment are connections here as they are there, but of *this*
//! environment: a gateway that a service manager started may hold others, so the answer names the variables.

use std::io::Write;
use std::sync::Arc;

use actix::{Actor, Arbiter};
use omniroute_actors::clock::{Clock, Now, SystemClock};
use omniroute_actors::ports::{Nowhere, Ports};
use omniroute_actors::router::explain::{ExplainedConnection, ExplainedLeg};
use omniroute_actors::router::features::RequestFeatures;
use omniroute_actors::router::strategy::Factors;
use omniroute_actors::router::{Explanation, Only, PublishedPlan, explain};
use omniroute_actors::supervisor::Registry;
use serde::Serialize;

use crate::boot::{self, Foundation};
use crate::cli::CliError;
use crate::config::{Config, ConfigHandle, Loader};
use crate::gateway::directory::{Directory, DirectoryError, DirectoryParts, Listed};
use crate::providers::EnvironmentConnection;

/// Stands for the demo provider, which does not run now.
const DEMO_URL: &str = "http://127.0.0.1:9/v1";

impl From<DirectoryError> for CliError {
    fn from(error: DirectoryError) -> Self {
        Self::Failure(error.to_string())
    }
}

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    model: String,
    /// How the model string was resolved.
    path: Vec<String>,
    combo: Option<String>,
    strategy: Option<&'static str>,
    /// Nothing met every wish, so that wishes were dropped.
    relaxed: bool,
    /// Names of the variables of this environment that were taken up as connections.
    environment: Vec<String>,
    candidates: Vec<Line>,
    excluded: Vec<Out>,
    /// Connections of these candidates that are not shown.
    more: usize,
    unusable: Vec<Unusable>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    connection: String,
    name: String,
    provider: String,
    model: String,
    source: &'static str,
    /// The steps of the combo that lead here.
    step: String,
    /// Why its model is at this place.
    why: &'static str,
    /// How it is chosen among the connections of its model.
    pick: &'static str,
    /// What the request is expected to cost.
    cost_nano_usd: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    factors: Option<Factors>,
    /// Nothing: it would be taken.
    skipped: Option<&'static str>,
    retry_in_ms: Option<u64>,
}

/// A model that cannot serve the request at all.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Out {
    provider: String,
    model: String,
    why: &'static str,
    message: String,
}

#[derive(Debug, Serialize)]
struct Unusable {
    connection: String,
    name: String,
    problem: String,
}

/// Explain a model string. Must run inside an actix system.
///
/// # Errors
/// When nothing would serve it, or it means nothing, or the store does not answer.
pub async fn run(
    model: &str,
    config: Config,
    loader: &Loader,
    foundation: Foundation,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let environment = boot::environment(&config, loader);
    let names: Vec<_> = environment.iter().map(|connection| connection.name.clone()).collect();
    let directory = directory(config, environment, foundation, Arc::clone(&clock)).await?;
    let plan = directory.refresh().await?;
    let features = Arc::new(RequestFeatures { at: clock.wall(), ..RequestFeatures::default() });
    let explained = explain(&plan, model, &features, &Only::default(), clock.now()).map_err(|why| {
        CliError::Failure(format!("'{model}': {why}{}", from_environment(&names, "; ").unwrap_or_default()))
    })?;
    let report = report(model, &explained, &directory.listed(), clock.both(), names);
    if json {
        let text = serde_json::to_string(&report).map_err(|error| CliError::Failure(error.to_string()))?;
        writeln!(out, "{text}")?;
    } else {
        print(&report, out)?;
    }
    if report.candidates.iter().all(|line| line.skipped.is_some()) {
        return Err(CliError::Failure(format!("nothing would serve '{model}' now")));
    }
    Ok(())
}

async fn directory(
    config: Config,
    environment: Vec<EnvironmentConnection>,
    foundation: Foundation,
    clock: Arc<dyn Clock>,
) -> Result<Directory, CliError> {
    let store = foundation.store;
    let demo_url = boot::wants_demo(&config, &store, &environment).await?.then(|| DEMO_URL.to_owned());
    let nowhere = Arc::new(Nowhere);
    let ports = Ports { clock, store: nowhere.clone(), observer: nowhere.clone(), minter: nowhere };
    let registry = Registry::new(Arbiter::current(), ports, boot::remembered(&store).await?).start();
    let (config, plan) = (ConfigHandle::new(config), PublishedPlan::default());
    Ok(Directory::new(DirectoryParts { config, store, registry, plan, environment, demo_url, egress: None }))
}

/// What tells a reader that the gateway may see other connections than their shell does.
fn from_environment(names: &[String], before: &str) -> Option<String> {
    let names = Some(names.join(", ")).filter(|names| !names.is_empty())?;
    Some(format!("{before}provider keys of this environment are counted in, the gateway's may differ: {names}"))
}

fn report(
    model: &str,
    explanation: &Explanation,
    listed: &[Arc<Listed>],
    now: Now,
    environment: Vec<String>,
) -> Report {
    let lines = |leg: &ExplainedLeg| leg.connections.iter().map(|one| line(leg, one, now)).collect::<Vec<_>>();
    let excluded = explanation.excluded.iter().map(|out| Out {
        provider: out.provider.to_string(),
        model: out.model.to_string(),
        why: out.why.as_str(),
        message: out.why.to_string(),
    });
    let unusable = listed.iter().filter_map(|listed| {
        let problem = listed.problem.clone()?;
        Some(Unusable { connection: listed.row.id.clone(), name: listed.row.name.clone(), problem })
    });
    Report {
        model: model.to_owned(),
        path: explanation.path.clone(),
        combo: explanation.combo.as_ref().map(|name| name.as_str().to_owned()),
        strategy: explanation.strategy.map(omniroute_actors::router::plan::Strategy::as_str),
        relaxed: explanation.relaxed,
        environment,
        candidates: explanation.legs.iter().flat_map(lines).collect(),
        excluded: excluded.collect(),
        more: explanation.legs.iter().map(|leg| leg.more).sum(),
        unusable: unusable.collect(),
    }
}

fn line(leg: &ExplainedLeg, explained: &ExplainedConnection, now: Now) -> Line {
    let config = explained.connection.config();
    let wait = explained.retry_at.map(|at| at.until(now.moment));
    Line {
        connection: config.id.as_str().to_owned(),
        name: config.name.clone(),
        provider: config.provider.as_str().to_owned(),
        model: leg.model.as_str().to_owned(),
        source: config.source.label(),
        step: leg.key.clone(),
        why: leg.why,
        pick: leg.pick,
        cost_nano_usd: leg.cost,
        factors: leg.factors,
        skipped: explained.skipped.map(|reason| reason.as_str()),
        retry_in_ms: wait.map(omniroute_actors::clock::millis),
    }
}

fn print(report: &Report, out: &mut dyn Write) -> Result<(), CliError> {
    match (&report.combo, report.strategy) {
        (Some(combo), Some(strategy)) => writeln!(out, "{}: combo {combo}, strategy {strategy}", report.model)?,
        _ => writeln!(out, "{}: a model of one provider", report.model)?,
    }
    // A single step only says what the first line says.
    for step in report.path.iter().filter(|_| report.path.len() > 1) {
        writeln!(out, "  by {step}")?;
    }
    for (index, line) in report.candidates.iter().enumerate() {
        let wait = line.retry_in_ms.map(|ms| format!(", again in {:.1} s", ms as f64 / 1_000.0)).unwrap_or_default();
        let verdict = line.skipped.map_or_else(|| "would serve".to_owned(), |why| format!("skipped: {why}{wait}"));
        let Line { name, provider, model, source, .. } = line;
        writeln!(out, "{:3}. {name} ({provider}, {source}) {model}: {verdict} [{}]", index + 1, line.why)?;
    }
    if report.more > 0 {
        writeln!(out, "  ... and {} more connections", report.more)?;
    }
    for Out { provider, model, message, .. } in &report.excluded {
        writeln!(out, "  -  {provider}/{model} {message}")?;
    }
    for Unusable { name, problem, .. } in &report.unusable {
        writeln!(out, "  -  {name} cannot be used: {problem}")?;
    }
    from_environment(&report.environment, "Note: ").map_or(Ok(()), |note| Ok(writeln!(out, "{note}")?))
}

#[cfg(test)]
mod tests {
    use omniroute_actors::clock::UnixMillis;
    use omniroute_actors::ports::StateRecord;
    use omniroute_actors::resilience::gate::BreakerState;
    use omniroute_actors::resilience::outcome::Outcome;

    use super::*;
    use crate::config::Environment;
    use crate::infra::state_saver;

    struct Bed {
        config: Config,
        loader: Loader,
        _dir: tempfile::TempDir,
    }

    fn bed<const N: usize>(variables: [(&str, &str); N]) -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let environment: Environment = variables.into_iter().collect();
        let mut config = Config::default();
        config.storage.data_dir = dir.path().join("data");
        Bed { config, loader: Loader::new(None, environment), _dir: dir }
    }

    impl Bed {
        fn open(&self) -> Foundation {
            Foundation::open(&self.config, self.loader.environment()).unwrap()
        }

        async fn explain(&self, model: &str, json: bool) -> (Result<(), CliError>, String) {
            let mut out = Vec::new();
            let done = run(model, self.config.clone(), &self.loader, self.open(), json, &mut out).await;
            (done, String::from_utf8(out).unwrap())
        }

        async fn rest(&self, connection: &str) {
            let wall = SystemClock::default().wall().0;
            let record = StateRecord {
                connection: connection.into(),
                breaker: BreakerState::Closed,
                open_until: None,
                cycles: 0,
                consecutive: 1,
                generation: 1,
                cooldown: Some((UnixMillis(wall + 600_000), Outcome::RateLimited)),
                level: 1,
                terminal: None,
                since: UnixMillis(wall),
                last_error: None,
                attention: None,
                lockouts: Vec::new(),
                learned: Vec::new(),
            };
            let rows = [state_saver::row(&record, UnixMillis(wall))];
            self.open().store.connection_states().save_many(&rows).await.unwrap();
        }
    }

    #[actix_rt::test]
    async fn the_demo_combo_shows_both_accounts_in_order() {
        let (done, text) = bed([]).explain("demo", false).await;

        assert!(done.is_ok(), "{text}");
        assert!(
            text.starts_with("demo: combo demo, strategy priority\n  1. demo-flaky (demo, built-in demo)"),
            "{text}"
        );
        assert!(text.contains("  2. demo-steady") && text.contains("would serve"), "{text}");
    }

    #[actix_rt::test]
    async fn a_connection_that_rests_is_skipped_with_the_reason_and_the_time() {
        let bed = bed([("GROQ_API_KEY", "k")]);
        bed.rest("env-groq").await;

        let (done, text) = bed.explain("groq/some-model", true).await;

        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        let line = &report["candidates"][0];
        assert_eq!((&line["connection"], &line["skipped"]), (&"env-groq".into(), &"cooling_down".into()));
        assert!((590_000..=600_000).contains(&line["retryInMs"].as_u64().unwrap()), "{text}");
        assert_eq!(done.unwrap_err().code(), 1);
    }

    #[actix_rt::test]
    async fn keys_of_the_environment_are_counted_in_and_named_but_not_shown() {
        let bed = bed([("GROQ_API_KEY", "gsk-secret")]);

        let (done, text) = bed.explain("groq/some-model", false).await;
        let (_, json) = bed.explain("groq/some-model", true).await;
        let (unknown, _) = bed.explain("openai/x", false).await;

        assert!(done.is_ok() && text.contains("may differ: GROQ_API_KEY"), "{text}");
        assert!(json.contains(r#""environment":["GROQ_API_KEY"]"#) && !(text + &json).contains("gsk-secret"));
        assert!(unknown.unwrap_err().to_string().contains("GROQ_API_KEY"));
    }

    #[actix_rt::test]
    async fn a_model_that_nobody_serves_is_an_error_that_says_why() {
        let (done, _) = bed([]).explain("groq/some-model", false).await;

        assert!(done.unwrap_err().to_string().contains("no connection for provider 'groq'"));
    }
}
