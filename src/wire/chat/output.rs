//! What shape the answer's text has.

use serde_json::Value;

use super::codec::Family;
use super::request::Request;

/// What shape the answer's text has.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputFormat {
    /// Any.
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON that fits a schema.
    JsonSchema {
        /// A name for it.
        name: String,
        /// What it is for.
        description: Option<String>,
        /// The JSON Schema.
        schema: Value,
        /// It must fit exactly.
        strict: Option<bool>,
    },
}

/// The schema with the client's words for it, where a format takes nothing but the schema: JSON Schema itself has a place for
/// a name and for a description. Only OpenAI's clients give it a name; those of others come from here.
pub fn worded_schema(request: &Request, schema: &Value) -> Value {
    let OutputFormat::JsonSchema { name, description, .. } = &request.output else { return schema.clone() };
    let mut worded = schema.clone();
    if let Some(members) = worded.as_object_mut() {
        let name = Some(name).filter(|_| request.from.family() == Family::OpenAi);
        for (keyword, words) in [("title", name), ("description", description.as_ref())] {
            if let (Some(words), false) = (words, members.contains_key(keyword)) {
                members.insert(keyword.to_owned(), words.as_str().into());
            }
        }
    }
    worded
}
