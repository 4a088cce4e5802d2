//! What runs beside the requests for as long as the process lives.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::task::JoinHandle;
use omniroute_actors::supervisor::Ping;

use serde_json::json;

use crate::app::App;
use crate::auth::Sessions;
use crate::evals;
use crate::infra::backups::{LOOK_EVERY, Shelf};
use crate::infra::metrics::{Metrics, UPKEEP_EVERY};
use crate::infra::notify::ServiceManager;
use crate::routes::api::{exchange_configurations, learn_models, recheck_accounts};
use crate::store::{AuditEntry, Engine, StoreError};

const DAY_MS: i64 = 86_400_000;
/// Keys made or revoked by another process, the command line or another instance, are taken up after this.
const NEWS_EVERY: Duration = Duration::from_secs(10);
/// What combos remember is stored this often while it changes; a crash loses so many turns.
const COMBOS_EVERY: Duration = Duration::from_secs(5);
const USES_EVERY: Duration = Duration::from_secs(60);
const SESSIONS_EVERY: Duration = Duration::from_secs(600);
const AUDIT_EVERY: Duration = Duration::from_secs(3_600);
const STATUS_EVERY: Duration = Duration::from_secs(10);
/// A provider whose list of models is old is asked within this time.
const MODELS_EVERY: Duration = Duration::from_secs(300);
/// Somebody whose provider is to be asked again is asked about within this time.
const ACCOUNTS_EVERY: Duration = Duration::from_secs(20);
/// An exchange of configurations that is due begins within this time.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// A flood of large answers takes a hundred megabytes in this time.
const MEMORY_EVERY: Duration = Duration::from_millis(100);

/// Tasks that end when this is dropped.
#[derive(Default)]
pub struct Upkeep(Vec<JoinHandle<()>>);

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Start everything on this thread.
pub fn start(app: &App, metrics: &Arc<Metrics>, backups: &Arc<Shelf>, sessions: &Sessions) -> Upkeep {
    let (metrics, backups) = (Arc::clone(metrics), Arc::clone(backups));
    let accounts = (app.clone(), sessions.clone());
    let mut tasks = vec![
        every(UPKEEP_EVERY, move || count(Arc::clone(&metrics))),
        every(LOOK_EVERY, move || keep_backups(Arc::clone(&backups))),
        with(app, NEWS_EVERY, news),
        with(app, COMBOS_EVERY, combos),
        with(app, USES_EVERY, uses),
        with(app, SESSIONS_EVERY, expired),
        with(app, AUDIT_EVERY, cut_audit),
        with(app, STATUS_EVERY, status),
        with(app, MEMORY_EVERY, memory),
        with(app, MODELS_EVERY, learn_models),
        every(ACCOUNTS_EVERY, move || recheck_accounts(accounts.0.clone(), accounts.1.clone())),
        with(app, SYNC_EVERY, exchange_configurations),
    ];
    // Twice as often as the service manager asks: one late turn of a busy machine is no death.
    tasks.extend(ServiceManager.watchdog().map(|within| with(app, within / 2, alive)));
    Upkeep(tasks)
}

fn with<F: Future<Output = ()> + 'static>(app: &App, pause: Duration, task: fn(App) -> F) -> JoinHandle<()> {
    let app = app.clone();
    every(pause, move || task(app.clone()))
}

fn every<F: Future<Output = ()> + 'static>(pause: Duration, task: impl Fn() -> F + 'static) -> JoinHandle<()> {
    actix_rt::spawn(async move {
        loop {
            tokio::time::sleep(pause).await;
            task().await;
        }
    })
}

async fn count(metrics: Arc<Metrics>) {
    metrics.upkeep();
}

async fn keep_backups(backups: Arc<Shelf>) {
    backups.keep_up().await;
}

/// Only instances that share a database have others who change connections and combos.
async fn news(app: App) {
    if let Err(error) = app.keys.reload(&app.store).await {
        tracing::warn!(%error, "the client keys cannot be read, the old ones stay");
    }
    if app.store.engine() == Engine::Postgres
        && app.directory.is_behind().await.unwrap_or(true)
        && let Err(error) = app.directory.refresh().await
    {
        tracing::warn!(%error, "the directory cannot be read, the old one stays");
    }
}

async fn combos(app: App) {
    if let Err(error) = app.directory.keep(app.clock.wall().0).await {
        tracing::warn!(%error, "what combos remember waits for the store");
    }
}

async fn uses(app: App) {
    if let Err(error) = app.keys.flush_uses(&app.store).await {
        tracing::warn!(%error, "the times of last use wait for the store");
    }
}

async fn expired(app: App) {
    let now = app.clock.wall().0;
    let cleared = [
        ("sessions", app.store.sessions().delete_expired(now).await),
        ("responses", app.store.responses().delete_expired(now).await),
        ("runs", app.store.responses().fail_abandoned(now).await),
        ("evals", evals::clear_away(&app).await),
    ];
    for (what, cleared) in cleared {
        match cleared {
            Ok(0) => {}
            Ok(count) => tracing::debug!(what, count, "what expired was cleared away"),
            Err(error) => tracing::warn!(what, %error, "what expired cannot be cleared away"),
        }
    }
}

/// The point from which the rest can be verified stays.
async fn cut_audit(app: App) {
    let days = i64::from(app.config.load().audit.retention_days);
    if days == 0 {
        return;
    }
    let now = app.clock.wall().0;
    let (before, mut rows) = (now.saturating_sub(days.saturating_mul(DAY_MS)), 0);
    loop {
        match app.store.audit().cut(before, now).await {
            Ok(0) => break,
            Ok(gone) => rows += gone,
            Err(error) => return tracing::warn!(%error, "old rows of the audit log cannot be cut away"),
        }
    }
    if rows > 0
        && let Err(error) = note_cut(&app, now, rows, days).await
    {
        tracing::warn!(%error, rows, "the audit log was cut and did not take that");
    }
}

async fn note_cut(app: &App, now: i64, rows: i64, days: i64) -> Result<(), StoreError> {
    let particulars = json!({"rows": rows, "retentionDays": days});
    app.store.audit().append(AuditEntry::by_system(now, "audit.cut", "audit", particulars)).await.map(drop)
}

async fn memory(app: App) {
    app.overload.look_at_memory(&app.config.load().overload);
}

async fn status(app: App) {
    ServiceManager.status(&format!("serving, {} requests in flight", app.lifecycle.in_flight()));
}

/// Only actors that answer are alive: a stuck actor system is to be restarted.
async fn alive(app: App) {
    match app.registry.send(Ping).timeout(NEWS_EVERY).await {
        Ok(_) => ServiceManager.alive(),
        Err(error) => tracing::error!(%error, "the actor system does not answer"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    const TURN: Duration = Duration::from_millis(5);

    #[actix_rt::test]
    async fn tasks_run_again_and_again_and_end_with_their_owner() {
        let turns = Rc::new(Cell::new(0));
        let counted = Rc::clone(&turns);
        let upkeep = Upkeep(vec![every(TURN, move || {
            counted.set(counted.get() + 1);
            std::future::ready(())
        })]);

        while turns.get() < 3 {
            tokio::time::sleep(TURN).await;
        }
        drop(upkeep);
        tokio::task::yield_now().await;
        let until_dropped = turns.get();
        tokio::time::sleep(TURN * 5).await;

        assert_eq!(turns.get(), until_dropped);
    }
}
