//! Every client's request for every provider.

use super::formats::{CLIENTS, PROVIDERS, Provider};
use super::{pretty, stored};
use crate::chat::{OutputFormat, PartKind, Refused, Request, Source};

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
