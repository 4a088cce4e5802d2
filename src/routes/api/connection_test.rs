//! Trying a connection: what is found is noted with it, and one that works need not rest any longer.

use omniroute_actors::connection::Reset;
use omniroute_actors::connection::config::{ConnectionConfig, Source};
use omniroute_actors::resilience::health::ResetScope;
use serde_json::{Value, json};

use super::connection_form::Home;
use super::live;
use super::probe::{self, Diagnosis, Subject};
use crate::gateway::directory::Listed;
use crate::routes::body::iso;
use crate::routes::{Call, Refusal};
use crate::store::{StoreError, TestNote};

/// What a try found.
#[derive(Debug)]
pub(super) struct Tested {
    /// The finding.
    pub(super) diagnosis: Diagnosis,
    /// How long it took, in milliseconds.
    pub(super) latency: u64,
    /// When it ended.
    pub(super) at: i64,
}

impl Tested {
    /// As the API shows it.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "valid": self.diagnosis.valid(),
            "error": self.diagnosis.message,
            "warning": null,
            "refreshed": false,
            "runtime": null,
            "diagnosis": self.diagnosis.to_json(),
            "latencyMs": self.latency,
            "statusCode": self.diagnosis.status,
            "testedAt": iso(self.at),
        })
    }
}

/// Try a connection with a model, with its default model, or by its list of models. The directory shows what is noted
/// after its next refresh.
pub(super) async fn run(call: &Call, listed: &Listed, model: Option<&str>) -> Result<Tested, Refusal> {
    let began = tokio::time::Instant::now();
    let diagnosis = diagnose(call, listed, model.or(listed.row.default_model.as_deref())).await;
    let latency = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let tested = Tested { diagnosis, latency, at: call.now() };
    let id = &listed.row.id;
    if listed.source == Source::Database {
        note(call, id, &tested.diagnosis, tested.at).await?;
    }
    if tested.diagnosis.valid() {
        forgive(call, id).await;
    }
    call.audit_as("provider.test", id, tested.diagnosis.kind, json!({"provider": listed.row.provider})).await;
    Ok(tested)
}

async fn diagnose(call: &Call, listed: &Listed, model: Option<&str>) -> Diagnosis {
    let local = |kind, message| Diagnosis { kind, source: "local", message: Some(message), status: None };
    let row = &listed.row;
    if row.credential_unreadable {
        return local("auth_missing", "the stored credential cannot be read; enter it again");
    }
    let needs_key = Home::find(&row.provider, &call.app.directory.nodes()).is_some_and(|home| !home.key_optional());
    if needs_key && row.credential.is_none() {
        return local("auth_missing", "there is no credential");
    }
    match prepared(call, listed) {
        Some(subject) => probe::test(&subject, model).await,
        None => local("validation_error", "the connection is not complete"),
    }
}

/// A connection as it runs, or as it would run.
pub(super) fn prepared<'a>(call: &'a Call, listed: &Listed) -> Option<Subject<'a>> {
    let running = live::handles(&call.app).into_iter().find(|handle| handle.id().as_str() == listed.row.id);
    let config = match &running {
        Some(handle) => ConnectionConfig::clone(&handle.config()),
        None => call.app.directory.prepare(&listed.row).ok()?,
    };
    Some(Subject { app: &call.app, running, config })
}

async fn note(call: &Call, id: &str, diagnosis: &Diagnosis, now: i64) -> Result<(), Refusal> {
    let failed = !diagnosis.valid();
    let note = TestNote {
        at: now,
        status: if failed { "error" } else { "active" }.to_owned(),
        error: diagnosis.message.filter(|_| failed).map(str::to_owned),
        kind: failed.then(|| diagnosis.kind.to_owned()),
        source: failed.then(|| diagnosis.source.to_owned()),
        code: diagnosis.status.filter(|_| failed).map(|status| status.to_string()),
    };
    // It may have been removed while it was tried.
    match call.app.store.connections().note(id, note).await {
        Ok(()) | Err(StoreError::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A connection that works need not rest; one that was out of service until somebody acts is back, for somebody did.
pub(super) async fn forgive(call: &Call, id: &str) {
    let handles: Vec<_> = live::handles(&call.app).into_iter().filter(|handle| handle.id().as_str() == id).collect();
    let terminal = handles.iter().any(|handle| handle.remembered().terminal.is_some());
    let scope = if terminal { ResetScope::All } else { ResetScope::Cooldowns };
    live::tell(&call.app, &handles, Reset(scope)).await;
}
