//! The exchange that comes by itself: every `sync.every_min`, with jitter, more rarely while it fails, and by one instance
//! for all that share a database.
//!
//! ```text
//! look: due? ──► claim (a write that only one wins) ──► exchange ──► when next, the claim given back
//! ```

use std::time::Duration;

use serde_json::{Value, json};

use super::sync_exchange::{State, Wanted, exchange};
use crate::app::App;
use crate::routes::Refusal;
use crate::routes::body::iso_or_null;
use crate::store::{AuditEntry, StoreError};

/// A claim ends by itself, so that an instance that died keeps nobody from it. An exchange takes half a minute at most.
const CLAIM_MS: i64 = 120_000;
/// The longest pause after failures, unless the interval itself is longer.
const LONGEST: Duration = Duration::from_secs(6 * 3_600);

/// Exchange when it is time.
pub async fn look(app: App) {
    let sync = app.config.load().sync.clone();
    if sync.every_min == 0 || sync.peer_url.is_empty() {
        return;
    }
    match claim(&app).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => return tracing::warn!(%error, "whether an exchange is due cannot be read"),
    }
    let wanted = Wanted { direction: sync.direction, mode: sync.mode, dry: false };
    let done = exchange(&app, wanted).await.map(|done| {
        let changes = done.changed_something().then_some(done.changes);
        json!({"direction": sync.direction, "scheduled": true, "version": done.version, "changes": changes})
    });
    if let Err(error) = finish(&app, done, Duration::from_secs(sync.every_min.saturating_mul(60))).await {
        tracing::warn!(%error, "what came of the scheduled exchange is not kept");
    }
}

/// Take it on, if it is due and nobody else has it.
async fn claim(app: &App) -> Result<bool, StoreError> {
    let (mut state, version) = State::read(app).await?;
    let now = app.clock.wall().0;
    let past = |moment: Option<i64>| moment.is_none_or(|moment| moment <= now);
    if !state.enabled || !past(state.next_at) || !past(state.claimed_until) {
        return Ok(false);
    }
    state.claimed_until = Some(now.saturating_add(CLAIM_MS));
    match state.store(app, version).await {
        Ok(()) => Ok(true),
        // Another instance was faster, or an operator changed something: it is looked at again soon.
        Err(StoreError::Conflict(_)) => Ok(false),
        Err(other) => Err(other),
    }
}

async fn finish(app: &App, done: Result<Value, Refusal>, every: Duration) -> Result<(), StoreError> {
    let now = app.clock.wall().0;
    let failed = done.is_err();
    let lot = rand::random_range(0.9..=1.1);
    let state = State::change(app, |state| {
        state.failures = if failed { state.failures.saturating_add(1) } else { 0 };
        let pause = i64::try_from(pause(every, state.failures, lot).as_millis()).unwrap_or(i64::MAX);
        (state.next_at, state.claimed_until) = (Some(now.saturating_add(pause)), None);
    });
    let state = state.await?;
    match done {
        Err(refusal) => {
            tracing::warn!(%refusal, failures = state.failures, "the scheduled exchange of configurations failed");
            Ok(())
        }
        // What changed nothing is no event.
        Ok(particulars) if particulars.get("changes").is_none_or(Value::is_null) => Ok(()),
        Ok(particulars) => {
            let entry = AuditEntry::by_system(now, "sync.exchanged", "sync", particulars);
            app.store.audit().append(entry).await.map(drop)
        }
    }
}

/// How long until the next one: the interval, twice as long with each failure in a row, and `lot` of that.
fn pause(every: Duration, failures: u32, lot: f64) -> Duration {
    let longer = every.saturating_mul(2_u32.saturating_pow(failures.min(20)));
    longer.min(LONGEST.max(every)).mul_f64(lot)
}

/// What the status says about it.
pub(super) fn shown(app: &App, state: &State) -> Value {
    let sync = &app.config.load().sync;
    if sync.every_min == 0 {
        return json!({"everyMin": 0});
    }
    json!({
        "everyMin": sync.every_min,
        "direction": sync.direction,
        "mode": sync.mode,
        "nextAt": iso_or_null(state.next_at.filter(|_| state.enabled)),
        "failures": state.failures,
        "running": state.claimed_until.is_some_and(|until| until > app.clock.wall().0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Secret};
    use crate::routes::testing::{Bed, bare};

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_pause_doubles_with_each_failure_up_to_a_bound_and_is_drawn() {
        let pauses = [0, 1, 2, 3, 30].map(|failures| pause(MINUTE * 60, failures, 1.0).as_secs() / 3_600);

        assert_eq!(pauses, [1, 2, 4, 6, 6]);
        assert_eq!(pause(MINUTE * 60 * 24, 5, 1.0), MINUTE * 60 * 24, "never more often than wanted");
        assert_eq!(pause(MINUTE * 10, 0, 0.9), MINUTE * 9);
    }

    /// With a peer that is not there.
    async fn bed() -> Bed {
        let change = |config: &mut Config| {
            config.sync.peer_url = "http://127.0.0.1:1".to_owned();
            config.sync.shared_key = Secret::new("a key that both operators share, long enough");
            config.sync.every_min = 10;
        };
        let bed = bare(change).await;
        State::change(&bed.app, |state| state.enabled = true).await.unwrap();
        bed
    }

    async fn tried(bed: &Bed) -> u32 {
        look(bed.app.clone()).await;
        State::load(&bed.app).await.unwrap().failures
    }

    #[actix_rt::test]
    async fn an_exchange_that_fails_is_tried_again_later_and_later() {
        let bed = bed().await;

        let first = [tried(&bed).await, tried(&bed).await];
        bed.clock.advance(MINUTE * 23);
        let second = tried(&bed).await;
        bed.clock.advance(MINUTE * 23);
        let too_early = tried(&bed).await;

        assert_eq!((first, second, too_early), ([1, 1], 2, 2));
        let state = State::load(&bed.app).await.unwrap();
        assert!(state.last_error.is_some() && state.claimed_until.is_none() && state.last_sync.is_none(), "{state:?}");
        assert_eq!(bed.app.exchanges.counts().pulled, [0, 2]);
    }

    #[actix_rt::test]
    async fn of_several_that_look_one_exchanges_and_a_claim_of_the_dead_ends() {
        let bed = bed().await;

        let taken = [claim(&bed.app).await.unwrap(), claim(&bed.app).await.unwrap()];
        bed.clock.advance(Duration::from_secs(121));
        let later = claim(&bed.app).await.unwrap();

        assert_eq!((taken, later), ([true, false], true));
    }

    #[actix_rt::test]
    async fn what_is_switched_off_is_not_tried() {
        let bed = bed().await;
        State::change(&bed.app, |state| state.enabled = false).await.unwrap();

        assert_eq!(tried(&bed).await, 0);
    }
}
