//! `/api/token-health` and `/api/providers/expiration`: how the accounts that are signed in are doing, and when their tokens
//! end.

use std::sync::Arc;

use actix_web::HttpResponse;
use omniroute_actors::connection::snapshot::Snapshot;
use omniroute_actors::resilience::outcome::Terminal;
use serde_json::{Value, json};

use super::connection_find::accounts;
use super::live;
use crate::gateway::directory::Listed;
use crate::providers::oauth::AUTH_TYPE;
use crate::routes::body::{iso, iso_or_null};
use crate::routes::{Call, Refusal, RouteSpec, Scope};
use crate::store::OauthSummary;

/// A token that nobody can renew is announced so long before its end.
const SOON_MS: i64 = 24 * 3_600_000;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::get("/api/token-health", M, "How many accounts are well, need a look, or a new sign-in", health),
        RouteSpec::get("/api/providers/expiration", M, "When the tokens of accounts end", expiration),
    ]
}

/// How an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Active,
    /// A person will be needed soon.
    ExpiringSoon,
    /// A person is needed.
    Expired,
    /// Nothing is known of its tokens.
    Unknown,
}

impl State {
    /// Renewable tokens end all the time; only one that was refused, or that nobody renews, is a person's business.
    fn of(account: Option<&OauthSummary>, live: Option<&Snapshot>, now: i64) -> Self {
        if live.is_some_and(|snapshot| snapshot.terminal == Some(Terminal::Expired)) {
            return Self::Expired;
        }
        let Some(account) = account else { return Self::Unknown };
        match account.expires_at {
            _ if account.renewable => Self::Active,
            None => Self::Unknown,
            Some(ends) if ends <= now => Self::Expired,
            Some(ends) if ends.saturating_sub(now) < SOON_MS => Self::ExpiringSoon,
            Some(_) => Self::Active,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::ExpiringSoon => "expiring_soon",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }
}

/// An account that is signed in.
struct Entry {
    listed: Arc<Listed>,
    account: Option<OauthSummary>,
    state: State,
}

async fn entries(call: &Call) -> Result<Vec<Entry>, Refusal> {
    let listed = call.app.directory.listed();
    let signed_in: Vec<_> = listed.iter().filter(|entry| entry.row.auth_type == AUTH_TYPE).cloned().collect();
    let (mut known, now) = (accounts(call).await?, call.now());
    let snapshots = live::snapshots(&call.app, &signed_in).await?;
    let entry = |listed: Arc<Listed>| {
        let account = known.remove(&listed.row.id);
        let state = State::of(account.as_ref(), snapshots.get(listed.row.id.as_str()), now);
        Entry { listed, account, state }
    };
    Ok(signed_in.into_iter().map(entry).collect())
}

async fn health(call: Call) -> Result<HttpResponse, Refusal> {
    let all = entries(&call).await?;
    let count = |fits: fn(&Entry) -> bool| all.iter().filter(|entry| fits(entry)).count();
    let errored = count(|entry| entry.state == State::Expired);
    let failed = |entry: &Entry| entry.account.as_ref().is_some_and(|account| account.failure.is_some());
    let warning = all.iter().filter(|entry| entry.state != State::Expired);
    let warning = warning.filter(|entry| entry.state != State::Active || failed(entry)).count();
    let last = all.iter().filter_map(|entry| entry.account.as_ref());
    let last = last.map(|account| account.obtained_at.max(account.failed_at.unwrap_or(0))).max();
    let status = match (errored, warning) {
        (0, 0) => "healthy",
        (0, _) => "warning",
        _ => "error",
    };
    Ok(HttpResponse::Ok().json(json!({
        "total": all.len(), "healthy": all.len() - errored - warning, "errored": errored, "warning": warning,
        "lastCheckAt": iso_or_null(last), "status": status,
    })))
}

async fn expiration(call: Call) -> Result<HttpResponse, Refusal> {
    let (all, now) = (entries(&call).await?, call.now());
    let count = |state: State| all.iter().filter(|entry| entry.state == state).count();
    let ends = |entry: &Entry| entry.account.as_ref().and_then(|account| account.expires_at);
    let next = all.iter().filter_map(ends).filter(|ends| *ends > now).min();
    let mut list: Vec<_> = all.iter().collect();
    list.sort_by_key(|entry| ends(entry).unwrap_or(i64::MAX));
    Ok(HttpResponse::Ok().json(json!({
        "summary": {
            "total": all.len(), "active": count(State::Active), "expiringSoon": count(State::ExpiringSoon),
            "expired": count(State::Expired), "unknown": count(State::Unknown), "nextExpiration": iso_or_null(next),
        },
        "list": list.into_iter().map(shown).collect::<Vec<_>>(),
    })))
}

fn shown(entry: &Entry) -> Value {
    let account = entry.account.as_ref();
    json!({
        "connectionId": entry.listed.row.id,
        "provider": entry.listed.row.provider,
        "name": entry.listed.row.name,
        "email": account.and_then(|account| account.about.get("email")),
        "status": entry.state.word(),
        "expiresAt": iso_or_null(account.and_then(|account| account.expires_at)),
        "renewable": account.map(|account| account.renewable),
        "refreshedAt": account.map(|account| iso(account.obtained_at)),
        "lastFailure": account.and_then(|account| account.failure.clone()),
    })
}
