//! Stored policies as routing knows them. Pure.

use std::collections::HashMap;

use omniroute_actors::ids::ProviderId;
use omniroute_actors::router::glob::Glob;
use omniroute_actors::router::policy::{Effect, Hours, Policy, What, When};
use serde_json::{Map, Value};

use crate::providers::usd;
use crate::store::PolicyRow;

/// The days of a week as policies name them.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The policy as routing knows it.
///
/// `None` when what is stored is no policy, as a newer version may write.
pub fn policy(row: &PolicyRow) -> Option<Policy> {
    let part = |name: &str| row.data.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    let (when, what) = (part("when"), part("what"));
    Some(Policy {
        id: row.id.as_str().into(),
        name: row.name.as_str().into(),
        enabled: row.enabled,
        priority: row.priority,
        effect: Effect::parse(&row.effect)?,
        when: When {
            keys: list(&when, "keys", Into::into),
            models: list(&when, "models", Into::into),
            hours: hours(&when).ok()?,
        },
        what: What {
            tags: list(&what, "tags", Into::into),
            regions: list(&what, "regions", Into::into),
            providers: list(&what, "providers", Into::into),
            models: list(&what, "models", Into::into),
            max_input_price: price(&what, "maxInputPrice"),
            max_output_price: price(&what, "maxOutputPrice"),
        },
    })
}

/// The policy with the ids of the providers that it names by a prefix, as everybody names them: routing knows ids alone,
/// and a prohibition that nobody understands would prohibit nothing.
pub fn with_ids(mut policy: Policy, prefixes: &HashMap<String, ProviderId>) -> Policy {
    let what = &mut policy.what;
    let providers: Vec<_> = what.providers.iter().flat_map(|glob| named(glob.as_str(), prefixes)).collect();
    what.providers.extend(providers.into_iter().map(Glob::new));
    let split = what.models.iter().filter_map(|glob| glob.as_str().split_once('/'));
    let full = |(prefix, model)| named(prefix, prefixes).map(move |id| format!("{id}/{model}"));
    let models: Vec<_> = split.flat_map(full).collect();
    what.models.extend(models.iter().map(|model| Glob::new(model)));
    policy
}

/// The providers whose prefix fits and whose id does not.
fn named<'a>(pattern: &str, prefixes: &'a HashMap<String, ProviderId>) -> impl Iterator<Item = &'a str> {
    let glob = Glob::new(pattern);
    let fits = move |(prefix, id): &(&String, &ProviderId)| glob.matches(prefix) && !glob.matches(id.as_str());
    prefixes.iter().filter(fits).map(|(_, id)| id.as_str())
}

fn list<'a, T>(fields: &'a Map<String, Value>, name: &str, of: impl Fn(&'a str) -> T) -> Vec<T> {
    let texts = fields.get(name).and_then(Value::as_array).into_iter().flatten();
    texts.filter_map(Value::as_str).map(of).collect()
}

fn price(fields: &Map<String, Value>, name: &str) -> Option<u64> {
    usd::nano(fields.get(name)?.as_str()?)
}

/// No days, no times: at any time.
fn hours(when: &Map<String, Value>) -> Result<Option<Hours>, ()> {
    let text = |name: &str| when.get(name).and_then(Value::as_str);
    let days: Vec<&str> = list(when, "days", |day| DAYS.into_iter().find(|known| *known == day).unwrap_or_default());
    if days.is_empty() && text("from").is_none() && text("until").is_none() {
        return Ok(None);
    }
    let bit = |(index, day): (usize, &&str)| if days.contains(day) { 1_u8 << index } else { 0 };
    let chosen = DAYS.iter().enumerate().map(bit).fold(0, |bits, bit| bits | bit);
    let offset = when.get("utcOffsetMinutes").and_then(Value::as_i64).unwrap_or(0);
    Ok(Some(Hours {
        days: if days.is_empty() { 0b111_1111 } else { chosen },
        from: text("from").map_or(Some(0), minutes).ok_or(())?,
        to: text("until").map_or(Some(24 * 60), minutes).ok_or(())?,
        offset: i16::try_from(offset).map_err(drop)?,
    }))
}

/// A time of day in minutes; `24:00` is the end of it.
pub fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes) = (hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok()?);
    let in_day = hours < 24 && minutes < 60 || hours == 24 && minutes == 0;
    in_day.then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(what: What) -> What {
        let policy = Policy {
            id: "p".into(),
            name: "p".into(),
            enabled: true,
            priority: 1,
            effect: Effect::Deny,
            when: When::default(),
            what,
        };
        let prefixes = [("own", "node-1"), ("node-1", "node-1"), ("openai", "openai")];
        let prefixes = prefixes.map(|(prefix, id)| (prefix.to_owned(), ProviderId::from(id)));
        with_ids(policy, &HashMap::from(prefixes)).what
    }

    #[test]
    fn a_provider_may_be_named_by_its_prefix_alone_and_before_its_models() {
        let what = meant(What { providers: vec!["o*".into()], models: vec!["own/llama-*".into()], ..What::default() });

        let providers: Vec<_> = what.providers.iter().map(Glob::as_str).collect();
        let models: Vec<_> = what.models.iter().map(Glob::as_str).collect();
        assert_eq!((providers, models), (vec!["o*", "node-1"], vec!["own/llama-*", "node-1/llama-*"]));
    }

    #[test]
    fn what_fits_by_the_id_already_is_said_once() {
        let what = meant(What { providers: vec!["*".into()], models: vec!["openai/gpt-*".into()], ..What::default() });

        assert_eq!((what.providers.len(), what.models.len()), (1, 1));
    }
}
