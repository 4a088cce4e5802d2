//! What routing must know of a request, read from what is at hand: nothing is decoded for it.

use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderName};
use omniroute_actors::clock::UnixMillis;
use omniroute_actors::router::config::OverBudget;
use omniroute_actors::router::features::{Effort, Needs, RequestFeatures, TagMatch, Tags};
use serde_json::{Map, Value};

use super::ask::Ask;
use crate::wire::chat::{OutputFormat, Part, PartKind, ReasoningMode, Request};
use crate::wire::openai_chat::{ChatRequest, MediaKinds};
use crate::wire::usage::Usage;

/// The words for a mode pack, a budget in USD, what follows when it is not enough, the effort, and tags.
static MODE: HeaderName = HeaderName::from_static("x-omniroute-mode");
static BUDGET: HeaderName = HeaderName::from_static("x-omniroute-budget");
static OVER_BUDGET: HeaderName = HeaderName::from_static("x-omniroute-budget-fallback");
static EFFORT: HeaderName = HeaderName::from_static("x-omniroute-effort");
static TAGS: HeaderName = HeaderName::from_static("x-omniroute-tags");

/// Tokens of an answer where the client does not bound it.
const USUAL_ANSWER: u32 = 1_024;
/// More tags than this are no description of a request.
const MOST_TAGS: usize = 16;
const LONGEST_WORD: usize = 64;
const NANOS_PER_USD: f64 = 1e9;

/// Who asks, and when.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The client key.
    pub key: Option<Arc<str>>,
    /// The session.
    pub affinity: Option<u64>,
    /// The wall time.
    pub at: UnixMillis,
}

/// What routing looks at.
pub fn of(headers: &HeaderMap, ask: &Ask, origin: Origin) -> RequestFeatures {
    let mut features = match ask.as_chat() {
        Some(chat) => of_chat(chat, ask),
        None => ask.neutral().map(|request| of_request(request, ask)).unwrap_or_default(),
    };
    features.prompt_tokens = whole(Usage::estimate(ask.prompt_chars, 0).prompt_tokens());
    features.key = origin.key;
    features.affinity = origin.affinity;
    features.at = origin.at;
    let header = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(list) = header(&TAGS) {
        add_tags(&mut features.tags, list.split(','));
    }
    features.mode = header(&MODE).filter(|mode| is_word(mode)).map(Arc::from);
    features.effort = header(&EFFORT).and_then(Effort::parse).or(features.effort);
    features.budget = header(&BUDGET).and_then(nano_usd);
    features.over_budget = header(&OVER_BUDGET).and_then(OverBudget::parse);
    features
}

fn of_chat(chat: &ChatRequest, ask: &Ask) -> RequestFeatures {
    let effort = chat.member("reasoning_effort").map(|word| word.trim_matches('"'));
    let schema = chat.member("response_format").is_some_and(is_schema);
    let thinks = effort.is_some_and(|word| word != "none") || chat.member("reasoning").is_some();
    let mut features = RequestFeatures {
        output_tokens: chat.max_output_tokens.map_or(USUAL_ANSWER, whole),
        needs: needs(chat.has_tools, chat.media, schema, thinks && ask.strict),
        effort: effort.and_then(Effort::parse),
        ..RequestFeatures::default()
    };
    let mode = chat.member("tag_match_mode").map(|raw| raw.trim_matches('"'));
    take_labels(&mut features, ask.labels(), mode);
    features
}

fn of_request(request: &Request, ask: &Ask) -> RequestFeatures {
    let mut media = MediaKinds::default();
    for message in &request.messages {
        look(&message.parts, &mut media);
    }
    let schema = matches!(request.output, OutputFormat::JsonSchema { .. });
    let reasoning = request.reasoning.as_ref();
    let thinks = reasoning.is_some_and(|reasoning| reasoning.mode == ReasoningMode::On);
    let effort = reasoning.and_then(|reasoning| reasoning.effort).map(|effort| effort.as_str());
    let mut features = RequestFeatures {
        output_tokens: request.sampling.max_tokens.map_or(USUAL_ANSWER, whole),
        needs: needs(!request.tools.is_empty(), media, schema, thinks && ask.strict),
        effort: effort.and_then(Effort::parse),
        ..RequestFeatures::default()
    };
    let mode = request.rest.get("tag_match_mode").and_then(Value::as_str);
    take_labels(&mut features, ask.labels(), mode);
    features
}

/// Thinking is no need, except where nothing may be left out: a model that cannot think answers all the same.
const fn needs(tools: bool, media: MediaKinds, schema: bool, thinks: bool) -> Needs {
    Needs::NONE
        .and_if(tools, Needs::TOOLS)
        .and_if(media.images, Needs::VISION)
        .and_if(media.audio, Needs::AUDIO)
        .and_if(media.files, Needs::FILES)
        .and_if(schema, Needs::JSON_SCHEMA)
        .and_if(thinks, Needs::REASONING)
}

fn look(parts: &[Part], media: &mut MediaKinds) {
    for part in parts {
        match &part.kind {
            PartKind::Image(_) => media.images = true,
            PartKind::Audio(_) => media.audio = true,
            PartKind::File(_) => media.files = true,
            PartKind::ToolResult(result) => look(&result.parts, media),
            _ => {}
        }
    }
}

fn is_schema(format: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Format<'a> {
        #[serde(rename = "type", borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    serde_json::from_str::<Format<'_>>(format).is_ok_and(|format| format.kind == "json_schema")
}

/// Tags stand among the labels of a client, as a list or with commas between them.
fn take_labels(features: &mut RequestFeatures, metadata: Option<&Map<String, Value>>, mode: Option<&str>) {
    match metadata.and_then(|labels| labels.get("tags")) {
        Some(Value::Array(list)) => add_tags(&mut features.tags, list.iter().filter_map(Value::as_str)),
        Some(Value::String(list)) => add_tags(&mut features.tags, list.split(',')),
        _ => {}
    }
    let inside = || metadata?.get("tag_match_mode")?.as_str();
    if mode.or_else(inside) == Some("all") {
        features.tag_match = TagMatch::All;
    }
}

fn add_tags<'a>(tags: &mut Tags, words: impl Iterator<Item = &'a str>) {
    for word in words.map(str::trim).filter(|word| is_word(word)) {
        if tags.len() < MOST_TAGS && !tags.iter().any(|known| **known == *word) {
            tags.push(Arc::from(word));
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_WORD && !text.contains(char::is_control)
}

/// Of an amount in USD; what is no amount is no budget.
fn nano_usd(text: &str) -> Option<u64> {
    let usd = text.trim_start_matches('$').parse::<f64>().ok().filter(|usd| usd.is_finite() && *usd > 0.0)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and a cast saturates")]
    Some((usd * NANOS_PER_USD) as u64)
}

fn whole(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use bytes::Bytes;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::gateway::client_format::ClientFormat;
    use crate::wire::anthropic;

    fn chat(members: Value) -> Ask {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "12345678"}]});
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        Ask::chat(ChatRequest::parse(Bytes::from(body.to_string())).unwrap())
    }

    fn features(ask: &Ask, headers: &[(&HeaderName, &'static str)]) -> RequestFeatures {
        let named =
            |(name, value): &(&HeaderName, &'static str)| (HeaderName::clone(name), HeaderValue::from_static(value));
        of(&headers.iter().map(named).collect(), ask, Origin::default())
    }

    fn tags(features: &RequestFeatures) -> Vec<&str> {
        features.tags.iter().map(AsRef::as_ref).collect()
    }

    #[rstest]
    #[case::nothing(json!({}), Needs::NONE)]
    #[case::tools(json!({"tools": [{"type": "function", "function": {"name": "f"}}]}), Needs::TOOLS)]
    #[case::image(json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}), Needs::VISION)]
    #[case::schema(json!({"response_format": {"type": "json_schema", "json_schema": {}}}), Needs::JSON_SCHEMA)]
    #[case::object(json!({"response_format": {"type": "json_object"}}), Needs::NONE)]
    #[case::thought(json!({"reasoning_effort": "high"}), Needs::NONE)]
    fn a_chat_request_tells_what_it_needs(#[case] members: Value, #[case] expected: Needs) {
        assert_eq!(features(&chat(members), &[]).needs, expected);
    }

    #[test]
    fn thinking_is_needed_only_where_nothing_may_be_left_out() {
        let mut ask = chat(json!({"reasoning_effort": "high"}));
        assert_eq!(features(&ask, &[]).effort, Some(Effort::High));

        ask.strict = true;

        assert_eq!(features(&ask, &[]).needs, Needs::REASONING);
    }

    #[test]
    fn a_request_of_another_format_tells_the_same() {
        let body = json!({"model": "m", "max_tokens": 77, "tools": [{"name": "f", "input_schema": {}}], "messages": [
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]}]}]});
        let bytes = Bytes::from(body.to_string());
        let request = anthropic::decode_request(&bytes).unwrap();

        let features = features(&Ask::read(ClientFormat::Anthropic, bytes, request), &[]);

        assert_eq!((features.needs, features.output_tokens), (Needs::TOOLS.and(Needs::VISION), 77));
    }

    #[rstest]
    #[case(json!({"metadata": {"tags": ["a", "b", "a", 7]}}), &["a", "b"], TagMatch::Any)]
    #[case(json!({"metadata": {"tags": "a, b,,", "tag_match_mode": "all"}}), &["a", "b"], TagMatch::All)]
    #[case(json!({"metadata": {"tags": 7}, "tag_match_mode": "all"}), &[], TagMatch::All)]
    fn tags_are_read_from_the_labels(#[case] members: Value, #[case] expected: &[&str], #[case] mode: TagMatch) {
        let features = features(&chat(members), &[]);

        assert_eq!((tags(&features).as_slice(), features.tag_match), (expected, mode));
    }

    #[test]
    fn headers_say_what_no_body_has_a_place_for() {
        let headers =
            [(&MODE, "ship-fast"), (&BUDGET, "0.05"), (&OVER_BUDGET, "strict"), (&EFFORT, "low"), (&TAGS, "eu, fast")];

        let features = features(&chat(json!({"metadata": {"tags": ["eu"]}, "max_tokens": 9})), &headers);

        assert_eq!((features.mode.as_deref(), features.budget), (Some("ship-fast"), Some(50_000_000)));
        assert_eq!((features.effort, features.over_budget), (Some(Effort::Low), Some(OverBudget::Strict)));
        assert_eq!((tags(&features), features.prompt_tokens, features.output_tokens), (vec!["eu", "fast"], 2, 9));
    }

    #[rstest]
    #[case("-1")]
    #[case("NaN")]
    #[case("inf")]
    #[case("cheap")]
    fn what_is_no_amount_is_no_budget(#[case] text: &'static str) {
        assert_eq!(features(&chat(json!({})), &[(&BUDGET, text)]).budget, None);
    }
}
