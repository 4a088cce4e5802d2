//! What the gateway hides in `encrypted_content`, the one field that Responses clients give back untouched.
//!
//! | text | what it is |
//! |---|---|
//! | `omr1.<family>.<data>` | the seal of a thought ([`Seal::to_field`]) |
//! | `omr1.redacted.<family>.<data>` | the seal of a thought that may not be read at all |
//! | `omr1.call.<family>.<length>.<call id><data>` | the seal of the call with that id |
//! | `omr1.summary.<Base64>` | the summary that stands for a compacted conversation |
//! | anything else | OpenAI's own |

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::chat::{Family, Seal};

const REDACTED: &str = "omr1.redacted.";
const CALL: &str = "omr1.call.";
const SUMMARY: &str = "omr1.summary.";

/// What an `encrypted_content` turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) seal: Seal,
    pub(super) redacted: bool,
    /// The call that it seals.
    pub(super) call: Option<String>,
}

impl Mark {
    pub(super) fn read(field: &str) -> Self {
        let plain = || Self { seal: Seal::from_field(field, Family::OpenAi), redacted: false, call: None };
        read_redacted(field).or_else(|| read_call(field)).unwrap_or_else(plain)
    }
}

fn read_redacted(field: &str) -> Option<Mark> {
    let (family, data) = field.strip_prefix(REDACTED)?.split_once('.')?;
    Some(Mark { seal: Seal { family: Family::parse(family)?, data: data.to_owned() }, redacted: true, call: None })
}

fn read_call(field: &str) -> Option<Mark> {
    let (family, rest) = field.strip_prefix(CALL)?.split_once('.')?;
    let (length, rest) = rest.split_once('.')?;
    let (call, data) = rest.split_at_checked(length.parse().ok()?)?;
    let seal = Seal { family: Family::parse(family)?, data: data.to_owned() };
    Some(Mark { seal, redacted: false, call: Some(call.to_owned()) })
}

/// The seal of a thought.
pub(super) fn thought(seal: &Seal, redacted: bool) -> String {
    if redacted && seal.family != Family::OpenAi {
        return format!("{REDACTED}{}.{}", seal.family.as_str(), seal.data);
    }
    seal.to_field(Family::OpenAi)
}

/// The seal of a call.
pub(super) fn call(seal: &Seal, call_id: &str) -> String {
    format!("{CALL}{}.{}.{call_id}{}", seal.family.as_str(), call_id.len(), seal.data)
}

/// The summary of a conversation.
pub(super) fn summary(text: &str) -> String {
    format!("{SUMMARY}{}", BASE64_STANDARD.encode(text))
}

/// The summary, if it is one of ours.
pub(super) fn read_summary(field: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(field.strip_prefix(SUMMARY)?).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_read_back_as_what_it_was() {
        let seal = Seal { family: Family::Google, data: "a.b/c==".into() };

        let plain = Mark::read(&thought(&seal, false));
        let redacted = Mark::read(&thought(&seal, true));
        let of_call = Mark::read(&call(&seal, "call.é_1"));

        assert_eq!(plain, Mark { seal: seal.clone(), redacted: false, call: None });
        assert_eq!(redacted, Mark { seal: seal.clone(), redacted: true, call: None });
        assert_eq!(of_call, Mark { seal, redacted: false, call: Some("call.é_1".into()) });
        assert_eq!(read_summary(&summary("so far\u{2028}")).as_deref(), Some("so far\u{2028}"));
    }

    #[rstest::rstest]
    #[case("gAAAAB")]
    #[case("omr1.call.google.99.x")]
    #[case("omr1.call.google.1.é")]
    #[case("omr1.redacted.nobody.x")]
    #[case("omr1.summary.%")]
    fn what_is_no_mark_belongs_to_openai(#[case] field: &str) {
        let mark = Mark::read(field);

        assert_eq!(
            mark,
            Mark { seal: Seal { family: Family::OpenAi, data: field.into() }, redacted: false, call: None }
        );
        assert_eq!(read_summary(field), None);
    }
}
