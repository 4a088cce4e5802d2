//! Whether those who signed in with an account are still who they were: the provider is asked again every
//! `oidc.recheck_min` with the token that renews. One instance asks for all; a provider that is away is asked again soon.

use serde_json::{Value, json};

use super::oidc_provider::{Provider, Unanswered, subject, until};
use crate::app::App;
use crate::auth::{Account, Role, Sessions, held, role_for};
use crate::config::Oidc;
use crate::store::{AuditEntry, SessionRow, StoreError};
use secrecy::{ExposeSecret, SecretString};

const MINUTE_MS: i64 = 60_000;
/// Sessions in one look: a provider is not flooded after a pause.
const MOST: i64 = 20;
/// A session about which the provider could not be asked for that many intervals ends.
const PATIENCE: i64 = 4;

/// What the provider says now.
enum Word {
    /// They may do this.
    Holds(Role, Account),
    /// They may do nothing any more, and why.
    Gone(&'static str),
}

/// Ask about those whose turn it is.
pub async fn look(app: App, sessions: Sessions) {
    let oidc = app.config.load().oidc.clone();
    let every = i64::try_from(oidc.recheck_min).unwrap_or(i64::MAX).saturating_mul(MINUTE_MS);
    if every == 0 || oidc.issuer.is_empty() {
        return;
    }
    let due = match sessions.unchecked(every, MOST).await {
        Ok(due) if due.is_empty() => return,
        Ok(due) => due,
        Err(error) => return tracing::warn!(%error, "the sessions cannot be read"),
    };
    // Found once for all of them; not being found counts for each.
    let provider = Provider::discover(&app, &oidc).await;
    for row in due {
        if let Err(error) = check(&app, &sessions, &provider, row).await {
            tracing::warn!(%error, "what the provider said about a session is not kept");
        }
    }
}

async fn check(
    app: &App,
    sessions: &Sessions,
    provider: &Result<Provider, String>,
    row: SessionRow,
) -> Result<(), StoreError> {
    let Some(refresh) = sessions.begin_check(&row).await? else { return Ok(()) };
    let oidc = app.config.load().oidc.clone();
    let asked = match provider {
        Ok(provider) => ask(app, &oidc, provider, &row, refresh).await,
        Err(why) => Err(why.clone()),
    };
    match asked {
        Ok(Word::Holds(role, account)) => {
            if row.role != role.as_str() {
                let particulars = json!({"subject": row.subject, "from": row.role, "to": role});
                note(app, "auth.session.role_changed", particulars).await?;
            }
            sessions.confirm(row, role, account).await
        }
        Ok(Word::Gone(why)) => end(app, sessions, &row, why).await,
        Err(why) => {
            tracing::warn!(why, subject = row.subject, "the provider could not be asked about a session");
            let every = i64::try_from(oidc.recheck_min).unwrap_or(i64::MAX).saturating_mul(MINUTE_MS);
            let patience = every.saturating_mul(PATIENCE);
            let silent = app.clock.wall().0.saturating_sub(row.confirmed_at.unwrap_or(row.created_at));
            if silent >= patience {
                return end(app, sessions, &row, "the provider could not be asked for too long").await;
            }
            // In the store it counts as asked just now; a minute from now it is its turn again.
            let soon = app.clock.wall().0.saturating_sub(every).saturating_add(MINUTE_MS);
            let asked = SessionRow { checked_at: Some(app.clock.wall().0), ..row };
            app.store.sessions().check(&asked, soon).await.map(drop)
        }
    }
}

async fn ask(
    app: &App,
    oidc: &Oidc,
    provider: &Provider,
    row: &SessionRow,
    refresh: SecretString,
) -> Result<Word, String> {
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.expose_secret())];
    let tokens = match provider.tokens(app, oidc, &form).await {
        Ok(tokens) => tokens,
        Err(Unanswered::Refused(_)) => return Ok(Word::Gone("the provider does not renew the sign-in")),
        Err(Unanswered::Away(why)) => return Err(why),
    };
    let claims = match &tokens.id_token {
        Some(token) => Some(provider.believe(app, oidc, token, None).await?),
        None => provider.user(app, &tokens).await.map_err(|why| why.to_string())?,
    };
    let before = || row.role_values.as_deref().and_then(|values| serde_json::from_str(values).ok()).unwrap_or_default();
    let (held, until) = match &claims {
        Some(claims) if !is_of(claims, row) => return Ok(Word::Gone("the provider speaks of somebody else")),
        Some(claims) => (held(claims, oidc), until(claims)),
        // It renews and says no more: what it said before holds.
        None => (before(), None),
    };
    let account = |held| Account { held, refresh: tokens.refresh_token, until };
    let word = role_for(&held, oidc).map(|role| Word::Holds(role, account(held)));
    Ok(word.unwrap_or(Word::Gone("the account has no role here any more")))
}

/// The part of the subject that does not change: what people call themselves may.
fn is_of(claims: &Value, row: &SessionRow) -> bool {
    let same = |subject: &str| subject.split(" (").next().map(str::to_owned);
    same(&subject(claims)) == same(&row.subject)
}

async fn end(app: &App, sessions: &Sessions, row: &SessionRow, why: &str) -> Result<(), StoreError> {
    sessions.end(row).await?;
    note(app, "auth.session.ended", json!({"subject": row.subject, "why": why})).await
}

async fn note(app: &App, action: &str, particulars: Value) -> Result<(), StoreError> {
    let entry = AuditEntry::by_system(app.clock.wall().0, action, "dashboard-auth", particulars);
    app.store.audit().append(entry).await.map(drop)
}
