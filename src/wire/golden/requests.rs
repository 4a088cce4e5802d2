//! Every client's request for every provider.

use serde_json::{Value, json};

use super::formats::{CLIENTS, PROVIDERS, Provider};
use super::{pretty, stored};
use crate::chat::{EncodeTarget, Format, Message, OutputFormat, PartKind, Refused, Request, Role, Source, Traits};

#[test]
fn every_request_is_written_for_every_provider_as_it_was_reviewed() {
    for client in CLIENTS {
        let request = (client.decode)(client.fixture).unwrap();

        for provider in PROVIDERS {
            stored(&format!("request_{}_to_{}", client.name, provider.name), &written(request.clone(), &provider));
        }
    }
}

/// The body with what is dropped. What is refused is told first, and then what is written without it.
fn written(mut request: Request, provider: &Provider) -> String {
    let mut text = String::new();
    for _ in 0..8 {
        match provider.encoded(&request) {
            Ok(encoded) => {
                text.push_str(&pretty(&encoded.body));
                for dropped in &encoded.dropped {
                    text.push_str(&format!("\ndropped {}: {}", dropped.field, dropped.why));
                }
                if !encoded.way_back.is_empty() {
                    text.push_str(&format!("\n{:#?}", encoded.way_back));
                }
                return text;
            }
            Err(refused) => {
                text.push_str(&format!("refused {}: {}\nwithout it:\n", refused.field, refused.message));
                leave_out(&mut request, &refused);
            }
        }
    }
    panic!("{text}")
}

fn leave_out(request: &mut Request, refused: &Refused) {
    if refused.field == "response_format" {
        request.output = OutputFormat::Text;
        return;
    }
    for message in &mut request.messages {
        message.parts.retain(|part| match &part.kind {
            PartKind::Image(media) => !matches!(media.source, Source::Url { .. }),
            PartKind::File(_) => false,
            _ => true,
        });
    }
}

/// Fields of a chat request that not every format has a place for, as the report names them.
#[test]
fn what_a_format_has_no_place_for_is_named() {
    let request = (CLIENTS[0].decode)(CLIENTS[0].fixture).unwrap();

    for provider in PROVIDERS {
        let text = written(request.clone(), &provider);
        let told = |sent: &[&str], named: &[&str]| {
            let is_sent = sent.iter().any(|word| text.contains(word));
            let is_named = named.iter().any(|field| text.contains(&format!("dropped {field}:")));
            assert!(is_sent || is_named, "{provider:?} says nothing of {named:?}\n{text}");
        };

        told(&["Z29vZ2xl"], &["messages[3].seal"]);
        told(&["Two tools fit."], &["messages[3].thinking"]);
        told(&["cache_control", "cachePoint", "cache_breakpoint"], &["messages[0].cache", "cache_control"]);
        told(&["\"strict\": true", "strict_tools"], &["tools[0].strict", "strict"]);
        told(&["\"seed\": 7"], &["seed"]);
        told(&["logit_bias"], &["logit_bias"]);
        told(&["ada-1"], &["user"]);
        told(&["\"blue\""], &["metadata"]);
        told(&["report.pdf", "\"report 1\""], &["messages[2].file"]);
        told(&["cat.jpg"], &["messages[2].image"]);
        told(&["\"animal\"", "refused response_format"], &["response_format"]);
        // Cohere is offered the one tool that was named, and no other.
        told(&["start: ", "REQUIRED"], &["tools[2].format", "tools[2]", "tool_choice"]);
        told(&["unknown_to_all\":"], &["unknown_to_all"]);
    }
}

#[test]
fn text_is_no_kind_of_output_beside_text() {
    let mut request = Request::new(Format::Gemini, "m");
    request.messages = vec![Message::text(Role::User, "hi")];
    let kinds = |kinds: &[&str]| {
        let mut request = request.clone();
        request.modalities = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let encoded = PROVIDERS[0].encoded(&request).unwrap();
        serde_json::from_slice::<Value>(&encoded.body).unwrap()["modalities"].clone()
    };

    let (none, audio) = (kinds(&["text"]), kinds(&["text", "audio"]));

    assert_eq!((none, audio), (Value::Null, json!(["text", "audio"])));
}

#[test]
fn a_shape_that_gives_way_to_a_named_tool_is_named() {
    let mut request = (CLIENTS[0].decode)(CLIENTS[0].fixture).unwrap();
    request.reasoning = None;
    for model in ["anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-3-7-sonnet-20250219"] {
        let target = EncodeTarget { model, stream: false, traits: Traits::default() };
        let encode = if model.starts_with("claude") { PROVIDERS[2].encode } else { PROVIDERS[6].encode };

        let encoded = encode(&request, &target).unwrap();

        assert!(encoded.dropped.iter().any(|dropped| dropped.field == "response_format"), "{model}");
    }
}
