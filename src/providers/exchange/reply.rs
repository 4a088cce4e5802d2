//! What a place that gives tokens answers (RFC 6749, 5.1 and 5.2, and the dialects of the places of the catalogue).

use std::time::Duration;

use omniroute_actors::clock::UnixMillis;
use omniroute_actors::connection::token::{MintFailure, Minted};
use omniroute_actors::resilience::outcome::Outcome;
use secrecy::SecretString;
use serde_json::Value;

/// A token whose end is not told is taken to live so long.
const UNTOLD_MS: i64 = 300_000;
/// No token is trusted longer.
const LONGEST_MS: i64 = 24 * 3_600_000;

/// The token of a good answer.
pub(in crate::providers) fn read(body: &[u8], now: UnixMillis) -> Result<Minted, MintFailure> {
    let broken = |what: &str| MintFailure::own(Outcome::BrokenAnswer, format!("the place that gives tokens {what}"));
    let json: Value = serde_json::from_slice(body).map_err(|_| broken("answered with something that is not JSON"))?;
    let token = ["access_token", "tok"].iter().find_map(|name| json.get(*name)?.as_str());
    let token = token.filter(|token| !token.is_empty()).ok_or_else(|| broken("answered without a token"))?;
    if token.chars().any(|c| c.is_control() || c.is_whitespace() || !c.is_ascii()) {
        return Err(broken("gave one that cannot be sent"));
    }
    let value = SecretString::from(format!("Bearer {token}"));
    Ok(Minted { value, expires_at: UnixMillis(now.0.saturating_add(life(&json, now))), replacement: None })
}

/// How long the token of this answer lives, in milliseconds, where it says so.
pub(in crate::providers) fn told_life(json: &Value, now: UnixMillis) -> Option<i64> {
    Some(life_of(json, now)?.clamp(0, LONGEST_MS))
}

/// How long it lives, in milliseconds: `expires_in` counts seconds from now, `expires_at` (GigaChat) and `exp` name a point in
/// time.
fn life(json: &Value, now: UnixMillis) -> i64 {
    life_of(json, now).unwrap_or(UNTOLD_MS).clamp(0, LONGEST_MS)
}

fn life_of(json: &Value, now: UnixMillis) -> Option<i64> {
    let number = |name: &str| {
        let value = json.get(name)?;
        value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number| number.is_finite())
    };
    let until = |at: f64| (if at >= 1e12 { at } else { at * 1_000.0 }) as i64 - now.0;
    let told = number("expires_in").map(|seconds| (seconds * 1_000.0) as i64);
    told.or_else(|| ["expires_at", "exp"].iter().find_map(|name| number(name)).map(until))
}

/// What a refusal means. The words of the answer are not repeated, they like to quote what was refused; its code is.
pub(in crate::providers) fn refused(status: u16, body: &[u8], retry_after: Option<Duration>) -> MintFailure {
    let outcome = match status {
        400 | 401 => Outcome::AuthRefused,
        403 => Outcome::Forbidden,
        429 => Outcome::RateLimited,
        500.. => Outcome::ServerFault,
        _ => Outcome::BrokenAnswer,
    };
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = code(&json).map(|code| format!(": {code}")).unwrap_or_default();
    let message = format!("the place that gives tokens refused the credential with status {status}{code}");
    MintFailure { outcome, status, retry_after, message, is_final: false }
}

/// The code of a refusal, where it is one and no sentence.
pub(in crate::providers) fn code(json: &Value) -> Option<&str> {
    let code = ["error", "errorCode", "code"].iter().find_map(|name| json.get(*name)?.as_str());
    code.filter(|code| code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)))
}
