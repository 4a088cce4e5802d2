//! A connection as the API shows it: everything but its secret.

use omniroute_actors::connection::config::Source;
use omniroute_actors::connection::snapshot::Snapshot;
use serde_json::{Map, Value, json};

use super::live;
use crate::gateway::directory::Listed;
use crate::routes::body::{iso, iso_or_null, put};
use crate::store::{ConnectionRow, OauthSummary};

/// What stands in the place of a secret.
const MASK: &str = "***";

/// Whether a field of the provider's own data may hold a secret, to judge by its name.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = ["key", "token", "secret", "password", "credential", "cookie", "authorization"];
    ends.iter().any(|end| name.ends_with(end))
}

/// One connection with its state, if it has one.
pub(super) fn connection(listed: &Listed, live: Option<&Snapshot>, account: Option<&OauthSummary>) -> Value {
    let parts =
        [configured(&listed.row), reported(&listed.row, live), origin(listed, live), absent(), signed_in(account)];
    parts.into_iter().filter_map(|part| part.as_object().cloned()).flatten().collect::<Map<_, _>>().into()
}

fn configured(row: &ConnectionRow) -> Value {
    json!({
        "id": row.id,
        "provider": row.provider,
        "authType": row.auth_type,
        "name": row.name,
        "priority": row.priority,
        "globalPriority": row.global_priority,
        "isActive": row.is_active,
        "defaultModel": row.default_model,
        "rateLimitProtection": row.rate_limit_protection,
        "group": row.group_name,
        "maxConcurrent": row.max_concurrent,
        "providerSpecificData": masked(&row.provider_specific_data),
        "createdAt": iso(row.created_at),
        "updatedAt": iso(row.updated_at),
    })
}

fn reported(row: &ConnectionRow, live: Option<&Snapshot>) -> Value {
    let cooldown = live.and_then(|snapshot| snapshot.cooldown).map(|(until, _)| until.0);
    let terminal = live.and_then(|snapshot| snapshot.terminal).map(|terminal| terminal.as_str());
    json!({
        "testStatus": terminal.unwrap_or(&row.test_status),
        "lastError": row.last_error,
        "lastErrorAt": iso_or_null(row.last_error_at),
        "lastErrorType": row.last_error_type,
        "lastErrorSource": row.last_error_source,
        "errorCode": row.error_code,
        "lastTested": iso_or_null(row.last_tested),
        "backoffLevel": live.map_or(0, |snapshot| snapshot.backoff_level),
        "rateLimitedUntil": iso_or_null(cooldown),
    })
}

fn origin(listed: &Listed, live: Option<&Snapshot>) -> Value {
    json!({
        "source": listed.source,
        "sourceLabel": listed.source.label(),
        "readOnly": listed.source != Source::Database,
        "hasCredential": listed.row.credential.is_some() || listed.row.credential_unreadable,
        "credentialUnreadable": listed.row.credential_unreadable,
        "problem": listed.problem,
        "state": live.map(|snapshot| live::word(snapshot.state)),
        "breaker": live.map(|snapshot| live::upper(snapshot.breaker)),
        "needsAttention": live.is_some_and(|snapshot| snapshot.needs_attention.is_some()),
    })
}

/// What is known of the account; null for connections with a key.
fn signed_in(account: Option<&OauthSummary>) -> Value {
    let told = |name: &str| account.and_then(|account| account.about.get(name)).cloned().unwrap_or_default();
    let ends = iso_or_null(account.and_then(|account| account.expires_at));
    json!({
        "displayName": told("displayName"),
        "email": told("email"),
        "scope": told("scope"),
        "tokenType": told("tokenType"),
        "expiresAt": ends,
        "tokenExpiresAt": ends,
        "lastHealthCheckAt": iso_or_null(account.map(|account| account.obtained_at)),
    })
}

/// Fields of the original about things that nobody has here.
fn absent() -> Value {
    let mut fields = json!({"consecutiveUseCount": 0});
    for name in ["healthCheckInterval", "lastUsedAt", "projectId"] {
        put(&mut fields, name, Value::Null);
    }
    fields
}

fn masked(data: &Value) -> Value {
    match data {
        Value::Object(fields) => Value::Object(fields.iter().map(masked_field).collect::<Map<_, _>>()),
        Value::Array(items) => items.iter().map(masked).collect(),
        other => other.clone(),
    }
}

fn masked_field((name, value): (&String, &Value)) -> (String, Value) {
    let hidden = is_secret_name(name) && !value.is_null() && !value.is_boolean();
    (name.clone(), if hidden { Value::from(MASK) } else { masked(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_looks_like_a_secret_is_masked_at_every_depth() {
        let data = json!({"baseUrl": "https://a", "consoleApiKey": "k", "extra": [{"refresh_token": "t", "tag": "x"}]});

        let shown = masked(&data);

        let expected = json!({
            "baseUrl": "https://a", "consoleApiKey": "***", "extra": [{"refresh_token": "***", "tag": "x"}]
        });
        assert_eq!(shown, expected);
    }
}
