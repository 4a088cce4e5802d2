//! Changes of the resilience numbers: checked strictly, clamped to their ranges, kept as a partial tree over the
//! configuration, so that a key nobody changed still follows the file.

use serde_json::{Map, Value, json};

use crate::routes::Form;

/// The classes of connections.
const CLASSES: [&str; 3] = ["oauth", "apikey", "local"];
/// The words of older clients.
const PROFILE: [&str; 5] =
    ["transientCooldown", "rateLimitCooldown", "maxBackoffLevel", "circuitBreakerThreshold", "circuitBreakerReset"];
const DEFAULTS: [&str; 3] = ["requestsPerMinute", "minTimeBetweenRequests", "concurrentRequests"];
/// What an answer holds and a request may send back without meaning it.
const READ_ONLY: [&str; 6] = ["legacy", "state", "ok", "clamped", "version", "updatedAt"];

/// What one value may be.
#[derive(Debug, Clone, Copy)]
enum Leaf {
    Switch,
    Number(i64, i64),
}

const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;

const QUEUE: &[(&str, Leaf)] = &[
    ("autoEnableApiKeyProviders", Leaf::Switch),
    ("requestsPerMinute", Leaf::Number(1, 1_000_000)),
    ("tokensPerMinute", Leaf::Number(0, 1_000_000_000_000)),
    ("minTimeBetweenRequestsMs", Leaf::Number(0, HOUR)),
    ("concurrentRequests", Leaf::Number(1, 10_000)),
    ("maxQueueDepth", Leaf::Number(0, 10_000)),
    ("maxWaitMs", Leaf::Number(1, DAY)),
];
const COOLDOWN: &[(&str, Leaf)] = &[
    ("baseCooldownMs", Leaf::Number(0, DAY)),
    ("useUpstreamRetryHints", Leaf::Switch),
    ("maxBackoffSteps", Leaf::Number(0, 32)),
    ("maxCooldownMs", Leaf::Number(0, DAY)),
    ("terminalProbeIntervalS", Leaf::Number(0, 604_800)),
];
const BREAKER: &[(&str, Leaf)] = &[
    ("failureThreshold", Leaf::Number(1, 1_000)),
    ("degradationThreshold", Leaf::Number(1, 1_000)),
    ("resetTimeoutMs", Leaf::Number(1_000, DAY)),
    ("windowMs", Leaf::Number(1_000, HOUR)),
    ("minimumCalls", Leaf::Number(1, 100_000)),
    ("failureRatePercent", Leaf::Number(1, 100)),
    ("slowCallMs", Leaf::Number(1, DAY)),
    ("slowCallRatePercent", Leaf::Number(0, 100)),
    ("rampMs", Leaf::Number(0, HOUR)),
    ("maxOpenMs", Leaf::Number(1_000, DAY)),
    ("halfOpenSuccesses", Leaf::Number(1, 100)),
    ("probeLeaseMs", Leaf::Number(100, HOUR)),
];
const WAIT: &[(&str, Leaf)] =
    &[("enabled", Leaf::Switch), ("maxRetries", Leaf::Number(0, 10)), ("maxRetryWaitSec", Leaf::Number(0, 300))];
/// Name, leaves, and whether they come once per class.
type Group = (&'static str, &'static [(&'static str, Leaf)], bool);

const GROUPS: [Group; 4] = [
    ("requestQueue", QUEUE, false),
    ("connectionCooldown", COOLDOWN, true),
    ("providerBreaker", BREAKER, true),
    ("waitForCooldown", WAIT, false),
];

/// A value that was moved into its range.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(super) struct Clamped {
    field: String,
    given: i64,
    used: i64,
}

/// Checked changes, as a partial tree.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Changes(Value);

impl Changes {
    /// Read a body or a stored value. What is wrong goes into the form.
    pub(super) fn read(body: &Map<String, Value>, form: &mut Form, clamped: &mut Vec<Clamped>) -> Self {
        let mut tree = Map::new();
        for (name, value) in body {
            if let Some((_, leaves, per_class)) = GROUPS.iter().find(|(group, ..)| group == name) {
                let mut reading = Reading { form, clamped };
                if let Some(read) = reading.group(name, value, leaves, *per_class) {
                    tree.insert(name.clone(), read);
                }
            } else if !matches!(name.as_str(), "profiles" | "defaults") && !READ_ONLY.contains(&name.as_str()) {
                form.unknown(name, GROUPS.map(|(group, ..)| group));
            }
        }
        let mut tree = Value::Object(tree);
        let mut reading = Reading { form, clamped };
        if let Some(profiles) = body.get("profiles") {
            overlay(&mut tree, &reading.profiles(profiles));
        }
        if let Some(defaults) = body.get("defaults") {
            overlay(&mut tree, &reading.defaults(defaults));
        }
        Self(tree)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.as_object().is_none_or(Map::is_empty)
    }

    /// These changes over earlier ones.
    pub(super) fn over(&self, stored: Option<&Value>) -> Value {
        let mut tree = stored.filter(|stored| stored.is_object()).cloned().unwrap_or_else(|| json!({}));
        overlay(&mut tree, &self.0);
        tree
    }

    pub(super) const fn tree(&self) -> &Value {
        &self.0
    }
}

struct Reading<'a> {
    form: &'a mut Form,
    clamped: &'a mut Vec<Clamped>,
}

impl Reading<'_> {
    fn group(&mut self, path: &str, value: &Value, leaves: &[(&str, Leaf)], per_class: bool) -> Option<Value> {
        let Some(fields) = value.as_object() else {
            self.form.problem(path, "Expected an object");
            return None;
        };
        let mut tree = Map::new();
        for (name, value) in fields {
            let place = format!("{path}.{name}");
            let read = match leaves.iter().find(|(leaf, _)| leaf == name) {
                _ if per_class && CLASSES.contains(&name.as_str()) => self.group(&place, value, leaves, false),
                Some((_, leaf)) if !per_class => self.leaf(&place, value, *leaf),
                _ if per_class => {
                    self.form.unknown(&place, CLASSES);
                    None
                }
                _ => {
                    self.form.unknown(&place, leaves.iter().map(|(leaf, _)| *leaf));
                    None
                }
            };
            tree.extend(read.map(|read| (name.clone(), read)));
        }
        Some(Value::Object(tree))
    }

    fn leaf(&mut self, place: &str, value: &Value, leaf: Leaf) -> Option<Value> {
        match (leaf, value) {
            (Leaf::Switch, Value::Bool(_)) => return Some(value.clone()),
            (Leaf::Switch, _) => self.form.problem(place, "Expected true or false"),
            (Leaf::Number(least, most), value) => match whole(value) {
                Some(given) => {
                    let used = given.clamp(least, most);
                    if used != given {
                        self.clamped.push(Clamped { field: place.to_owned(), given, used });
                    }
                    return Some(json!(used));
                }
                None => self.form.problem(place, "Expected a whole number"),
            },
        }
        None
    }

    /// `profiles.oauth.transientCooldown` and its four siblings, in today's words.
    fn profiles(&mut self, value: &Value) -> Value {
        let mut tree = json!({});
        let Some(classes) = value.as_object() else {
            self.form.problem("profiles", "Expected an object");
            return tree;
        };
        for (class, fields) in classes {
            let Some(fields) = fields.as_object().filter(|_| CLASSES.contains(&class.as_str())) else {
                self.form.unknown(&format!("profiles.{class}"), CLASSES);
                continue;
            };
            for (name, value) in fields {
                let place = format!("profiles.{class}.{name}");
                let read = self.profile_field(&place, name, value);
                if let Some((group, leaf, value)) = read {
                    overlay(&mut tree, &json!({group: {class: {leaf: value}}}));
                }
            }
        }
        tree
    }

    fn profile_field(&mut self, place: &str, name: &str, value: &Value) -> Option<(&'static str, &'static str, Value)> {
        let (group, leaf, range) = match name {
            "transientCooldown" => ("connectionCooldown", "baseCooldownMs", Leaf::Number(0, DAY)),
            "maxBackoffLevel" => ("connectionCooldown", "maxBackoffSteps", Leaf::Number(0, 32)),
            "circuitBreakerThreshold" => ("providerBreaker", "failureThreshold", Leaf::Number(1, 1_000)),
            "circuitBreakerReset" => ("providerBreaker", "resetTimeoutMs", Leaf::Number(1_000, DAY)),
            // None of one's own meant: believe the provider.
            "rateLimitCooldown" => {
                let own = self.leaf(place, value, Leaf::Number(0, DAY))?;
                return Some(("connectionCooldown", "useUpstreamRetryHints", json!(own == json!(0))));
            }
            _ => {
                self.form.unknown(place, PROFILE);
                return None;
            }
        };
        Some((group, leaf, self.leaf(place, value, range)?))
    }

    fn defaults(&mut self, value: &Value) -> Value {
        let mut tree = json!({});
        let Some(fields) = value.as_object() else {
            self.form.problem("defaults", "Expected an object");
            return tree;
        };
        for (name, value) in fields {
            let place = format!("defaults.{name}");
            let leaf = if name == "minTimeBetweenRequests" { "minTimeBetweenRequestsMs" } else { name };
            match QUEUE.iter().find(|(known, kind)| *known == leaf && matches!(kind, Leaf::Number(..))) {
                Some((known, kind)) => {
                    if let Some(read) = self.leaf(&place, value, *kind) {
                        overlay(&mut tree, &json!({"requestQueue": {*known: read}}));
                    }
                }
                None => self.form.unknown(&place, DEFAULTS),
            }
        }
        tree
    }
}

/// Numbers written as `5.0` are whole as well.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15)?;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and far below 2^63")]
    value.as_i64().or(Some(number as i64))
}

pub(super) fn overlay(tree: &mut Value, changes: &Value) {
    match (tree, changes) {
        (Value::Object(tree), Value::Object(changes)) => {
            for (name, change) in changes {
                overlay(tree.entry(name.clone()).or_insert(Value::Null), change);
            }
        }
        (place, change) => *place = change.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::resilience_numbers::to_api;
    use super::*;
    use crate::config::Resilience;

    fn read(body: Value) -> (Changes, Vec<Clamped>, Vec<String>) {
        let (mut form, mut clamped) = (Form::default(), Vec::new());
        let changes = Changes::read(body.as_object().unwrap(), &mut form, &mut clamped);
        let problems = form.into_problems().into_iter().map(|detail| detail.field).collect();
        (changes, clamped, problems)
    }

    #[test]
    fn every_number_of_the_configuration_can_be_changed() {
        let tree = to_api(&Resilience::default());

        let (changes, clamped, problems) = read(tree.clone());

        assert_eq!((changes.0, clamped, problems), (tree, vec![], vec![]));
    }

    #[test]
    fn numbers_out_of_range_are_clamped_and_reported() {
        let (changes, clamped, problems) = read(json!({"providerBreaker": {"oauth": {"resetTimeoutMs": 5}}}));

        assert_eq!(changes.0, json!({"providerBreaker": {"oauth": {"resetTimeoutMs": 1000}}}));
        assert_eq!(clamped, [Clamped { field: "providerBreaker.oauth.resetTimeoutMs".into(), given: 5, used: 1000 }]);
        assert!(problems.is_empty());
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_named() {
        let (_, _, mut problems) = read(json!({
            "requestQueue": {"requestsPerMinute": "x", "speed": 1},
            "providerBreaker": {"failureThreshold": 3, "oauth": {"failureThreshold": 1.5}},
            "waitForCooldown": true,
            "other": {},
            "state": {},
        }));
        problems.sort();

        let expected = [
            "other",
            "providerBreaker.failureThreshold",
            "providerBreaker.oauth.failureThreshold",
            "requestQueue.requestsPerMinute",
            "requestQueue.speed",
            "waitForCooldown",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn the_words_of_older_clients_mean_the_same_numbers() {
        let (changes, _, problems) = read(json!({
            "profiles": {"apikey": {
                "transientCooldown": 1000, "rateLimitCooldown": 0, "maxBackoffLevel": 4,
                "circuitBreakerThreshold": 6, "circuitBreakerReset": 20000,
            }},
            "defaults": {"requestsPerMinute": 50, "minTimeBetweenRequests": 10, "concurrentRequests": 2},
        }));

        let expected = json!({
            "connectionCooldown": {"apikey": {"baseCooldownMs": 1000, "useUpstreamRetryHints": true, "maxBackoffSteps": 4}},
            "providerBreaker": {"apikey": {"failureThreshold": 6, "resetTimeoutMs": 20000}},
            "requestQueue": {"requestsPerMinute": 50, "minTimeBetweenRequestsMs": 10, "concurrentRequests": 2},
        });
        assert_eq!((changes.0, problems), (expected, vec![]));
    }
}
