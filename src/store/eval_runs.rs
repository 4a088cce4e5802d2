//! Eval runs: how a suite went on one target, also while it still goes on.
//!
//! Whoever works on a run says so again and again ([`EvalRuns::save`]); one of which nobody says so is interrupted: its
//! process is gone. Only a run that is queued or running changes its status, so that of an end and a cancellation one
//! wins; what was found out until then is kept either way.

use diesel::prelude::*;
use serde_json::Value;

use super::json::JsonText;
use super::schema::eval_runs as runs;
use super::{Store, StoreError};

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvalStatus {
    /// It waits for its turn.
    Queued,
    /// Cases are asked.
    Running,
    /// Every case has its result.
    Done,
    /// Nobody wants it any more.
    Cancelled,
    /// It could not go on.
    Failed,
    /// The process that worked on it has gone.
    Interrupted,
}

const RUNNING: [&str; 2] = [EvalStatus::Queued.as_str(), EvalStatus::Running.as_str()];

impl EvalStatus {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Done, Self::Cancelled, Self::Failed, Self::Interrupted];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether somebody works on it, or will.
    pub fn is_running(name: &str) -> bool {
        RUNNING.contains(&name)
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Queryable, Insertable)]
#[diesel(table_name = runs)]
pub struct EvalRunRow {
    /// Identity.
    pub id: String,
    /// Runs that were begun together have the same.
    pub group_id: Option<String>,
    /// The suite.
    pub suite_id: String,
    /// Its name then.
    pub suite_name: String,
    /// `model`, `combo` or `suite-default`.
    pub target_type: String,
    /// The model or combo.
    pub target_id: Option<String>,
    /// The client key in whose name it asks; none is the operator.
    pub key_id: Option<String>,
    /// How far it is.
    pub status: String,
    /// Until when somebody surely works on it.
    pub run_until: i64,
    /// Cases.
    pub total: i32,
    /// Cases with a result.
    pub done: i32,
    /// Cases that did as expected.
    pub passed: i32,
    /// Cases that did not.
    pub failed: i32,
    /// Cases of which nothing can be said.
    pub errors: i32,
    /// Tokens read.
    pub prompt_tokens: i64,
    /// Tokens written.
    pub completion_tokens: i64,
    /// What it cost, as far as prices are known.
    pub cost_nano_usd: i64,
    /// The times of all cases together.
    pub latency_ms: i64,
    /// The results, a list in the order of the cases.
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    pub results: Value,
    /// Why it could not go on.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: i64,
    /// When its first case was asked.
    pub started_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
}

/// What is known of a run so far.
#[derive(Debug, Clone, PartialEq, Default, AsChangeset)]
#[diesel(table_name = runs)]
pub struct EvalTally {
    /// Cases with a result.
    pub done: i32,
    /// Cases that did as expected.
    pub passed: i32,
    /// Cases that did not.
    pub failed: i32,
    /// Cases of which nothing can be said.
    pub errors: i32,
    /// Tokens read.
    pub prompt_tokens: i64,
    /// Tokens written.
    pub completion_tokens: i64,
    /// What it cost.
    pub cost_nano_usd: i64,
    /// The times of all cases together.
    pub latency_ms: i64,
    /// The results, as JSON.
    pub results: String,
}

/// Operations on runs.
pub struct EvalRuns<'a>(pub(super) &'a Store);

impl EvalRuns<'_> {
    /// Store new runs, all or none.
    pub async fn insert(&self, rows: Vec<EvalRunRow>) -> Result<(), StoreError> {
        self.0
            .write(move |db| {
                for row in rows {
                    diesel::insert_into(runs::table).values(row).execute(db)?;
                }
                Ok(())
            })
            .await
    }

    /// One run.
    pub async fn get(&self, id: &str) -> Result<EvalRunRow, StoreError> {
        let id = id.to_owned();
        self.0.read(move |db| Ok(runs::table.find(id).first(db)?)).await
    }

    /// The newest runs without their results, newest first, of one suite or all.
    pub async fn list(&self, suite: Option<&str>, limit: i64) -> Result<Vec<EvalRunRow>, StoreError> {
        let suite = suite.map(ToOwned::to_owned);
        self.0
            .read(move |db| {
                let mut query = runs::table.select(without_results()).into_boxed();
                if let Some(suite) = suite {
                    query = query.filter(runs::suite_id.eq(suite));
                }
                Ok(query.order((runs::created_at.desc(), runs::id.desc())).limit(limit).load(db)?)
            })
            .await
    }

    /// The runs that were begun together, in the order of their targets.
    pub async fn group(&self, group: &str) -> Result<Vec<EvalRunRow>, StoreError> {
        let group = group.to_owned();
        self.0.read(move |db| Ok(runs::table.filter(runs::group_id.eq(group)).order(runs::id).load(db)?)).await
    }

    /// Somebody works on this run until then, at least; `first` when its first case is asked now. False when nobody wants
    /// it any more.
    pub async fn keep_running(&self, id: &str, until: i64, first: Option<i64>) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.0
            .write(move |db| {
                let running = runs::table.find(&id).filter(runs::status.eq_any(RUNNING));
                let kept = diesel::update(running).set(runs::run_until.eq(until)).execute(db)?;
                if let Some(first) = first {
                    let begun = (runs::status.eq(EvalStatus::Running.as_str()), runs::started_at.eq(first));
                    let queued = runs::table.find(&id).filter(runs::status.eq(EvalStatus::Queued.as_str()));
                    diesel::update(queued).set(begun).execute(db)?;
                }
                Ok(kept > 0)
            })
            .await
    }

    /// What is known of a run by now.
    pub async fn save(&self, id: &str, tally: EvalTally) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.0.write(move |db| Ok(diesel::update(runs::table.find(id)).set(tally).execute(db).map(drop)?)).await
    }

    /// The end of a run. False when it had ended before.
    pub async fn end(&self, id: &str, status: EvalStatus, error: Option<&str>, at: i64) -> Result<bool, StoreError> {
        let changes = (
            runs::status.eq(status.as_str()),
            runs::error.eq(error.map(ToOwned::to_owned)),
            runs::finished_at.eq(Some(at)),
        );
        let id = id.to_owned();
        self.0
            .write(move |db| {
                let running = runs::table.find(id).filter(runs::status.eq_any(RUNNING));
                Ok(diesel::update(running).set(changes).execute(db)? > 0)
            })
            .await
    }

    /// Runs of which nobody has said for a while that they go on are interrupted; says how many.
    pub async fn interrupt_abandoned(&self, before: i64, at: i64) -> Result<usize, StoreError> {
        let changes = (runs::status.eq(EvalStatus::Interrupted.as_str()), runs::finished_at.eq(Some(at)));
        self.0
            .write(move |db| {
                let running = runs::table.filter(runs::status.eq_any(RUNNING)).filter(runs::run_until.lt(before));
                Ok(diesel::update(running).set(changes).execute(db)?)
            })
            .await
    }

    /// Forget a run that has ended; says whether it was there.
    pub async fn delete(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.0
            .write(move |db| {
                let ended = runs::table.find(id).filter(runs::status.ne_all(RUNNING));
                Ok(diesel::delete(ended).execute(db)? > 0)
            })
            .await
    }

    /// Forget what ended before this time, and of the rest all but the newest so many; says how many.
    pub async fn prune(&self, before: i64, keep: i64) -> Result<usize, StoreError> {
        self.0
            .write(move |db| {
                let newest = runs::table.order(runs::created_at.desc()).offset(keep).select(runs::created_at);
                let bound: Option<i64> = newest.first(db).optional()?;
                let before = bound.map_or(before, |bound| before.max(bound.saturating_add(1)));
                let old = runs::table.filter(runs::created_at.lt(before)).filter(runs::status.ne_all(RUNNING));
                Ok(diesel::delete(old).execute(db)?)
            })
            .await
    }
}

/// A list shows how runs went; what each case answered is shown with its run alone.
#[diesel::dsl::auto_type(no_type_alias)]
fn without_results() -> _ {
    let results: diesel::dsl::AsExprOf<&'static str, diesel::sql_types::Text> =
        "[]".into_sql::<diesel::sql_types::Text>();
    (
        runs::id,
        runs::group_id,
        runs::suite_id,
        runs::suite_name,
        runs::target_type,
        runs::target_id,
        runs::key_id,
        runs::status,
        runs::run_until,
        runs::total,
        runs::done,
        runs::passed,
        runs::failed,
        runs::errors,
        runs::prompt_tokens,
        runs::completion_tokens,
        runs::cost_nano_usd,
        runs::latency_ms,
        results,
        runs::error,
        runs::created_at,
        runs::started_at,
        runs::finished_at,
    )
}
