//! Which conversation a request belongs to, so that its turns meet the prompt cache that the turns before have filled.
//!
//! A client may name its session in a header or in the body; otherwise a conversation is known by how it begins, which
//! stays the same while it grows. Only a hash leaves this file, and the tenant is in it: nobody can share another's
//! session or look for it.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use actix_web::http::header::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use super::ask::Ask;
use crate::infra::stats::SessionName;
use crate::wire::chat::{PartKind, Request, Role};
use crate::wire::openai_chat::ChatRequest;

/// Says which session a request was taken for.
pub static SESSION_HEADER: HeaderName = HeaderName::from_static("x-omniroute-session");

/// Headers in which clients name their session, the first that is there counts.
static HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("x-codex-session-id"),
    HeaderName::from_static("x-session-id"),
    HeaderName::from_static("x-omniroute-session"),
    HeaderName::from_static("session_id"),
    HeaderName::from_static("session-id"),
];
/// Members of the body that do the same.
const MEMBERS: [&str; 3] = ["conversation_id", "session_id", "prompt_cache_key"];
/// The same inside of `metadata`.
const LABELS: [&str; 2] = ["session_id", "sessionId"];
/// So much of the instructions, and of the first word of the user, is looked at.
const OPENING: usize = 4_096;

/// The session of a request of this tenant, which a header may have [`named`]; none when it says nothing at all.
pub fn session(named: Option<&str>, ask: &Ask, tenant: &str) -> Option<u64> {
    let mut trace = Trace::of(tenant);
    match (named, ask.as_chat()) {
        (Some(id), _) => trace.word(id),
        (None, Some(chat)) => trace.of_chat(chat, ask.labels()),
        (None, None) => trace.of_request(ask.neutral().ok()?),
    }
    trace.end()
}

/// The session that a header names.
pub fn named(headers: &HeaderMap) -> Option<&str> {
    let first = HEADERS.iter().find_map(|name| headers.get(name)?.to_str().ok());
    first.map(str::trim).filter(|id| !id.is_empty())
}

/// The session as the header and the ledger show it.
pub fn shown(session: u64) -> String {
    SessionName::Hash(session).to_string()
}

/// A hash in the making.
struct Trace {
    hasher: DefaultHasher,
    empty: bool,
}

impl Trace {
    fn of(tenant: &str) -> Self {
        let mut trace = Self { hasher: DefaultHasher::new(), empty: true };
        trace.word(tenant);
        trace.empty = true;
        trace
    }

    /// Words are told apart by their length, so that no two lists of them look the same.
    fn word(&mut self, word: &str) {
        self.hasher.write_usize(word.len());
        self.hasher.write(word.as_bytes());
        self.empty = false;
    }

    fn end(self) -> Option<u64> {
        (!self.empty).then(|| self.hasher.finish())
    }

    fn of_chat(&mut self, chat: &ChatRequest, labels: Option<&Map<String, Value>>) {
        let text = |name: &str| serde_json::from_str::<String>(chat.member(name)?).ok();
        let named = labels.and_then(label).or_else(|| MEMBERS.iter().find_map(|name| text(name)));
        if let Some(id) = named.filter(|id| !id.is_empty()) {
            return self.word(&id);
        }
        self.user(chat.user.as_deref());
        chat.opening(|part| self.word(head(part, OPENING)));
    }

    fn of_request(&mut self, request: &Request) {
        let rest = |name: &str| request.rest.get(name).and_then(Value::as_str).map(str::to_owned);
        let named = request.metadata.as_ref().and_then(label);
        let named = named.or_else(|| rest("conversation_id")).or_else(|| rest("session_id"));
        let named = named.or_else(|| request.cache_key.clone()).or_else(|| session_of_user(request.user.as_deref()));
        if let Some(id) = named.filter(|id| !id.is_empty()) {
            return self.word(&id);
        }
        self.user(request.user.as_deref());
        for message in &request.messages {
            if !message.role.instructs() && message.role != Role::User {
                continue;
            }
            for part in &message.parts {
                if let PartKind::Text { text, .. } = &part.kind {
                    self.word(head(text, OPENING));
                }
            }
            if message.role == Role::User {
                break;
            }
        }
    }

    /// A person is no conversation, but two persons have not the same one.
    fn user(&mut self, user: Option<&str>) {
        if let Some(user) = user {
            let empty = self.empty;
            self.word(user);
            self.empty = empty;
        }
    }
}

/// The session among the labels of a client. Claude Code writes it into the name of its user.
fn label(metadata: &Map<String, Value>) -> Option<String> {
    let text = |name: &str| metadata.get(name).and_then(Value::as_str);
    let named = LABELS.iter().find_map(|name| text(name)).map(str::to_owned);
    named.or_else(|| session_of_user(text("user_id")))
}

fn session_of_user(user: Option<&str>) -> Option<String> {
    user.filter(|user| user.contains("session")).map(str::to_owned)
}

fn head(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
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

    fn ask(body: &Value) -> Ask {
        let bytes = Bytes::from(body.to_string());
        if body.get("max_tokens").is_some() {
            let request = anthropic::decode_request(&bytes).unwrap();
            return Ask::read(ClientFormat::Anthropic, bytes, request);
        }
        Ask::chat(ChatRequest::parse(bytes).unwrap())
    }

    fn of(body: &Value) -> Option<u64> {
        session(None, &ask(body), "tenant")
    }

    fn chat(members: &Value, user: &str) -> Value {
        let mut body =
            json!({"model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": user}]});
        for (name, value) in members.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    }

    #[rstest]
    #[case::chat(json!({"model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]}))]
    #[case::anthropic(json!({"model": "m", "max_tokens": 9, "system": "s", "messages": [{"role": "user", "content": "hi"}]}))]
    fn a_conversation_keeps_its_session_while_it_grows(#[case] mut body: Value) {
        let first = of(&body);

        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "assistant", "content": "yes"}));
        messages.push(json!({"role": "user", "content": "go on"}));

        assert!(first.is_some());
        assert_eq!(of(&body), first);
    }

    #[rstest]
    #[case::label(json!({"metadata": {"session_id": "S"}}))]
    #[case::other_label(json!({"metadata": {"sessionId": "S"}}))]
    #[case::conversation(json!({"conversation_id": "S"}))]
    #[case::session(json!({"session_id": "S"}))]
    #[case::cache_key(json!({"prompt_cache_key": "S"}))]
    #[case::claude_code(json!({"metadata": {"user_id": "user_1_session_2"}}))]
    #[case::claude_code_itself(json!({"max_tokens": 9, "messages": [], "metadata": {"user_id": "user_1_session_2"}}))]
    fn a_named_session_counts_whatever_is_said(#[case] members: Value) {
        let at = |user: &str| {
            let mut body = chat(&members, user);
            if members.get("max_tokens").is_some() {
                body["messages"] = json!([{"role": "user", "content": user}]);
            }
            of(&body)
        };

        assert!(at("a").is_some());
        assert_eq!(at("a"), at("b"));
        assert_ne!(at("a"), of(&chat(&json!({}), "a")));
    }

    #[test]
    fn a_session_is_the_same_in_a_header_and_in_the_body_and_the_header_wins() {
        let headers = |name: &HeaderName, value: &'static str| {
            HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))])
        };
        let by_header =
            |name: &HeaderName, value: &'static str, body: &Ask| session(named(&headers(name, value)), body, "t");
        let body = ask(&chat(&json!({"session_id": "S"}), "hi"));

        let by_body = session(None, &body, "t");

        for name in &HEADERS {
            assert_eq!(by_header(name, "S", &body), by_body, "{name}");
            assert_ne!(by_header(name, "T", &body), by_body, "{name}");
        }
        assert_eq!(by_header(&SESSION_HEADER, " ", &body), by_body);
    }

    #[test]
    fn tenants_never_share_a_session_and_neither_do_users_who_say_the_same() {
        let body = chat(&json!({"session_id": "S"}), "hi");

        assert_ne!(session(None, &ask(&body), "a"), session(None, &ask(&body), "b"));
        assert_ne!(of(&chat(&json!({"user": "ann"}), "hi")), of(&chat(&json!({"user": "ben"}), "hi")));
        assert_ne!(of(&chat(&json!({}), "hi")), of(&chat(&json!({}), "ho")));
    }

    #[test]
    fn long_instructions_do_not_hide_what_the_user_says() {
        let long = "x".repeat(3 * OPENING);
        let said = |user: &str| {
            of(
                &json!({"model": "m", "messages": [{"role": "system", "content": long}, {"role": "user", "content": user}]}),
            )
        };

        assert_ne!(said("hi"), said("ho"));
    }

    #[test]
    fn where_nothing_is_said_there_is_no_session() {
        let body = json!({"model": "m", "messages": [{"role": "assistant", "content": "hi"}]});

        assert_eq!(of(&body), None);
    }
}
