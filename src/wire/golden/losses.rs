//! Nothing is lost without a name, and no name is a lie: what is named was given and did not arrive, what did not arrive is named.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::formats::{PROVIDERS, Provider};
use crate::chat::arbitrary::{self, Hints, Shape};
use crate::chat::{Citation, Dropped, Family, Format, Part, PartKind, Request, Role};

const FORMATS: [Format; 7] = [
    Format::OpenAiChat,
    Format::OpenAiResponses,
    Format::Anthropic,
    Format::Gemini,
    Format::Ollama,
    Format::Cohere,
    Format::Bedrock,
];

/// A setting by its neutral name: how it is given, and every place and value by which some provider is told.
struct Setting {
    name: &'static str,
    give: fn(&mut Request),
    places: &'static [&'static str],
    values: Vec<Value>,
}

fn setting<const N: usize>(
    name: &'static str,
    give: fn(&mut Request),
    places: &'static [&'static str],
    values: [Value; N],
) -> Setting {
    Setting { name, give, places, values: values.to_vec() }
}

fn settings() -> Vec<Setting> {
    vec![
        setting(
            "max_tokens",
            |request| request.sampling.max_tokens = Some(100),
            &[
                "/max_tokens",
                "/max_output_tokens",
                "/generationConfig/maxOutputTokens",
                "/options/num_predict",
                "/inferenceConfig/maxTokens",
            ],
            [json!(100)],
        ),
        setting(
            "temperature",
            |request| request.sampling.temperature = Some(0.5),
            &["/temperature", "/generationConfig/temperature", "/options/temperature", "/inferenceConfig/temperature"],
            [json!(0.5)],
        ),
        setting(
            "top_p",
            |request| request.sampling.top_p = Some(0.25),
            &["/top_p", "/p", "/generationConfig/topP", "/options/top_p", "/inferenceConfig/topP"],
            [json!(0.25)],
        ),
        setting(
            "top_k",
            |request| request.sampling.top_k = Some(7),
            &["/top_k", "/k", "/generationConfig/topK", "/options/top_k", "/additionalModelRequestFields/top_k"],
            [json!(7)],
        ),
        setting("min_p", |request| request.sampling.min_p = Some(0.125), &["/min_p", "/options/min_p"], [json!(0.125)]),
        setting(
            "stop",
            |request| request.sampling.stop = vec!["END".into()],
            &[
                "/stop",
                "/stop_sequences",
                "/generationConfig/stopSequences",
                "/options/stop",
                "/inferenceConfig/stopSequences",
            ],
            [json!("END"), json!(["END"])],
        ),
        setting(
            "seed",
            |request| request.sampling.seed = Some(7),
            &["/seed", "/generationConfig/seed", "/options/seed"],
            [json!(7)],
        ),
        setting(
            "presence_penalty",
            |request| request.sampling.presence_penalty = Some(0.5),
            &["/presence_penalty", "/generationConfig/presencePenalty", "/options/presence_penalty"],
            [json!(0.5)],
        ),
        setting(
            "frequency_penalty",
            |request| request.sampling.frequency_penalty = Some(0.5),
            &["/frequency_penalty", "/generationConfig/frequencyPenalty", "/options/frequency_penalty"],
            [json!(0.5)],
        ),
        setting(
            "logit_bias",
            |request| request.sampling.logit_bias = Some(json!({"5": -1})),
            &["/logit_bias"],
            [json!({"5": -1})],
        ),
        setting(
            "logprobs",
            |request| request.sampling.logprobs = Some(true),
            &["/logprobs", "/generationConfig/responseLogprobs", "/include"],
            [json!(true), json!(["message.output_text.logprobs"])],
        ),
        setting(
            "top_logprobs",
            |request| request.sampling.top_logprobs = Some(3),
            &["/top_logprobs", "/generationConfig/logprobs"],
            [json!(3)],
        ),
        setting(
            "parallel_tools",
            |request| request.parallel_tools = (!request.tools.is_empty()).then_some(false),
            &["/parallel_tool_calls", "/tool_choice/disable_parallel_tool_use"],
            [json!(false), json!(true)],
        ),
        setting(
            "verbosity",
            |request| request.verbosity = Some("low".into()),
            &["/verbosity", "/text/verbosity"],
            [json!("low")],
        ),
        setting("user", |request| request.user = Some("ada".into()), &["/user", "/metadata/user_id"], [json!("ada")]),
        setting(
            "metadata",
            |request| request.metadata = json!({"team": "blue"}).as_object().cloned(),
            &["/metadata"],
            [json!({"team": "blue"})],
        ),
        setting(
            "service_tier",
            |request| request.service_tier = Some("flex".into()),
            &["/service_tier", "/serviceTier/type"],
            [json!("flex")],
        ),
        setting("cache_key", |request| request.cache_key = Some("k1".into()), &["/prompt_cache_key"], [json!("k1")]),
        setting(
            "store",
            // For clients of Responses the gateway keeps the answer itself.
            |request| drop(request.rest.insert("store".into(), json!(request.from != Format::OpenAiResponses))),
            &["/store"],
            [json!(true)],
        ),
        setting(
            "odd_member",
            |request| drop(request.rest.insert("odd_member".into(), json!([1, null]))),
            &["/odd_member"],
            [json!([1, null])],
        ),
    ]
}

fn is_sent(setting: &Setting, body: &Value) -> bool {
    setting.places.iter().filter_map(|place| body.pointer(place)).any(|found| setting.values.contains(found))
}

/// A conversation with all that may stand beside the words, each thing with the number of its message.
fn marked(request: &mut Request, from: Format) {
    request.from = from;
    for (index, message) in request.messages.iter_mut().enumerate() {
        match message.role {
            Role::User => message.name = Some(format!("speaker{index}x")),
            Role::Assistant => cite(&mut message.parts, index),
            Role::System | Role::Developer => {
                message.parts.insert(0, Part::text(format!("x-anthropic-billing-header: cch={index};")));
            }
        }
    }
}

fn cite(parts: &mut [Part], index: usize) {
    for part in parts {
        if let PartKind::Text { citations, .. } = &mut part.kind {
            let url = format!("https://cited.invalid/{index}x");
            let json = json!({"type": "char_location", "cited_text": url}).to_string();
            let native = Some((Family::Anthropic, json)).filter(|_| index.is_multiple_of(2));
            citations.push(Citation { url: Some(url), native, ..Citation::default() });
        }
    }
}

fn all_parts<'a>(parts: &'a [Part], out: &mut Vec<&'a Part>) {
    for part in parts {
        out.push(part);
        if let PartKind::ToolResult(result) = &part.kind {
            all_parts(&result.parts, out);
        }
    }
}

/// Whether the thing that a name stands for is where the name says.
fn stands(request: &Request, field: &str) -> bool {
    if let Some(place) = field.strip_prefix("tools[") {
        let at = place.split(']').next().and_then(|number| number.parse::<usize>().ok());
        return at.is_some_and(|at| at < request.tools.len());
    }
    let Some((at, what)) = field.strip_prefix("messages[").and_then(|rest| rest.split_once("].")) else { return true };
    let Some(message) = at.parse::<usize>().ok().and_then(|at| request.messages.get(at)) else { return false };
    let mut parts = Vec::new();
    all_parts(&message.parts, &mut parts);
    parts.iter().any(|part| match (&part.kind, what) {
        (_, "name") => message.name.is_some(),
        (_, "cache") => part.cache.is_some(),
        (PartKind::Image(media), "detail") => media.detail.is_some(),
        (PartKind::Text { citations, .. }, "citations") => !citations.is_empty(),
        (PartKind::Text { text, .. }, "x-anthropic-billing-header") => text.starts_with(what),
        (PartKind::ToolCall(call), "seal") => call.seal.is_some(),
        (kind, what) => kind.word() == what,
    })
}

fn is_named(dropped: &[Dropped], field: &str) -> bool {
    dropped.iter().any(|dropped| dropped.field == field)
}

/// What stands beside the words of message `index` and neither arrived nor was named.
fn unnamed(request: &Request, index: usize, body: &str, dropped: &[Dropped], provider: &Provider) -> Vec<String> {
    let message = &request.messages[index];
    let place = |what: &str| format!("messages[{index}].{what}");
    let mut parts = Vec::new();
    all_parts(&message.parts, &mut parts);
    let has = |test: fn(&Part) -> bool| parts.iter().any(|part| test(part));
    let cites = |part: &Part| matches!(&part.kind, PartKind::Text { citations, .. } if !citations.is_empty());
    let looks = |part: &Part| matches!(&part.kind, PartKind::Image(media) if media.detail.is_some());
    let takes_marks = ["anthropic", "bedrock"].contains(&provider.name);
    let things = [
        ("name", message.name.is_some(), body.contains(&format!("speaker{index}x"))),
        ("citations", has(cites), body.contains(&format!("cited.invalid/{index}x"))),
        ("detail", has(looks), body.contains("\"detail\":\"high\"") || body.contains("MEDIA_RESOLUTION_HIGH")),
        (
            "cache",
            has(|part| part.cache.is_some()),
            takes_marks || body.contains("cache_control") || body.contains("breakpoint"),
        ),
        ("thinking", has(|part| matches!(part.kind, PartKind::Thinking(_))), body.contains("c2VhbA==")),
        ("x-anthropic-billing-header", message.role.instructs(), body.contains(&format!("cch={index};"))),
    ];
    let lost = things.iter().filter(|(what, given, arrived)| *given && !arrived && !is_named(dropped, &place(what)));
    lost.map(|(what, ..)| place(what)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_setting_is_either_sent_as_it_was_given_or_named(
        neutral in arbitrary::shaped(Shape::common(Format::Cohere)),
        given in prop::collection::vec(any::<bool>(), 20),
    ) {
        let settings = settings();
        for (from, provider) in FORMATS.into_iter().flat_map(|from| PROVIDERS.map(|provider| (from, provider))) {
            let mut request = neutral.clone();
            request.from = from;
            settings.iter().zip(&given).filter(|(_, given)| **given).for_each(|(setting, _)| (setting.give)(&mut request));

            let encoded = provider.encoded(&request).unwrap();

            let body: Value = serde_json::from_slice(&encoded.body).unwrap();
            for (setting, given) in settings.iter().zip(&given) {
                let pair = format!("{} from {from:?} to {provider:?}: {body}", setting.name);
                let silent = match setting.name {
                    "parallel_tools" => request.tools.is_empty(),
                    "store" => from == Format::OpenAiResponses,
                    _ => false,
                };
                if !given || silent {
                    prop_assert!(!is_named(&encoded.dropped, setting.name), "{}", pair);
                } else {
                    prop_assert_ne!(is_sent(setting, &body), is_named(&encoded.dropped, setting.name), "{}", pair);
                }
            }
        }
    }

    #[test]
    fn what_stands_beside_the_words_arrives_or_is_named_by_its_place(
        neutral in arbitrary::shaped(Shape {
            thoughts: Some(Family::Google),
            texts: true,
            long_results: true,
            urls: true,
            detail: Some("high"),
            hints: Hints::SaidAndTools,
            ..Shape::common(Format::Cohere)
        }),
    ) {
        for (from, provider) in FORMATS.into_iter().flat_map(|from| PROVIDERS.map(|provider| (from, provider))) {
            let mut request = neutral.clone();
            marked(&mut request, from);

            match provider.encoded(&request) {
                Err(refused) => prop_assert!(stands(&request, &refused.field), "{:?}", refused),
                Ok(encoded) => {
                    let body = std::str::from_utf8(&encoded.body).unwrap();
                    for dropped in &encoded.dropped {
                        prop_assert!(stands(&request, &dropped.field), "{:?} to {:?}", dropped, provider);
                    }
                    let tells = from == Format::Anthropic && !["anthropic", "bedrock"].contains(&provider.name);
                    prop_assert!(!(tells && body.contains("cch=")), "{:?} to {:?}: {}", from, provider, body);
                    for index in 0..request.messages.len() {
                        let unnamed = unnamed(&request, index, body, &encoded.dropped, &provider);
                        prop_assert!(unnamed.is_empty(), "{:?} from {:?} to {:?}: {}", unnamed, from, provider, body);
                    }
                }
            }
        }
    }
}
