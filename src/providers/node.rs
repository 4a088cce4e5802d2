//! Endpoints of the operator's own: which kinds there are.

use super::catalog::{AuthHeader, Wire};

/// The version of Anthropic's API whose shapes are spoken here.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// One kind of endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeKind {
    /// Its `type`.
    pub name: &'static str,
    /// Its `apiType`, where the type has several.
    pub api_type: Option<&'static str>,
    /// What it speaks.
    pub wire: Wire,
    /// Where it is when nobody says otherwise.
    pub base_url: &'static str,
}

impl NodeKind {
    /// All kinds; the first of a type is its default.
    pub const ALL: [Self; 5] = [
        kind("openai-compatible", Some("chat"), Wire::OpenaiChat, "https://api.openai.com/v1"),
        kind("openai-compatible", Some("responses"), Wire::OpenaiResponses, "https://api.openai.com/v1"),
        kind("anthropic-compatible", None, Wire::Anthropic, "https://api.anthropic.com/v1"),
        kind("gemini-compatible", None, Wire::Gemini, "https://generativelanguage.googleapis.com/v1beta"),
        kind("ollama-compatible", None, Wire::Ollama, "http://localhost:11434"),
    ];

    /// The kind of that type and interface; an interface that the type does not have is none.
    pub fn find(name: &str, api_type: Option<&str>) -> Option<Self> {
        let of_type = || Self::ALL.iter().copied().filter(|kind| kind.name == name);
        match api_type {
            Some(api_type) if of_type().any(|kind| kind.api_type.is_some()) => {
                of_type().find(|kind| kind.api_type == Some(api_type))
            }
            _ => of_type().next(),
        }
    }

    /// How the key is sent.
    pub fn auth(self) -> AuthHeader {
        let plain = |header: &str| AuthHeader { header: header.into(), scheme: None };
        match self.wire {
            Wire::Anthropic => plain("x-api-key"),
            Wire::Gemini => plain("x-goog-api-key"),
            _ => AuthHeader::default(),
        }
    }

    /// Headers sent with every call.
    pub const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self.wire {
            Wire::Anthropic => &[("anthropic-version", ANTHROPIC_VERSION)],
            _ => &[],
        }
    }
}

const fn kind(name: &'static str, api_type: Option<&'static str>, wire: Wire, base_url: &'static str) -> NodeKind {
    NodeKind { name, api_type, wire, base_url }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("openai-compatible", None, Some(Wire::OpenaiChat))]
    #[case("openai-compatible", Some("responses"), Some(Wire::OpenaiResponses))]
    #[case("openai-compatible", Some("embeddings"), None)]
    #[case("anthropic-compatible", None, Some(Wire::Anthropic))]
    #[case("gemini-compatible", Some("chat"), Some(Wire::Gemini))]
    #[case("ollama-compatible", None, Some(Wire::Ollama))]
    #[case("telepathy-compatible", None, None)]
    fn a_kind_is_found_by_its_type_and_interface(
        #[case] name: &str,
        #[case] api_type: Option<&str>,
        #[case] wire: Option<Wire>,
    ) {
        assert_eq!(NodeKind::find(name, api_type).map(|kind| kind.wire), wire);
    }

    #[test]
    fn the_key_goes_where_the_format_wants_it() {
        let header = |name| NodeKind::find(name, None).unwrap().auth().header;

        assert_eq!(header("anthropic-compatible"), "x-api-key");
        assert_eq!(header("gemini-compatible"), "x-goog-api-key");
        assert_eq!(header("openai-compatible"), "authorization");
    }
}
