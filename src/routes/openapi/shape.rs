//! A short way to write JSON schemas, so that describing a route costs one line.
//!
//! ```text
//! text int number flag any null time     what they say; time is ISO 8601
//! [text]                                 a list of texts
//! {name: text, note?: text?}             an object: `note` may be missing, and may be null
//! {*: int}                               an object of any names whose values are numbers
//! "a" | "b" | int                        one of these
//! Combo                                  a shape of that name
//! ```
//! Objects may hold more than is written: fields are added without notice.

use std::iter::Peekable;

use serde_json::{Map, Value, json};

/// A schema of what is written; the error says where reading stopped.
pub(super) fn schema(text: &str) -> Result<Value, String> {
    let tokens = tokens(text)?;
    let mut reader = Reader { tokens: tokens.into_iter().peekable(), depth: 0 };
    let schema = reader.shape()?;
    match reader.tokens.next() {
        None => Ok(schema),
        Some(more) => Err(format!("`{more:?}` after the end of `{text}`")),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Literal(String),
    Mark(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            c if c.is_whitespace() => {}
            '"' => {
                let literal: String = rest.by_ref().take_while(|c| *c != '"').collect();
                found.push(Token::Literal(literal));
            }
            '{' | '}' | '[' | ']' | ':' | ',' | '|' | '?' | '*' => found.push(Token::Mark(next)),
            c if is_name(c) => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| is_name(*c)) {
                    word.push(c);
                }
                found.push(Token::Word(word));
            }
            other => return Err(format!("`{other}` in `{text}`")),
        }
    }
    Ok(found)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.$@".contains(c)
}

/// Nobody writes deeper ones.
const DEEPEST: usize = 20;

struct Reader<I: Iterator<Item = Token>> {
    tokens: Peekable<I>,
    depth: usize,
}

impl<I: Iterator<Item = Token>> Reader<I> {
    fn shape(&mut self) -> Result<Value, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("too deep".to_owned());
        }
        let mut ways = vec![self.one()?];
        while self.takes('|') {
            ways.push(self.one()?);
        }
        self.depth -= 1;
        Ok(match (ways.len(), ways.pop()) {
            (1, Some(way)) => way,
            (_, last) => {
                ways.extend(last);
                either(ways)
            }
        })
    }

    fn one(&mut self) -> Result<Value, String> {
        let schema = match self.tokens.next() {
            Some(Token::Word(word)) => named(&word),
            Some(Token::Literal(literal)) => json!({"const": literal}),
            Some(Token::Mark('[')) => {
                let items = self.shape()?;
                self.must(']')?;
                json!({"type": "array", "items": items})
            }
            Some(Token::Mark('{')) => self.object()?,
            other => return Err(format!("{other:?} where a shape begins")),
        };
        Ok(if self.takes('?') { or_null(schema) } else { schema })
    }

    fn object(&mut self) -> Result<Value, String> {
        let (mut properties, mut required, mut others) = (Map::new(), Vec::new(), None);
        while !self.takes('}') {
            let name = self.tokens.next();
            let optional = self.takes('?');
            self.must(':')?;
            let shape = self.shape()?;
            match name {
                Some(Token::Mark('*')) => others = Some(shape),
                Some(Token::Word(name)) | Some(Token::Literal(name)) => {
                    if !optional {
                        required.push(Value::from(name.clone()));
                    }
                    properties.insert(name, shape);
                }
                other => return Err(format!("{other:?} where a field begins")),
            }
            if !self.takes(',') {
                self.must('}')?;
                break;
            }
        }
        let mut object = json!({"type": "object"});
        if let Some(fields) = object.as_object_mut() {
            fields.extend((!properties.is_empty()).then(|| ("properties".to_owned(), Value::Object(properties))));
            fields.extend((!required.is_empty()).then(|| ("required".to_owned(), Value::Array(required))));
            fields.extend(others.map(|others| ("additionalProperties".to_owned(), others)));
        }
        Ok(object)
    }

    fn takes(&mut self, mark: char) -> bool {
        self.tokens.next_if_eq(&Token::Mark(mark)).is_some()
    }

    fn must(&mut self, mark: char) -> Result<(), String> {
        let found = self.tokens.next();
        if found == Some(Token::Mark(mark)) { Ok(()) } else { Err(format!("{found:?} where `{mark}` is due")) }
    }
}

fn named(word: &str) -> Value {
    match word {
        "text" => json!({"type": "string"}),
        "int" => json!({"type": "integer"}),
        "number" => json!({"type": "number"}),
        "flag" => json!({"type": "boolean"}),
        "null" => json!({"type": "null"}),
        "time" => json!({"type": "string", "format": "date-time"}),
        "any" => json!({}),
        name => json!({"$ref": format!("#/components/schemas/{name}")}),
    }
}

fn or_null(schema: Value) -> Value {
    match schema.get("type") {
        Some(Value::String(kind)) if kind != "null" => {
            let both = json!([kind, "null"]);
            let mut schema = schema;
            super::put(&mut schema, "type", both);
            schema
        }
        _ => either(vec![schema, json!({"type": "null"})]),
    }
}

/// Words that can stand are a list of words; anything else is said way by way.
fn either(ways: Vec<Value>) -> Value {
    let words: Option<Vec<_>> = ways.iter().map(|way| way.get("const").cloned()).collect();
    match words {
        Some(words) => json!({"type": "string", "enum": words}),
        None => json!({"anyOf": ways}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_schema() {
        let made = schema(r#"{name: text, note?: text?, kind: "a" | "b", tags: [text], per: {*: int}, one: Combo?}"#);

        let expected = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "note": {"type": ["string", "null"]},
                "kind": {"type": "string", "enum": ["a", "b"]},
                "tags": {"type": "array", "items": {"type": "string"}},
                "per": {"type": "object", "additionalProperties": {"type": "integer"}},
                "one": {"anyOf": [{"$ref": "#/components/schemas/Combo"}, {"type": "null"}]},
            },
            "required": ["name", "kind", "tags", "per", "one"],
        });
        assert_eq!(made, Ok(expected));
    }

    #[test]
    fn what_cannot_be_read_is_said_and_does_not_hang() {
        for broken in ["", "{", "{name}", "[text", "text text", "{a: }", "a ! b", &"[".repeat(1_000)] {
            assert!(schema(broken).is_err(), "{broken}");
        }
    }
}
