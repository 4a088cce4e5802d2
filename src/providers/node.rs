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
    pub const ALL: [Self; 10] = [
        kind("openai-compatible", Some("chat"), Wire::OpenaiChat, "https://api.openai.com/v1"),
        kind("openai-compatible", Some("responses"), Wire::OpenaiResponses, "https://api.openai.com/v1"),
        kind("anthropic-compatible", None, Wire::Anthropic, "https://api.anthropic.com/v1"),
        kind("gemini-compatible", None, Wire::Gemini, "https://generativelanguage.googleapis.com/v1beta"),
        kind("ollama-compatible", None, Wire::Ollama, "http://localhost:11434"),
        kind("cohere-compatible", None, Wire::Cohere, "https://api.cohere.com/v2"),
        // Amazon's address holds a region: it has to be given.
        kind("bedrock-compatible", None, Wire::Bedrock, ""),
        kind("nlpcloud-compatible", None, Wire::Nlpcloud, "https://api.nlpcloud.io/v1"),
        kind("gitlab-compatible", None, Wire::Gitlab, "https://gitlab.com/api/v4/code_suggestions"),
        kind("petals-compatible", None, Wire::Petals, "https://chat.petals.dev/api/v1"),
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
            Wire::Nlpcloud => AuthHeader { scheme: Some("Token".into()), ..AuthHeader::default() },
            _ => AuthHeader::default(),
        }
    }

    /// The address without what its format puts behind it: people paste the whole URL of a call.
    pub fn base_of(self, url: &str) -> &str {
        let url = url.trim().trim_end_matches('/');
        let (call, ..) = self.wire.paths();
        url.strip_suffix(call).filter(|base| !base.is_empty()).unwrap_or(url).trim_end_matches('/')
    }

    /// The path of the list of models, where the format has one.
    pub const fn models_path(self) -> Option<&'static str> {
        match self.wire {
            // Cohere's list is in the version before that of its chat.
            Wire::Cohere => Some("/../v1/models"),
            _ => None,
        }
    }

    /// Headers sent with every call.
    pub const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self.wire {
            Wire::Anthropic => &[("anthropic-version", ANTHROPIC_VERSION)],
            Wire::Petals => &[("content-type", "application/x-www-form-urlencoded")],
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
    fn every_format_that_providers_speak_can_be_an_own_endpoint() {
        let offered: Vec<_> = NodeKind::ALL.iter().map(|kind| kind.wire).collect();

        for spec in crate::providers::Catalog::builtin().iter() {
            assert!(offered.contains(&spec.wire), "{:?}", spec.wire);
        }
    }

    #[rstest]
    #[case("anthropic-compatible", "https://x.example/v1/messages/", "https://x.example/v1")]
    #[case("openai-compatible", "https://x.example/v1/chat/completions", "https://x.example/v1")]
    #[case("openai-compatible", " https://x.example/v1/ ", "https://x.example/v1")]
    #[case("gemini-compatible", "https://x.example/v1beta", "https://x.example/v1beta")]
    fn the_address_of_a_call_is_taken_for_what_it_means(#[case] kind: &str, #[case] given: &str, #[case] base: &str) {
        assert_eq!(NodeKind::find(kind, None).unwrap().base_of(given), base);
    }

    #[test]
    fn the_key_goes_where_the_format_wants_it() {
        let header = |name| NodeKind::find(name, None).unwrap().auth().header;

        assert_eq!(header("anthropic-compatible"), "x-api-key");
        assert_eq!(header("gemini-compatible"), "x-goog-api-key");
        assert_eq!(header("openai-compatible"), "authorization");
    }
}
