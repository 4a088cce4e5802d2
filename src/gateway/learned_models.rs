//! What providers say about their models in the lists that they offer: windows, longest answers, prices,
//! abilities.
//!
//! It lies between the table that is compiled in and what operators store: a provider knows better than a table, an
//! operator better than a provider. It is kept among the settings, by provider, so that a restart begins with it.

use std::collections::{BTreeMap, HashMap};

use omniroute_actors::router::facts::ModelFacts;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::learned_abilities::abilities;
use crate::providers::model_table::{FactsText, PriceText, base_name, own_name};

/// The setting that holds it.
pub const LEARNED_MODELS_SETTING: &str = "learned_models";
/// Windows that a model may have; what lies outside is a mistake of units.
const WINDOWS: std::ops::RangeInclusive<u64> = 256..=100_000_000;

/// Where a window is told, the most exact name first. Google's limit of the input is one, too: what a prompt may have.
const CONTEXT: [&str; 14] = [
    "/top_provider/context_length",
    "/context_length",
    "/context_window",
    "/max_context_length",
    "/max_model_len",
    "/inputTokenLimit",
    "/max_input_tokens",
    "/limits/max_input_tokens",
    "/model_limits/max_sequence_length",
    "/metadata/context_length",
    "/capabilities/limits/max_context_window_tokens",
    "/meta/n_ctx",
    "/context_size",
    "/contextLength",
];
/// Where the longest answer is told.
const OUTPUT: [&str; 9] = [
    "/top_provider/max_completion_tokens",
    "/max_completion_tokens",
    "/max_output_tokens",
    "/outputTokenLimit",
    "/max_output_length",
    "/limits/max_output_tokens",
    "/model_limits/max_output_tokens",
    "/metadata/max_tokens",
    "/capabilities/limits/max_output_tokens",
];

/// What one entry of a provider's list says; nothing where it says nothing.
pub fn told(entry: &Value) -> Option<FactsText> {
    let number = |places: &[&str]| {
        let found =
            places.iter().find_map(|place| entry.pointer(place)?.as_u64().filter(|told| WINDOWS.contains(told)));
        found.and_then(|told| u32::try_from(told).ok())
    };
    let facts = FactsText {
        context: number(&CONTEXT),
        max_output: number(&OUTPUT),
        price: price(entry),
        abilities: abilities(entry),
        ..FactsText::default()
    };
    (facts != FactsText::default()).then_some(facts)
}

/// USD a token, as OpenRouter and those that follow it write it. What is negative there is a price that varies.
fn price(entry: &Value) -> Option<PriceText> {
    let pricing = entry.get("pricing")?;
    let told = |name: &str| per_million(pricing.get(name)?.as_str()?);
    let price = PriceText {
        input: told("prompt")?,
        output: told("completion")?,
        cache_read: told("input_cache_read"),
        cache_write: told("input_cache_write"),
    };
    price.price().is_ok().then_some(price)
}

/// Decimal USD for one, as decimal USD for a million: the point moves, and no digit is lost.
fn per_million(text: &str) -> Option<String> {
    const PLACES: usize = 6;
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction = format!("{fraction:0<PLACES$}");
    let (moved, rest) = fraction.split_at_checked(PLACES)?;
    let rest = rest.trim_end_matches('0');
    let whole = format!("{whole}{moved}");
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    Some(if rest.is_empty() { whole.to_owned() } else { format!("{whole}.{rest}") })
}

/// What one provider said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Said {
    /// When it was asked last.
    pub at: i64,
    /// By the model's id there.
    pub models: BTreeMap<String, FactsText>,
}

/// What all providers said.
#[derive(Debug, Clone, Default)]
pub struct LearnedModels {
    said: BTreeMap<String, Said>,
    /// The same by the models' own names, for ids that are spelled otherwise there.
    by_name: HashMap<(String, String), FactsText>,
}

impl LearnedModels {
    /// From the setting. What cannot be read is learned again.
    pub fn of(setting: Option<&Value>) -> Self {
        let said: BTreeMap<String, Said> =
            setting.and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default();
        let mut by_name = HashMap::new();
        for (provider, said) in &said {
            for (model, facts) in &said.models {
                by_name.entry((provider.clone(), own_name(model))).or_insert_with(|| facts.clone());
            }
        }
        Self { said, by_name }
    }

    /// What the provider said about this model, or about the one that it is a dated edition of.
    pub fn about(&self, provider: &str, model: &str) -> Option<&FactsText> {
        let said = self.said.get(provider)?;
        let name = own_name(model);
        let named = |name: &str| self.by_name.get(&(provider.to_owned(), name.to_owned()));
        said.models.get(model).or_else(|| named(&name)).or_else(|| named(base_name(&name)?))
    }

    /// When the provider was asked last.
    pub fn asked_at(&self, provider: &str) -> Option<i64> {
        self.said.get(provider).map(|said| said.at)
    }

    /// When any provider was asked last.
    pub fn newest(&self) -> Option<i64> {
        self.said.values().map(|said| said.at).max()
    }

    /// Lay what is known over what the table says.
    pub fn over(&self, provider: &str, model: &str, facts: &mut ModelFacts) {
        if let Some(told) = self.about(provider, model)
            && let Err((field, why)) = told.over(facts)
        {
            tracing::warn!(provider, model, field, why, "what a provider says about a model does not fit");
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::openrouter(
        json!({"id": "x", "context_length": 200_000, "top_provider": {"context_length": 131_072, "max_completion_tokens": 8_192}}),
        Some(131_072),
        Some(8_192)
    )]
    #[case::vllm(json!({"id": "x", "max_model_len": 32_768}), Some(32_768), None)]
    #[case::groq(json!({"id": "x", "context_window": 131_072, "max_completion_tokens": 32_768}), Some(131_072), Some(32_768))]
    #[case::mistral(json!({"id": "x", "max_context_length": 128_000}), Some(128_000), None)]
    #[case::gemini(json!({"name": "x", "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536}), Some(1_048_576), Some(65_536))]
    #[case::absurd(json!({"id": "x", "context_length": 3}), None, None)]
    #[case::no_number(json!({"id": "x", "context_length": "many"}), None, None)]
    #[case::null(json!({"id": "x", "context_length": null, "max_model_len": 4_096}), Some(4_096), None)]
    fn windows_are_read_wherever_they_are_told(
        #[case] entry: Value,
        #[case] context: Option<u32>,
        #[case] output: Option<u32>,
    ) {
        let facts = told(&entry).unwrap_or_default();

        assert_eq!((facts.context, facts.max_output), (context, output));
    }

    #[rstest]
    #[case("0.00000015", Some("0.15"))]
    #[case("0.000003", Some("3"))]
    #[case("0", Some("0"))]
    #[case("0.0000000001234", Some("0.0001234"))]
    #[case("1.5", Some("1500000"))]
    #[case("-1", None)]
    #[case("free", None)]
    fn a_price_per_token_becomes_one_per_million(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(per_million(text).as_deref(), expected);
    }

    #[test]
    fn prices_are_learned_whole_or_not_at_all() {
        let both =
            json!({"pricing": {"prompt": "0.0000025", "completion": "0.00001", "input_cache_read": "0.00000125"}});
        let varies = json!({"pricing": {"prompt": "-1", "completion": "-1"}});

        let price = told(&both).unwrap().price.unwrap();

        assert_eq!(
            (price.input.as_str(), price.output.as_str(), price.cache_read.as_deref()),
            ("2.5", "10", Some("1.25"))
        );
        assert_eq!(told(&varies), None);
    }

    #[test]
    fn a_dated_edition_is_known_by_its_base_and_another_model_is_not() {
        let facts = json!({"context": 9_000});
        let learned = LearnedModels::of(Some(&json!({"here": {"at": 1, "models": {"vendor/some-model": facts}}})));
        let context = |provider: &str, model: &str| learned.about(provider, model).and_then(|facts| facts.context);

        assert_eq!(context("here", "vendor/some-model"), Some(9_000));
        assert_eq!(context("here", "some-model-2026-01-31"), Some(9_000));
        assert_eq!(context("here", "some-model-20260131"), Some(9_000));
        assert_eq!((context("here", "some-model-mini"), context("there", "some-model")), (None, None));
    }
}
