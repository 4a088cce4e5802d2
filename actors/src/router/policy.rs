//! Routing policies: what an operator allows, denies, prefers or requires, per client key, model and time.
//!
//! `when` decides whether a policy speaks about a request at all, `what` which targets it means. Deny removes what it
//! means. As soon as one allowing policy speaks, only what an allowing one means stays. Of what is required, every
//! policy that speaks must mean the target. What is preferred moves to the front and nothing else changes.

use std::sync::Arc;

use super::facts::ModelFacts;
use super::features::RequestFeatures;
use super::glob::Glob;
use crate::clock::UnixMillis;

/// What a policy does with the targets that it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Only these, or those of another allowing policy.
    Allow,
    /// None of these.
    Deny,
    /// These first.
    Prefer,
    /// None but these.
    Require,
}

impl Effect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Deny, Self::Prefer, Self::Require];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Prefer => "prefer",
            Self::Require => "require",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effect| effect.as_str() == word)
    }
}

/// Hours of a week, at a fixed distance from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// Days on which it begins: bit 0 is Monday.
    pub days: u8,
    /// The first minute of the day.
    pub from: u16,
    /// The first minute after it; not after `from` means on the next day.
    pub to: u16,
    /// Minutes that local time is ahead of UTC.
    pub offset: i16,
}

impl Hours {
    const DAY: i64 = 24 * 60;

    /// Whether the moment is inside.
    pub fn contain(&self, at: UnixMillis) -> bool {
        let minutes = at.0.div_euclid(60_000) + i64::from(self.offset);
        let (day, minute) = (minutes.div_euclid(Self::DAY), minutes.rem_euclid(Self::DAY));
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        // The epoch began on a Thursday.
        let on = |day: i64| self.days & (1 << (day + 3).rem_euclid(7)) != 0;
        if from < to {
            return on(day) && (from..to).contains(&minute);
        }
        (on(day) && minute >= from) || (on(day - 1) && minute < to)
    }
}

/// Which requests a policy speaks about; an empty list means any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When {
    /// Client keys, by id.
    pub keys: Vec<Arc<str>>,
    /// Models as the client writes them, or as they are resolved.
    pub models: Vec<Glob>,
    /// Hours.
    pub hours: Option<Hours>,
}

/// Which targets a policy means: every field that says something must hold, of a list one entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct What {
    /// Tags of the connection or its step.
    pub tags: Vec<Arc<str>>,
    /// Regions of the connection.
    pub regions: Vec<Arc<str>>,
    /// Providers.
    pub providers: Vec<Glob>,
    /// Models as their provider calls them, or with `provider/` before.
    pub models: Vec<Glob>,
    /// Nano-USD for a million input tokens: at most this; under deny, more than this.
    pub max_input_price: Option<u64>,
    /// Nano-USD for a million output tokens: at most this; under deny, more than this.
    pub max_output_price: Option<u64>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its id.
    pub id: Arc<str>,
    /// Its name for people.
    pub name: Arc<str>,
    /// Whether it is in force.
    pub enabled: bool,
    /// Of several that prefer, the lower number comes first.
    pub priority: i32,
    /// What it does.
    pub effect: Effect,
    /// To which requests.
    pub when: When,
    /// With which targets.
    pub what: What,
}

/// What a policy sees of a target before a connection is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The provider.
    pub provider: &'a str,
    /// The model as the provider calls it.
    pub model: &'a str,
    /// What is known about it.
    pub facts: &'a ModelFacts,
}

/// What a policy sees of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    /// Tags of the step that leads there.
    pub step_tags: &'a [Arc<str>],
    /// Tags of the connection.
    pub tags: &'a [Arc<str>],
    /// The connection's region.
    pub region: Option<&'a str>,
}

impl Policy {
    /// Whether it speaks about a request for one of these model strings.
    pub fn speaks(&self, features: &RequestFeatures, models: &[&str]) -> bool {
        let when = &self.when;
        let key = when.keys.is_empty() || features.key.as_ref().is_some_and(|key| when.keys.contains(key));
        let model = || when.models.is_empty() || models.iter().any(|model| any(&when.models, model));
        let hours = || when.hours.is_none_or(|hours| hours.contain(features.at));
        self.enabled && key && model() && hours()
    }

    /// Whether its conditions on provider, model and price hold.
    pub fn means_place(&self, place: Place<'_>) -> bool {
        let what = &self.what;
        let named = || {
            what.models.is_empty() || any(&what.models, place.model) || {
                let full = format!("{}/{}", place.provider, place.model);
                any(&what.models, &full)
            }
        };
        (what.providers.is_empty() || any(&what.providers, place.provider)) && named() && self.price_holds(place.facts)
    }

    /// Whether its conditions on tags and region hold.
    pub fn means_account(&self, account: Account<'_>) -> bool {
        let what = &self.what;
        let tagged = |tag: &Arc<str>| account.tags.contains(tag) || account.step_tags.contains(tag);
        let region = || account.region.is_some_and(|own| what.regions.iter().any(|wanted| **wanted == *own));
        (what.tags.is_empty() || what.tags.iter().any(tagged)) && (what.regions.is_empty() || region())
    }

    /// Whether it has to see the connection.
    pub fn is_about_accounts(&self) -> bool {
        !self.what.tags.is_empty() || !self.what.regions.is_empty()
    }

    /// An unknown price is never held against a target, and never for it.
    fn price_holds(&self, facts: &ModelFacts) -> bool {
        let (what, price) = (&self.what, facts.price);
        let pairs = [(what.max_input_price, price.map(|p| p.input)), (what.max_output_price, price.map(|p| p.output))];
        if pairs.iter().all(|(most, _)| most.is_none()) {
            return true;
        }
        match (self.effect, price) {
            (Effect::Deny | Effect::Prefer, None) => false,
            (Effect::Allow | Effect::Require, None) => true,
            (Effect::Deny, Some(_)) => {
                pairs.iter().any(|(most, own)| most.zip(*own).is_some_and(|(most, own)| own > most))
            }
            (_, Some(_)) => pairs.iter().all(|(most, own)| most.zip(*own).is_none_or(|(most, own)| own <= most)),
        }
    }
}

fn any(globs: &[Glob], text: &str) -> bool {
    globs.iter().any(|glob| glob.matches(text))
}

#[cfg(test)]
mod tests {
    use super::super::facts::Price;
    use super::*;

    /// 2025-06-15 15:06:40 UTC, a Sunday.
    const SUNDAY: UnixMillis = UnixMillis(1_750_000_000_000);
    const HOUR: i64 = 3_600_000;

    fn policy(effect: Effect, what: What) -> Policy {
        Policy { id: "p".into(), name: "p".into(), enabled: true, priority: 0, effect, when: When::default(), what }
    }

    fn facts(input: u64, output: u64) -> ModelFacts {
        ModelFacts { price: Some(Price { input, output, ..Price::default() }), ..ModelFacts::default() }
    }

    fn means(policy: &Policy, facts: &ModelFacts) -> bool {
        policy.means_place(Place { provider: "openai", model: "gpt-5.5", facts })
    }

    #[test]
    fn hours_know_days_offsets_and_midnight() {
        let hours = |days, from, to, offset| Hours { days, from, to, offset };
        let (sunday, monday, saturday) = (1 << 6, 1, 1 << 5);
        let table = [
            (hours(sunday, 15 * 60, 16 * 60, 0), 0, true),
            (hours(sunday, 15 * 60, 16 * 60, 0), 1, false),
            (hours(monday, 15 * 60, 16 * 60, 0), 0, false),
            (hours(monday, 0, 120, 600), 0, true),
            (hours(saturday, 22 * 60, 16 * 60, 0), 0, true),
            (hours(sunday, 22 * 60, 16 * 60, 0), 0, false),
            (hours(sunday, 0, 0, 0), 0, true),
            (hours(sunday, 0, 0, 0), 12, false),
            (hours(sunday, 13 * 60, 14 * 60, -120), 0, true),
        ];

        for (index, (hours, later, expected)) in table.into_iter().enumerate() {
            assert_eq!(hours.contain(UnixMillis(SUNDAY.0 + later * HOUR)), expected, "row {index}");
        }
    }

    #[test]
    fn a_policy_speaks_only_about_its_keys_models_and_hours() {
        let mut policy = policy(Effect::Deny, What::default());
        policy.when = When { keys: vec!["k1".into()], models: vec!["gpt-*".into()], hours: None };
        let of = |key: &str| RequestFeatures { key: Some(key.into()), at: SUNDAY, ..Default::default() };

        assert!(policy.speaks(&of("k1"), &["fast", "GPT-5"]));
        assert!(!policy.speaks(&of("k2"), &["gpt-5"]) && !policy.speaks(&of("k1"), &["claude"]));
        assert!(!policy.speaks(&RequestFeatures::default(), &["gpt-5"]));
        policy.when.hours = Some(Hours { days: 0, from: 0, to: 0, offset: 0 });
        assert!(!policy.speaks(&of("k1"), &["gpt-5"]));
        policy.when.hours = None;
        policy.enabled = false;
        assert!(!policy.speaks(&of("k1"), &["gpt-5"]));
    }

    #[test]
    fn what_is_meant_must_hold_in_every_field() {
        let named = |provider: &str, model: &str| What {
            providers: vec![provider.into()],
            models: vec![model.into()],
            ..What::default()
        };

        assert!(means(&policy(Effect::Allow, named("open*", "gpt-?.5")), &ModelFacts::default()));
        assert!(means(&policy(Effect::Allow, named("*", "openai/gpt-*")), &ModelFacts::default()));
        assert!(!means(&policy(Effect::Allow, named("groq", "gpt-*")), &ModelFacts::default()));
    }

    #[test]
    fn a_price_is_a_ceiling_and_deny_is_for_what_is_above_it() {
        let what = What { max_input_price: Some(5), max_output_price: Some(10), ..What::default() };
        let holds = |effect, facts: &ModelFacts| means(&policy(effect, what.clone()), facts);

        assert!(holds(Effect::Require, &facts(5, 10)) && !holds(Effect::Require, &facts(5, 11)));
        assert!(!holds(Effect::Deny, &facts(5, 10)) && holds(Effect::Deny, &facts(6, 1)));
        let unknown = ModelFacts::default();
        assert_eq!(Effect::ALL.map(|effect| holds(effect, &unknown)), [true, false, false, true]);
    }

    #[test]
    fn tags_may_be_the_steps_or_the_connections_and_a_region_is_the_connections() {
        let (eu, us): ([Arc<str>; 1], [Arc<str>; 1]) = (["eu".into()], ["us".into()]);
        let tagged = policy(Effect::Require, What { tags: eu.to_vec(), ..What::default() });
        let placed = policy(Effect::Require, What { regions: eu.to_vec(), ..What::default() });
        let account = |step_tags, tags, region| Account { step_tags, tags, region };

        assert!(tagged.means_account(account(&eu, &us, None)) && tagged.means_account(account(&[], &eu, None)));
        assert!(!tagged.means_account(account(&us, &us, Some("eu"))));
        assert!(placed.means_account(account(&[], &[], Some("eu"))) && !placed.means_account(account(&eu, &eu, None)));
    }
}
