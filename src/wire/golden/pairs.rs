//! What a conversation keeps on its way from any client to any provider.
//!
//! A neutral request is written as the client's format writes it, read as from a client, written for the provider, and, where
//! clients speak the provider's format too, read again. Formats differ in what they join and where they put it, so the
//! comparison is of what a model is told: who says what, in which order, with which pictures, calls and results.

use proptest::prelude::*;
use serde_json::Value;

use super::formats::{CLIENTS, Client, PROVIDERS, Provider};
use crate::chat::arbitrary::{self, Shape};
use crate::chat::{Format, Message, PartKind, Request, Role, Source};

/// What every format carries. Some join texts; what they say stays.
const ANY: Shape = Shape { texts: true, long_results: true, ..Shape::common(Format::Cohere) };

/// What a model is told in one turn.
#[derive(Debug, Default, PartialEq)]
struct Turn {
    assistant: bool,
    /// Without line ends: formats join texts by them.
    text: String,
    images: Vec<String>,
    /// Name and arguments.
    calls: Vec<(String, Value)>,
    /// The place of the call among all calls, and what the tool said.
    results: Vec<(Option<usize>, String)>,
}

/// The instructions and the turns.
fn told(request: &Request) -> (String, Vec<Turn>) {
    let (mut instructions, mut turns, mut ids) = (String::new(), Vec::<Turn>::new(), Vec::<String>::new());
    for message in &request.messages {
        if message.role.instructs() {
            instructions.extend(message.parts.iter().filter_map(|part| part.as_text()));
            continue;
        }
        let assistant = message.role == Role::Assistant;
        if turns.last().is_none_or(|turn| turn.assistant != assistant) {
            turns.push(Turn { assistant, ..Turn::default() });
        }
        turns.last_mut().unwrap().hear(message, &mut ids);
    }
    (instructions.replace('\n', ""), turns)
}

impl Turn {
    fn hear(&mut self, message: &Message, ids: &mut Vec<String>) {
        for part in &message.parts {
            match &part.kind {
                PartKind::Text { text, .. } => self.text.push_str(&text.replace('\n', "")),
                PartKind::Image(media) => self.images.push(match &media.source {
                    Source::Base64 { mime, data } => format!("{mime} {data}"),
                    other => format!("{other:?}"),
                }),
                PartKind::ToolCall(call) => {
                    ids.push(call.id.clone());
                    self.calls.push((call.name.clone(), serde_json::from_str(&call.arguments).unwrap()));
                }
                PartKind::ToolResult(result) => {
                    let call = ids.iter().rposition(|id| *id == result.call_id);
                    let text: String = result.parts.iter().filter_map(|part| part.as_text()).collect();
                    self.results.push((call, text.replace('\n', "")));
                }
                _ => {}
            }
        }
    }
}

/// The formats that clients and providers both speak.
fn both() -> impl Iterator<Item = (Client, Provider)> {
    CLIENTS.into_iter().filter_map(|client| Some((client, PROVIDERS.into_iter().find(|one| one.name == client.name)?)))
}

/// The request as a client of that format would send it, read.
fn sent_by(client: &Client, provider: &Provider, neutral: &Request) -> Request {
    let mut neutral = neutral.clone();
    neutral.from = client.format;
    neutral.sampling.max_tokens = Some(100);
    (client.decode)(&provider.encoded(&neutral).unwrap().body).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_client_and_every_provider_keep_what_is_said(neutral in arbitrary::shaped(ANY)) {
        let said = told(&neutral);

        for (client, own) in both() {
            let request = sent_by(&client, &own, &neutral);
            prop_assert_eq!(told(&request), told(&neutral), "{:?}", client);

            for provider in PROVIDERS {
                let encoded = provider.encoded(&request).unwrap();
                let Some(reader) = CLIENTS.iter().find(|reader| reader.name == provider.name) else { continue };
                let arrived = (reader.decode)(&encoded.body).unwrap();
                prop_assert_eq!(&told(&arrived), &said, "{:?} to {:?}", client, provider);
            }
        }
    }

    #[test]
    fn arguments_and_pictures_arrive_byte_for_byte(neutral in arbitrary::shaped(ANY)) {
        for (client, own) in both() {
            let request = sent_by(&client, &own, &neutral);

            for provider in PROVIDERS {
                let body = provider.encoded(&request).unwrap().body;
                let body = std::str::from_utf8(&body).unwrap();
                for part in request.messages.iter().flat_map(|message| &message.parts) {
                    match &part.kind {
                        PartKind::ToolCall(call) => {
                            let quoted = Value::from(call.arguments.as_str()).to_string();
                            let found = body.contains(&call.arguments) || body.contains(&quoted);
                            prop_assert!(found, "{:?} to {:?}: {}", client, provider, call.arguments);
                        }
                        PartKind::Image(media) => {
                            let Source::Base64 { data, .. } = &media.source else { continue };
                            prop_assert!(body.contains(data.as_str()), "{:?} to {:?}", client, provider);
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}
