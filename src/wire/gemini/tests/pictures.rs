//! How closely pictures are looked at.

use rstest::rstest;
use serde_json::Value;

use super::{json, target};
use crate::chat::{Format, Media, Message, Part, PartKind, Request, Role, Source};
use crate::gemini::encode_request;

fn picture(detail: &str) -> Part {
    let source = Source::Base64 { mime: "image/png".into(), data: "AAAA".into() };
    let detail = Some(detail).filter(|detail| !detail.is_empty()).map(str::to_owned);
    Part::new(PartKind::Image(Media { source, detail, name: None }))
}

#[rstest]
#[case(&["low", "low"], Some("MEDIA_RESOLUTION_LOW"), &[])]
#[case(&["high"], Some("MEDIA_RESOLUTION_HIGH"), &[])]
#[case(&["high", "low"], None, &["messages[0].detail"])]
#[case(&["high", ""], None, &["messages[0].detail"])]
#[case(&["auto", ""], None, &[])]
fn how_closely_to_look_is_said_where_it_holds_for_all(
    #[case] details: &[&str],
    #[case] level: Option<&str>,
    #[case] lost: &[&str],
) {
    let mut request = Request::new(Format::OpenAiChat, "m");
    request.messages = vec![Message::new(Role::User, details.iter().map(|detail| picture(detail)).collect())];

    let encoded = encode_request(&request, &target("gemini-2.5-pro")).unwrap();

    let body: Value = json(&encoded.body);
    assert_eq!(body["generationConfig"]["mediaResolution"].as_str(), level);
    let fields: Vec<&str> = encoded.dropped.iter().map(|dropped| dropped.field.as_str()).collect();
    assert_eq!(fields, lost);
}
