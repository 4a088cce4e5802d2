//! How a conversation begins: read again only where somebody asks, and no further than the first word of the user.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Shows each instruction, and the first message of the user, to `each`, as they are written.
pub(super) fn walk(messages: &str, each: &mut impl FnMut(&str)) {
    // What follows the first word of the user is not read, and the parser calls that an error.
    let _ = serde_json::Deserializer::from_str(messages).deserialize_seq(Walk(each));
}

struct Walk<'f, F>(&'f mut F);

impl<'de, F: FnMut(&str)> Visitor<'de> for Walk<'_, F> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(message) = items.next_element::<Message<'de>>()? {
            if matches!(message.role, Role::Instructs | Role::User) {
                (self.0)(message.content);
            }
            if message.role == Role::User {
                break;
            }
        }
        Ok(())
    }
}

#[derive(PartialEq, Eq)]
enum Role {
    Instructs,
    User,
    Other,
}

struct Message<'de> {
    role: Role,
    content: &'de str,
}

impl<'de> Deserialize<'de> for Message<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Message<'de>;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut message = Message { role: Role::Other, content: "" };
                while let Some(key) = members.next_key::<Key>()? {
                    match key {
                        Key::Role => {
                            message.role = match members.next_value::<&'de RawValue>()?.get() {
                                "\"system\"" | "\"developer\"" => Role::Instructs,
                                "\"user\"" => Role::User,
                                _ => Role::Other,
                            }
                        }
                        Key::Content => message.content = members.next_value::<&'de RawValue>()?.get(),
                        Key::Other => drop(members.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(message)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Role,
    Content,
    #[serde(other)]
    Other,
}
