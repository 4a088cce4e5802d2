//! The resilience numbers in force, and how they are written: in the words of the API, and in those of older clients.

use serde_json::{Map, Value, json};

use super::resilience_patch::{Changes, overlay};
use crate::config::Resilience;
use crate::routes::Form;

pub use crate::settings::RESILIENCE as SETTING;

/// The numbers in force: the configuration with the stored changes over it. A stored value that no longer fits is
/// passed over.
pub fn effective_resilience(config: &Resilience, stored: Option<&Value>) -> Resilience {
    let Some(stored) = stored.and_then(Value::as_object) else { return config.clone() };
    let mut ignored = Form::default();
    let changes = Changes::read(stored, &mut ignored, &mut Vec::new());
    let mut tree = to_api(config);
    overlay(&mut tree, changes.tree());
    serde_json::from_value(renamed(&tree, &snake)).unwrap_or_else(|error| {
        tracing::error!(%error, "stored resilience settings do not fit and are ignored");
        config.clone()
    })
}

/// The numbers as the API shows them.
pub(super) fn to_api(config: &Resilience) -> Value {
    renamed(&serde_json::to_value(config).unwrap_or_default(), &camel)
}

/// The numbers as clients of older versions know them.
pub(super) fn legacy(tree: &Value) -> Value {
    let at = |path: String| tree.pointer(&path).cloned().unwrap_or_default();
    let profile = |class: &str| {
        let base = at(format!("/connectionCooldown/{class}/baseCooldownMs"));
        let hints = at(format!("/connectionCooldown/{class}/useUpstreamRetryHints")) == json!(true);
        json!({
            "transientCooldown": base,
            "rateLimitCooldown": if hints { json!(0) } else { base.clone() },
            "maxBackoffLevel": at(format!("/connectionCooldown/{class}/maxBackoffSteps")),
            "circuitBreakerThreshold": at(format!("/providerBreaker/{class}/failureThreshold")),
            "circuitBreakerReset": at(format!("/providerBreaker/{class}/resetTimeoutMs")),
        })
    };
    json!({
        "profiles": {"oauth": profile("oauth"), "apikey": profile("apikey")},
        "defaults": {
            "requestsPerMinute": at("/requestQueue/requestsPerMinute".into()),
            "minTimeBetweenRequests": at("/requestQueue/minTimeBetweenRequestsMs".into()),
            "concurrentRequests": at("/requestQueue/concurrentRequests".into()),
        },
    })
}

fn renamed(tree: &Value, rename: &dyn Fn(&str) -> String) -> Value {
    match tree {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (rename(name), renamed(value, rename))).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| {
        let mut letters = word.chars();
        let head = letters.next().map(|letter| letter.to_ascii_uppercase());
        text.chars().chain(head).chain(letters).collect()
    })
}

fn snake(name: &str) -> String {
    let lower = |letter: char| match letter.is_ascii_uppercase() {
        true => format!("_{}", letter.to_ascii_lowercase()),
        false => letter.to_string(),
    };
    name.chars().map(lower).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_lie_over_the_configuration_and_leave_the_rest_alone() {
        let stored =
            json!({"providerBreaker": {"apikey": {"failureThreshold": 3}}, "waitForCooldown": {"enabled": false}});

        let effective = effective_resilience(&Resilience::default(), Some(&stored));

        let mut expected = Resilience::default();
        expected.provider_breaker.apikey.failure_threshold = 3;
        expected.wait_for_cooldown.enabled = false;
        assert_eq!(effective, expected);
        assert_eq!(effective_resilience(&Resilience::default(), None), Resilience::default());
    }

    #[test]
    fn stored_nonsense_is_passed_over() {
        let stored =
            json!({"providerBreaker": {"apikey": {"failureThreshold": "many"}}, "other": 1, "requestQueue": 7});

        assert_eq!(effective_resilience(&Resilience::default(), Some(&stored)), Resilience::default());
    }
}
