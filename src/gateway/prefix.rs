//! Which targets go on with the beginning of an answer, and how they want to be told that it is one.
//!
//! The catalogue says it per provider and model, where the provider documents it; nothing is guessed. An operator
//! knows more about an endpoint of its own: `prefill` among the connection's data overrules the catalogue.

use bytes::Bytes;
use omniroute_actors::connection::config::UpstreamTarget;
use serde_json::Value;

use super::assemble::quirk_bit;
use crate::providers::Quirk;

/// The words for `prefill`: the message alone, with `prefix: true`, with `partial: true`, or not at all.
pub const WORDS: [&str; 4] = ["assistant", "prefix", "partial", "none"];

const KINDS: [(&str, Quirk); 3] =
    [("assistant", Quirk::ContinuesAssistant), ("prefix", Quirk::PrefixFlag), ("partial", Quirk::PartialFlag)];

/// How a target is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// By the message of the model at the end.
    Plain,
    /// By a member of that message.
    Flag(&'static str),
}

/// How this target is told; nothing where it cannot go on with a beginning.
pub fn of(target: &UpstreamTarget) -> Option<Prefix> {
    let (word, _) = KINDS.into_iter().find(|(_, quirk)| target.quirks & quirk_bit(*quirk) != 0)?;
    Some(if word == "assistant" { Prefix::Plain } else { Prefix::Flag(word) })
}

/// The oddities of a connection whose data may say `prefill`.
pub fn overruled(quirks: u32, data: &Value) -> u32 {
    let Some(said) = data.get("prefill").and_then(Value::as_str).filter(|said| WORDS.contains(said)) else {
        return quirks;
    };
    let without = KINDS.into_iter().fold(quirks, |bits, (_, quirk)| bits & !quirk_bit(quirk));
    let own = KINDS.into_iter().find(|(word, _)| *word == said);
    own.map_or(without, |(_, quirk)| without | quirk_bit(quirk))
}

/// The body with the beginning marked as such.
pub fn marked(body: Bytes, how: Option<Prefix>) -> Bytes {
    let Some(Prefix::Flag(flag)) = how else { return body };
    let Ok(mut request) = serde_json::from_slice::<Value>(&body) else { return body };
    let last = request.get_mut("messages").and_then(Value::as_array_mut).and_then(|messages| messages.last_mut());
    match last.and_then(Value::as_object_mut) {
        Some(message) => drop(message.insert(flag.to_owned(), Value::Bool(true))),
        None => return body,
    }
    serde_json::to_vec(&request).map_or(body, Bytes::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_operators_word_about_an_endpoint_overrules_the_catalogue() {
        let known = quirk_bit(Quirk::PrefixFlag) | quirk_bit(Quirk::ShortCallIds);

        let none = overruled(known, &json!({"prefill": "none"}));
        let other = overruled(known, &json!({"prefill": "partial"}));

        assert_eq!(none, quirk_bit(Quirk::ShortCallIds));
        assert_eq!(other, quirk_bit(Quirk::ShortCallIds) | quirk_bit(Quirk::PartialFlag));
        assert_eq!(overruled(known, &json!({"prefill": "perhaps"})), known);
    }

    #[test]
    fn the_beginning_is_marked_where_the_provider_wants_a_mark() {
        let body =
            Bytes::from_static(br#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]}"#);

        let marked = |how| serde_json::from_slice::<Value>(&super::marked(body.clone(), how)).unwrap();

        assert_eq!(marked(Some(Prefix::Flag("prefix")))["messages"][1]["prefix"], true);
        assert_eq!(marked(Some(Prefix::Flag("prefix")))["messages"][0].get("prefix"), None);
        assert_eq!(marked(Some(Prefix::Plain))["messages"][1], json!({"role": "assistant", "content": "y"}));
    }
}
