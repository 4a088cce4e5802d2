//! The settings of combos: what is built in, what the operator set for all, for one provider, for one combo. Pure.
//!
//! ```text
//! built in  <  comboDefaults  <  providerOverrides[provider]  <  the combo's own config
//! ```
//! Null never overrides. A provider's overrides hold for a combo whose own model steps all lead to that provider: a
//! setting of the whole combo cannot follow two providers at once.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::settings::General;

/// The name under which the operator's settings are stored.
pub const COMBO_DEFAULTS_SETTING: &str = "comboDefaults";

/// What the operator set for all combos.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ComboSettings {
    /// For every combo.
    pub defaults: Map<String, Value>,
    /// For combos of one provider.
    pub overrides: BTreeMap<String, Map<String, Value>>,
}

impl ComboSettings {
    /// From the stored setting; what does not fit is passed over.
    pub fn of(stored: Option<&Value>) -> Self {
        let part = |name: &str| stored.and_then(|stored| stored.get(name)).and_then(Value::as_object);
        let overrides = part("providerOverrides").into_iter().flatten();
        Self {
            defaults: part("comboDefaults").cloned().unwrap_or_default(),
            overrides: overrides.filter_map(|(name, over)| Some((name.clone(), over.as_object()?.clone()))).collect(),
        }
    }

    /// With what is set for the gateway as a whole where nothing is said for combos.
    #[must_use]
    pub fn under(mut self, general: &General) -> Self {
        let wider = [
            ("fallbackStrategy", general.fallback_strategy.as_deref().map(Value::from)),
            ("stickyRoundRobinLimit", general.sticky_round_robin_limit.map(Value::from)),
        ];
        for (name, value) in wider {
            if let Some(value) = value {
                self.defaults.entry(name).or_insert(value);
            }
        }
        self
    }

    /// As it is stored and shown.
    pub fn to_value(&self) -> Value {
        json!({"comboDefaults": self.defaults, "providerOverrides": self.overrides})
    }

    /// The settings in force for a combo with this config of its own.
    pub fn effective(&self, provider: Option<&str>, own: &Map<String, Value>) -> Map<String, Value> {
        let mut settings = built_in();
        let over = provider.and_then(|provider| self.overrides.get(provider));
        for layer in [Some(&self.defaults), over, Some(own)].into_iter().flatten() {
            lay_over(&mut settings, layer);
        }
        settings
    }

    /// The settings in force where no combo says anything.
    pub fn for_all(&self) -> Map<String, Value> {
        self.effective(None, &Map::new())
    }
}

/// What holds when nobody says anything.
///
/// The original tries each target twice, two seconds apart, at connections that it has just cooled down: here a failure
/// goes to the next target at once, and the delay counts only where an operator asks for retries.
pub fn built_in() -> Map<String, Value> {
    let settings = json!({
        "strategy": "priority",
        "maxRetries": 0,
        "retryDelayMs": 2_000,
        "handoffThreshold": 0.85,
        "handoffModel": "",
        "maxMessagesForSummary": 30,
        "stickyRoundRobinLimit": 1,
        "trackMetrics": true,
    });
    settings.as_object().cloned().unwrap_or_default()
}

/// Objects are laid over member by member, so that one weight can be changed without naming the others.
fn lay_over(settings: &mut Map<String, Value>, layer: &Map<String, Value>) {
    for (name, value) in layer {
        match (settings.get_mut(name), value) {
            (_, Value::Null) => {}
            (Some(Value::Object(below)), Value::Object(above)) => lay_over(below, above),
            _ => drop(settings.insert(name.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn settings() -> ComboSettings {
        ComboSettings::of(Some(&json!({
            "comboDefaults": {"maxRetries": 1, "handoffThreshold": 0.7, "weights": {"health": 0.5, "quota": 0.1}},
            "providerOverrides": {"openai": {"maxRetries": 2, "queueTimeoutMs": 5000}, "broken": 7},
        })))
    }

    #[test]
    fn the_nearer_setting_wins() {
        let settings = settings();

        let found = |provider, own| settings.effective(provider, &map(own))["maxRetries"].clone();

        assert_eq!(ComboSettings::default().for_all()["maxRetries"], json!(0));
        assert_eq!(found(None, json!({})), json!(1));
        assert_eq!(found(Some("groq"), json!({})), json!(1));
        assert_eq!(found(Some("openai"), json!({})), json!(2));
        assert_eq!(found(Some("openai"), json!({"maxRetries": 3})), json!(3));
    }

    #[test]
    fn null_overrides_nothing() {
        let found = settings().effective(Some("openai"), &map(json!({"maxRetries": null, "queueTimeoutMs": null})));

        assert_eq!((&found["maxRetries"], &found["queueTimeoutMs"]), (&json!(2), &json!(5000)));
    }

    #[test]
    fn a_group_is_laid_over_member_by_member() {
        let found = settings().effective(None, &map(json!({"weights": {"quota": 0.9}})));

        assert_eq!(found["weights"], json!({"health": 0.5, "quota": 0.9}));
    }

    #[test]
    fn what_is_stored_comes_back_and_nonsense_is_passed_over() {
        let settings = settings();

        assert_eq!(ComboSettings::of(Some(&settings.to_value())), settings);
        assert_eq!(settings.overrides.len(), 1);
        assert_eq!(ComboSettings::of(Some(&json!([1]))), ComboSettings::default());
        assert_eq!(ComboSettings::of(None), ComboSettings::default());
    }
}
