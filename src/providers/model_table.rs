//! What is known about models, as data: `models.toml`, and the same shape for what operators know better.
//!
//! Models are looked up by their own name: what stands before the last slash, vendor words as Bedrock puts them in front,
//! and the case do not matter, and `.`, `:` and `_` count as `-`. So one entry fits a model at all who serve it. Prices are
//! those of the vendor's own list at the date that the file names; elsewhere they are an estimate.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use omniroute_actors::router::facts::{ModelFacts, Price, Tier};
use omniroute_actors::router::features::Needs;
use omniroute_actors::router::glob::Glob;
use serde::{Deserialize, Serialize};

use super::usd;
use super::{Catalog, Class};

/// Words that Bedrock and others put before a model's own name.
const VENDORS: [&str; 18] = [
    "us-",
    "eu-",
    "apac-",
    "jp-",
    "global-",
    "us-gov-",
    "anthropic-",
    "amazon-",
    "meta-",
    "mistral-",
    "cohere-",
    "deepseek-",
    "openai-",
    "qwen-",
    "minimax-",
    "moonshot-",
    "moonshotai-",
    "google-",
];
/// Only before a dot are these words a vendor's: `deepseek-chat` is a name.
const SEPARATOR: char = '.';

/// Decimal USD for a million tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PriceText {
    /// Read.
    pub input: String,
    /// Written.
    pub output: String,
    /// Read from the prompt cache.
    #[serde(skip_serializing_if = "Option::is_none", alias = "cache_read")]
    pub cache_read: Option<String>,
    /// Written to the prompt cache.
    #[serde(skip_serializing_if = "Option::is_none", alias = "cache_write")]
    pub cache_write: Option<String>,
}

impl PriceText {
    /// In nano-USD.
    ///
    /// # Errors
    /// The member that is no amount.
    pub fn price(&self) -> Result<Price, &'static str> {
        let optional = |text: &Option<String>, name: &'static str| {
            text.as_deref().map(|text| usd::nano(text).ok_or(name)).transpose()
        };
        Ok(Price {
            input: usd::nano(&self.input).ok_or("input")?,
            output: usd::nano(&self.output).ok_or("output")?,
            cache_read: optional(&self.cache_read, "cacheRead")?,
            cache_write: optional(&self.cache_write, "cacheWrite")?,
        })
    }
}

/// Facts as they are written; what is left out is not known, or is as elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FactsText {
    /// Tokens that prompt and answer may have together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
    /// Tokens that an answer may have.
    #[serde(skip_serializing_if = "Option::is_none", alias = "max_output")]
    pub max_output: Option<u32>,
    /// What it can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can: Option<Vec<String>>,
    /// What is known of single abilities, where not all of them are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abilities: Option<BTreeMap<String, bool>>,
    /// What it costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceText>,
    /// What it is good at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
    /// Its class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
}

/// The categories that `auto/<category>` knows.
pub const CATEGORIES: [&str; 6] = ["coding", "fast", "cheap", "vision", "reasoning", "general"];

impl FactsText {
    /// Lay these facts over others.
    ///
    /// # Errors
    /// What is no fact: the field and why.
    pub fn over(&self, facts: &mut ModelFacts) -> Result<(), (&'static str, String)> {
        facts.context = self.context.or(facts.context);
        facts.max_output = self.max_output.or(facts.max_output);
        if let Some(words) = &self.can {
            let mut can = Needs::NONE;
            for word in words {
                can = can.and(Needs::parse(word).ok_or_else(|| ("can", format!("`{word}` is no ability")))?);
            }
            facts.can = Some(can);
        }
        if let Some(abilities) = &self.abilities {
            let (mut has, mut lacks) = (Needs::NONE, Needs::NONE);
            for (word, is) in abilities {
                let need = Needs::parse(word).ok_or_else(|| ("abilities", format!("`{word}` is no ability")))?;
                (has, lacks) = (has.and_if(*is, need), lacks.and_if(!*is, need));
            }
            facts.said(has, lacks);
        }
        if let Some(price) = &self.price {
            let price =
                price.price().map_err(|field| ("price", format!("`{field}` is not decimal USD such as 2.50")))?;
            facts.price = Some(price);
        }
        if let Some(words) = &self.categories {
            if let Some(word) = words.iter().find(|word| !CATEGORIES.contains(&word.as_str())) {
                return Err(("categories", format!("`{word}` is not one of {}", CATEGORIES.join(", "))));
            }
            facts.categories = words.iter().map(|word| word.as_str().into()).collect();
        }
        if let Some(word) = &self.tier {
            facts.tier = Some(Tier::parse(word).ok_or_else(|| ("tier", format!("`{word}` is no class")))?);
        }
        Ok(())
    }
}

/// One entry of the file.
#[derive(Debug, Clone, Deserialize)]
struct Entry {
    /// Patterns on the model's own name.
    #[serde(rename = "match")]
    patterns: Vec<String>,
    /// Only at these providers.
    #[serde(default)]
    at: Vec<String>,
    #[serde(flatten)]
    facts: FactsText,
}

#[derive(Debug, Deserialize)]
struct File {
    /// The day of the prices.
    prices_of: String,
    model: Vec<Entry>,
}

#[derive(Debug)]
struct Line {
    globs: Vec<Glob>,
    at: Vec<String>,
    facts: ModelFacts,
}

/// The table, read once.
#[derive(Debug)]
pub struct ModelTable {
    prices_of: String,
    lines: Vec<Line>,
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It is no valid TOML, lacks a field or has one too many.
    #[error("the table of models cannot be read: {0}")]
    Unreadable(#[from] toml::de::Error),
    /// An entry holds what is no fact.
    #[error("the entry for {0}: {1}: {2}")]
    NoFact(String, &'static str, String),
}

static BUILTIN: LazyLock<ModelTable> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the text is compiled in, and a test proves that it can be read")]
    ModelTable::parse(include_str!("models.toml")).expect("the built-in table of models is valid")
});

impl ModelTable {
    /// The table that is compiled in.
    pub fn builtin() -> &'static Self {
        &BUILTIN
    }

    /// Read a table.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let File { prices_of, model } = toml::from_str(text)?;
        let line = |entry: Entry| {
            let mut facts = ModelFacts::default();
            let named = || entry.patterns.join(", ");
            entry.facts.over(&mut facts).map_err(|(field, why)| TableError::NoFact(named(), field, why))?;
            let globs = entry.patterns.iter().map(|pattern| Glob::new(&plain(pattern))).collect();
            Ok(Line { globs, at: entry.at, facts })
        };
        Ok(Self { prices_of, lines: model.into_iter().map(line).collect::<Result<_, TableError>>()? })
    }

    /// The day of the prices.
    pub fn prices_of(&self) -> &str {
        &self.prices_of
    }

    fn line(&self, provider: &str, name: &str) -> Option<&Line> {
        let fits = |line: &&Line| {
            (line.at.is_empty() || line.at.iter().any(|at| at == provider))
                && line.globs.iter().any(|glob| glob.matches(name))
        };
        self.lines.iter().find(fits)
    }

    /// What is known about this model at this provider: the first entry that fits, or that fits its undated name.
    pub fn facts(&self, provider: &str, model: &str) -> ModelFacts {
        let name = own_name(model);
        let line = self.line(provider, &name).or_else(|| self.line(provider, base_name(&name)?));
        let mut facts = line.map(|line| line.facts.clone()).unwrap_or_default();
        let spec = Catalog::builtin().get(provider);
        facts.context = facts.context.or_else(|| spec.and_then(|spec| spec.context));
        if spec.is_some_and(|spec| spec.class == Class::Local) || name.ends_with("-free") {
            facts.price = Some(Price::default());
            facts.tier = Some(Tier::Free);
        }
        facts
    }
}

/// The name without the date or the `latest` of an edition, in the spelling of the table; nothing where there is none. Only
/// whole dates count: what else stands at the end of a name makes another model of it.
pub fn base_name(name: &str) -> Option<&str> {
    let name = name.strip_suffix("-v1-0").unwrap_or(name);
    if let Some(base) = name.strip_suffix("-latest") {
        return Some(base).filter(|base| !base.is_empty());
    }
    let is_date = |digits: &str| {
        let part = |range: std::ops::Range<usize>| digits.get(range)?.parse::<u32>().ok();
        let fits = matches!((part(0..4), part(4..6), part(6..8)), (Some(2020..=2099), Some(1..=12), Some(1..=31)));
        fits && digits.len() == 8
    };
    [(8, 9), (10, 11)].into_iter().find_map(|(length, with_dash)| {
        let (base, date) = name.split_at_checked(name.len().checked_sub(with_dash)?)?;
        let digits: String = date.strip_prefix('-')?.chars().filter(|c| *c != '-').collect();
        (digits.len() == 8 && date.len() == length + 1 && is_date(&digits) && !base.is_empty()).then_some(base)
    })
}

/// A model's own name, in the spelling of the table.
pub fn own_name(model: &str) -> String {
    let last = model.rsplit('/').next().unwrap_or(model);
    let mut rest = last;
    while let Some((word, after)) = rest.split_once(SEPARATOR) {
        let word = format!("{}-", word.to_ascii_lowercase());
        if !VENDORS.contains(&word.as_str()) {
            break;
        }
        rest = after;
    }
    plain(rest)
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '.' | ':' | '_' | ' ') { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("gpt-5.5", "gpt-5-5")]
    #[case("openai/gpt-5.5", "gpt-5-5")]
    #[case("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929-v1-0")]
    #[case("accounts/fireworks/models/deepseek-v3p1", "deepseek-v3p1")]
    #[case("deepseek-chat", "deepseek-chat")]
    #[case("Qwen/Qwen2.5-72B-Instruct", "qwen2-5-72b-instruct")]
    #[case("llama3.3:70b", "llama3-3-70b")]
    fn a_model_has_one_own_name(#[case] model: &str, #[case] expected: &str) {
        assert_eq!(own_name(model), expected);
    }

    #[rstest]
    #[case("gpt-5-2026-01-31", Some("gpt-5"))]
    #[case("claude-x-20260131", Some("claude-x"))]
    #[case("claude-x-20260131-v1-0", Some("claude-x"))]
    #[case("mistral-large-latest", Some("mistral-large"))]
    #[case("gpt-4-0613", None)]
    #[case("model-20261399", None)]
    #[case("model-12345678", None)]
    #[case("20260131", None)]
    #[case("some-mini", None)]
    fn only_a_whole_date_or_latest_is_an_edition(#[case] name: &str, #[case] expected: Option<&str>) {
        assert_eq!(base_name(name), expected);
    }

    #[test]
    fn an_edition_that_no_entry_names_has_the_facts_of_its_base() {
        let table =
            ModelTable::parse("prices_of = \"2026-01-01\"\n[[model]]\nmatch = [\"some-model\"]\ncontext = 9000\n")
                .unwrap();

        let context = |model: &str| table.facts("nobody", model).context;

        assert_eq!((context("some-model-2026-01-31"), context("some-model-mini")), (Some(9_000), None));
    }

    #[test]
    fn the_builtin_table_can_be_read_and_dates_its_prices() {
        let table = ModelTable::builtin();

        assert!(table.lines.len() > 80, "{}", table.lines.len());
        assert!(table.prices_of().parse::<jiff::civil::Date>().is_ok());
    }

    #[test]
    fn no_entry_is_hidden_by_an_earlier_one() {
        let table = ModelTable::builtin();
        for (index, line) in table.lines.iter().enumerate() {
            for glob in &line.globs {
                let example = glob.as_str().replace(['*', '?'], "");
                let provider = line.at.first().map_or("nobody", String::as_str);
                let fits = |other: &&Line| {
                    (other.at.is_empty() || other.at.iter().any(|at| at == provider))
                        && other.globs.iter().any(|glob| glob.matches(&example))
                };
                let first = table.lines.iter().position(|other| fits(&other));
                assert!(first.is_some_and(|first| first >= index), "{} is hidden by line {first:?}", glob.as_str());
            }
        }
    }

    #[test]
    fn most_models_of_the_catalogue_are_known() {
        let table = ModelTable::builtin();
        let all = Catalog::builtin().iter().flat_map(|spec| spec.models.iter().map(move |model| (&spec.id, model)));
        let all: Vec<_> = all.collect();

        let unknown: Vec<_> = all.iter().filter(|(id, model)| table.facts(id, model).can.is_none()).collect();

        assert!(unknown.len() * 10 < all.len(), "{} of {}: {unknown:?}", unknown.len(), all.len());
    }

    #[rstest]
    #[case::openai("openai", "gpt-5.5", true)]
    #[case::anthropic("anthropic", "claude-sonnet-4.6", true)]
    #[case::dated("anthropic", "claude-sonnet-4-6-20260101", true)]
    #[case::bedrock("bedrock", "eu.anthropic.claude-haiku-4-5-20251001-v1:0", true)]
    #[case::google("gemini", "gemini-2.5-flash", true)]
    #[case::unknown("openai", "nobody-knows-this", false)]
    fn the_main_families_have_prices(#[case] provider: &str, #[case] model: &str, #[case] known: bool) {
        assert_eq!(ModelTable::builtin().facts(provider, model).price.is_some(), known);
    }

    #[test]
    fn the_larger_of_a_family_costs_more_and_the_cache_less() {
        let price = |model: &str| ModelTable::builtin().facts("x", model).price.unwrap();

        for (small, large) in [
            ("gpt-5-nano", "gpt-5-mini"),
            ("gpt-5-mini", "gpt-5"),
            ("claude-haiku-4-5", "claude-sonnet-4-5"),
            ("claude-sonnet-4-5", "claude-opus-4-5"),
            ("gemini-2.5-flash-lite", "gemini-2.5-flash"),
            ("gemini-2.5-flash", "gemini-2.5-pro"),
        ] {
            assert!(price(small).output < price(large).output, "{small} and {large}");
            assert!(price(large).cache_read.is_some_and(|cached| cached < price(large).input), "{large}");
        }
    }

    #[test]
    fn a_local_server_and_a_free_model_cost_nothing() {
        let facts = |provider, model| ModelTable::builtin().facts(provider, model);

        assert_eq!(facts("ollama", "llama3.3:70b").price, Some(Price::default()));
        assert_eq!(facts("openrouter", "deepseek/deepseek-chat-v3:free").tier, Some(Tier::Free));
    }

    #[test]
    fn what_is_no_fact_is_refused() {
        let wrong = |facts: FactsText| facts.over(&mut ModelFacts::default()).unwrap_err().0;

        assert_eq!(wrong(FactsText { can: Some(vec!["flight".into()]), ..FactsText::default() }), "can");
        assert_eq!(wrong(FactsText { tier: Some("best".into()), ..FactsText::default() }), "tier");
        assert_eq!(wrong(FactsText { categories: Some(vec!["magic".into()]), ..FactsText::default() }), "categories");
        assert_eq!(wrong(FactsText { price: Some(PriceText::default()), ..FactsText::default() }), "price");
    }
}
