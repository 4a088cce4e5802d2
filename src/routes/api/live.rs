//! What connections are like at this moment, as the API shows it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use omniroute_actors::clock::Now;
use omniroute_actors::connection::handle::ConnectionHandle;
use omniroute_actors::connection::snapshot::{self, Snapshot, Standing};
use omniroute_actors::ids::ConnectionId;
use omniroute_actors::resilience::gate::BreakerState;
use omniroute_actors::resilience::health::{ConnectionState, ErrorNote};
use omniroute_actors::resilience::learned::LearnedRecord;
use omniroute_actors::supervisor::{GetSnapshots, Revive};
use serde_json::{Value, json};

use crate::app::App;
use crate::gateway::directory::Listed;
use crate::routes::Refusal;
use crate::routes::body::{iso, iso_or_null, put};

/// How long the registry may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long a connection's actor may take, being started again included.
const TRIES: u32 = 4;
const EACH_TRY: Duration = Duration::from_millis(500);

/// These connections at this moment, as their actors tell it, by their ids.
pub(super) async fn snapshots(app: &App, of: &[Arc<Listed>]) -> Result<HashMap<ConnectionId, Snapshot>, Refusal> {
    let of = of.iter().map(|entry| ConnectionId::from(entry.row.id.as_str())).collect();
    let asked = tokio::time::timeout(ANSWER_WITHIN, app.registry.send(GetSnapshots { of })).await;
    match asked {
        Ok(Ok(snapshots)) => Ok(snapshots.into_iter().map(|snapshot| (snapshot.id.clone(), snapshot)).collect()),
        _ => {
            tracing::error!("the registry of connections did not answer an operator");
            Err(Refusal::unavailable("The connections do not answer; try again"))
        }
    }
}

/// How every connection stands, as it last published itself: sums over all are not worth ten thousand questions.
pub(super) fn standings(app: &App) -> Vec<Standing> {
    as_published(app, Standing::published)
}

/// The same with everything that is known.
pub(in crate::routes) fn published(app: &App) -> Vec<Snapshot> {
    as_published(app, Snapshot::published)
}

fn as_published<T>(app: &App, read: fn(&ConnectionHandle, Now) -> T) -> Vec<T> {
    let (now, plan) = (app.clock.both(), app.plan.load());
    plan.providers.values().flat_map(|entry| &entry.connections).map(|handle| read(handle, now)).collect()
}

/// The handles of all connections of the plan.
pub(super) fn handles(app: &App) -> Vec<Arc<ConnectionHandle>> {
    let plan = app.plan.load();
    let mut handles: Vec<_> = plan.providers.values().flat_map(|entry| entry.connections.iter().cloned()).collect();
    handles.sort_by(|a, b| a.id().cmp(b.id()));
    handles
}

/// Send a message to each of these actors and await every answer; `None` stands for one that did not answer.
pub(super) async fn tell<M, T, E>(app: &App, handles: &[Arc<ConnectionHandle>], message: M) -> Vec<Option<T>>
where
    M: actix::Message<Result = Result<T, E>> + Clone + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
    omniroute_actors::connection::Connection: actix::Handler<M>,
    <omniroute_actors::connection::Connection as actix::Actor>::Context:
        actix::dev::ToEnvelope<omniroute_actors::connection::Connection, M>,
{
    join_all(handles.iter().map(|handle| tell_one(app, handle, message.clone()))).await
}

/// An actor that died is started again by the registry; the message waits for that.
async fn tell_one<M, T, E>(app: &App, handle: &Arc<ConnectionHandle>, message: M) -> Option<T>
where
    M: actix::Message<Result = Result<T, E>> + Clone + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
    omniroute_actors::connection::Connection: actix::Handler<M>,
    <omniroute_actors::connection::Connection as actix::Actor>::Context:
        actix::dev::ToEnvelope<omniroute_actors::connection::Connection, M>,
{
    for _ in 0..TRIES {
        match handle.address() {
            Some(address) => {
                if let Ok(Ok(Ok(answer))) = tokio::time::timeout(EACH_TRY, address.send(message.clone())).await {
                    return Some(answer);
                }
            }
            None => {
                app.registry.do_send(Revive { id: handle.id().clone(), reports: Vec::new() });
                tokio::time::sleep(EACH_TRY / 10).await;
            }
        }
    }
    None
}

/// One word for the state.
pub(super) const fn word(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Ready => "ready",
        ConnectionState::Disabled => "disabled",
        ConnectionState::CoolingDown => "cooling_down",
        ConnectionState::Terminal(terminal) => terminal.as_str(),
        ConnectionState::Breaker(breaker) => breaker.as_str(),
    }
}

/// The breaker's state as the original writes it.
pub(super) fn upper(breaker: BreakerState) -> String {
    breaker.as_str().to_uppercase()
}

/// An error, and under `when` its time.
fn noted(note: &ErrorNote, when: &str, at: i64) -> Value {
    let mut shown = json!({
        "outcome": note.outcome.as_str(),
        "status": (note.status > 0).then_some(note.status),
        "code": note.code,
        "message": note.message,
    });
    put(&mut shown, when, iso(at));
    shown
}

/// A connection's whole state.
pub(super) fn connection(snapshot: &Snapshot) -> Value {
    json!({
        "id": snapshot.id,
        "provider": snapshot.provider,
        "name": snapshot.name,
        "source": snapshot.source,
        "sourceLabel": snapshot.source.label(),
        "state": word(snapshot.state),
        "breaker": upper(snapshot.breaker),
        "since": iso(snapshot.since.0),
        "until": iso_or_null(snapshot.until.map(|until| until.0)),
        "reason": snapshot.reason,
        "lastError": snapshot.last_error.as_ref().map(|(at, note)| noted(note, "at", at.0)),
        "needsAttention": snapshot.needs_attention.as_ref().map(|(at, note)| noted(note, "since", at.0)),
        "counts": {
            "consecutiveFailures": snapshot.consecutive_failures,
            "windowCalls": snapshot.window_calls,
            "windowFailures": snapshot.window_failures,
            "admitted": snapshot.admitted,
            "succeeded": snapshot.succeeded,
            "failed": snapshot.failed,
        },
        "generation": snapshot.generation,
        "openCycles": snapshot.open_cycles,
        "inFlight": snapshot.in_flight,
        "latencyMs": (snapshot.latency_ms * 10.0).round() / 10.0,
        "cooldown": snapshot.cooldown.map(|(until, outcome)| json!({"until": iso(until.0), "reason": outcome.as_str()})),
        "backoffLevel": snapshot.backoff_level,
        "terminal": snapshot.terminal.map(|terminal| terminal.as_str()),
        "lockouts": snapshot.lockouts.iter().map(|lockout| json!({
            "model": lockout.model,
            "since": iso(lockout.since.0),
            "until": iso(lockout.until.0),
            "failures": lockout.failures,
        })).collect::<Vec<_>>(),
        "limits": limits(snapshot),
        "stale": snapshot.stale,
    })
}

/// What bounds its traffic now, and what was learned about that.
fn limits(snapshot: &Snapshot) -> Value {
    let share = |share: Option<f32>| share.map(|share| (f64::from(share) * 1_000.0).round() / 1_000.0);
    let bucket = |known: &LearnedRecord| {
        json!({
            "what": known.kind.as_str(),
            "limit": known.limit,
            "remaining": known.remaining,
            "resetAt": iso_or_null(known.reset_at.map(|at| at.0)),
            "at": iso(known.at.0),
            "perMinute": known.per_minute,
            "restUntil": iso_or_null(Some(known.rest_until.0).filter(|until| *until > known.at.0)),
        })
    };
    json!({
        "maxConcurrent": (snapshot.most_at_once > 0).then_some(snapshot.most_at_once),
        "learnedConcurrent": (snapshot.learned_most_at_once > 0).then_some(snapshot.learned_most_at_once),
        "queued": snapshot.queued,
        "paceLeft": share(snapshot.room),
        "headroom": share(snapshot.headroom),
        "ramping": snapshot.ramping,
        "successRate": share(snapshot.success_rate),
        "serviceMs": snapshot.service_time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        "learned": snapshot.learned.iter().map(bucket).collect::<Vec<_>>(),
    })
}

/// Providers, derived from their connections: as good as the best one, for a provider with one good account serves.
pub(super) fn providers(standings: &[Standing]) -> Vec<Value> {
    let mut by_provider: BTreeMap<&str, Vec<&Standing>> = BTreeMap::new();
    for standing in standings {
        by_provider.entry(standing.provider.as_str()).or_default().push(standing);
    }
    by_provider.into_iter().filter_map(|(id, of)| provider(id, &of)).collect()
}

fn provider(id: &str, of: &[&Standing]) -> Option<Value> {
    let best = of.iter().min_by_key(|snapshot| rank(snapshot.state))?;
    let worst = of.iter().max_by_key(|snapshot| rank(snapshot.state))?;
    Some(json!({
        "provider": id,
        "state": word(best.state),
        "worst": word(worst.state),
        "breaker": upper(best.breaker),
        "connections": of.len(),
        "usable": of.iter().filter(|snapshot| rank(snapshot.state) <= USABLE).count(),
        "failures": of.iter().map(|snapshot| snapshot.consecutive_failures).max(),
        "until": iso_or_null(best.until.map(|until| until.0)),
        "inFlight": of.iter().map(|snapshot| u64::from(snapshot.in_flight)).sum::<u64>(),
    }))
}

/// The last rank at which a connection takes requests.
const USABLE: u8 = 1;

/// The better a state, the lower.
pub(super) const fn rank(state: ConnectionState) -> u8 {
    match state {
        ConnectionState::Ready | ConnectionState::Breaker(BreakerState::Closed) => 0,
        ConnectionState::Breaker(BreakerState::Degraded) => USABLE,
        ConnectionState::Breaker(BreakerState::HalfOpen) => 2,
        ConnectionState::CoolingDown => 3,
        ConnectionState::Breaker(BreakerState::Open) => 4,
        ConnectionState::Terminal(_) => 5,
        ConnectionState::Disabled => 6,
    }
}

/// Locked models of all connections, the ones that come back first at the top.
pub(super) fn lockouts(app: &App) -> Vec<Value> {
    let (now, plan) = (app.clock.both(), app.plan.load());
    let mut rows: Vec<(i64, Value)> = Vec::new();
    for handle in plan.providers.values().flat_map(|entry| &entry.connections) {
        for lockout in snapshot::lockouts(&handle.remembered(), now) {
            let remaining = lockout.until.0.saturating_sub(now.wall.0).max(0);
            let row = json!({
                "provider": handle.provider(),
                "connectionId": handle.id(),
                "accountLabel": handle.config().name,
                "model": lockout.model,
                "modelFamily": null,
                "scope": "connection-model",
                "reason": "model_fault",
                "remainingMs": remaining,
                "failureCount": lockout.failures,
                "lockedAt": iso(lockout.since.0),
                "expiresAt": iso(lockout.until.0),
            });
            rows.push((remaining, row));
        }
    }
    rows.sort_by_key(|(remaining, _)| *remaining);
    rows.into_iter().map(|(_, row)| row).collect()
}
