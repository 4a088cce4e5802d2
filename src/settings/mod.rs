//! What operators set while the gateway runs: one row each in the store, all of them read together.
//!
//! ```text
//! PUT /api/settings/... -> row -> Directory::refresh -> RunTimeSettings::read -> published with the plan
//! ```
//! A request takes the settings of the moment at which it begins. A row that does not fit (written by another version,
//! put back from a backup) is passed over with a word in the log: it never keeps the gateway from starting.

pub mod general;
pub mod ip_filter;
pub mod proxies;
pub mod system_prompt;
pub mod thinking;
pub mod travel;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use general::General;
pub use ip_filter::IpFilter;
pub use proxies::Proxies;
pub use system_prompt::SystemPrompt;
pub use thinking::ThinkingBudget;

use crate::gateway::combo_settings::{COMBO_DEFAULTS_SETTING, ComboSettings};
use crate::store::SettingRow;

/// The name under which changes of the resilience numbers are stored.
pub const RESILIENCE: &str = "resilience";

/// A setting with a row of its own.
pub trait Stored: DeserializeOwned + Default {
    /// The name of its row.
    const KEY: &'static str;

    /// From its row, as far as that fits.
    fn of(stored: Option<&Value>) -> Self {
        let Some(stored) = stored else { return Self::default() };
        serde_json::from_value(stored.clone()).unwrap_or_else(|error| {
            tracing::error!(setting = Self::KEY, %error, "a stored setting does not fit and is ignored");
            Self::default()
        })
    }
}

/// All of them at one moment.
#[derive(Debug, Clone, Default)]
pub struct RunTimeSettings {
    /// What concerns the gateway as a whole.
    pub general: General,
    /// Which addresses are let in.
    pub ip_filter: IpFilter,
    /// The proxies of the way out.
    pub proxies: Proxies,
    /// The operator's own instructions.
    pub system_prompt: SystemPrompt,
    /// How much models think.
    pub thinking: ThinkingBudget,
    /// What holds for all combos.
    pub combos: ComboSettings,
    /// Changes of the resilience numbers.
    pub resilience: Option<Value>,
}

impl RunTimeSettings {
    /// From the rows of the store.
    pub fn read(rows: &[SettingRow]) -> Self {
        let value = |key: &str| rows.iter().find(|row| row.key == key).map(|row| &row.value);
        let general = General::of(value(General::KEY));
        let combos = ComboSettings::of(value(COMBO_DEFAULTS_SETTING)).under(&general);
        Self {
            ip_filter: IpFilter::of(value(IpFilter::KEY)),
            proxies: Proxies::of(value(Proxies::KEY)),
            system_prompt: SystemPrompt::of(value(SystemPrompt::KEY)),
            thinking: ThinkingBudget::of(value(ThinkingBudget::KEY)),
            resilience: value(RESILIENCE).cloned(),
            combos,
            general,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(key: &str, value: Value) -> SettingRow {
        SettingRow { key: key.to_owned(), value, version: 1, updated_at: 1 }
    }

    #[test]
    fn rows_that_do_not_fit_are_passed_over_and_the_others_hold() {
        let rows = [
            row(General::KEY, json!(7)),
            row(IpFilter::KEY, json!("open")),
            row(SystemPrompt::KEY, json!({"enabled": "perhaps"})),
            row(ThinkingBudget::KEY, json!({"mode": "auto"})),
            row(COMBO_DEFAULTS_SETTING, json!([])),
        ];

        let read = RunTimeSettings::read(&rows);

        assert_eq!((&read.general, &read.system_prompt), (&General::default(), &SystemPrompt::default()));
        assert_eq!(read.thinking.mode, thinking::Mode::Auto);
    }
}
