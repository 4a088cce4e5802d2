//! Reading a client's JSON member by member: each reader names the field when it is wrong, and what nobody took is left over.

use serde_json::{Map, Value};

use crate::bad_request::BadRequest;

/// A JSON object of a request and where it stands in it.
#[derive(Debug, Clone)]
pub struct Fields {
    path: String,
    members: Map<String, Value>,
}

type Read<T> = Result<T, BadRequest>;

impl Fields {
    /// The body of a request.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn of_body(body: &[u8]) -> Read<Self> {
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            let message = format!("The body is not valid JSON: {error}");
            BadRequest { message, param: None, code: "invalid_json" }
        })?;
        Self::of(value, "")
    }

    /// The object at this place.
    ///
    /// # Errors
    /// When it is not an object.
    pub fn of(value: Value, path: impl Into<String>) -> Read<Self> {
        let path = path.into();
        match value {
            Value::Object(members) => Ok(Self { path, members }),
            _ => Err(wrong_type(&path, "an object")),
        }
    }

    /// The path of a member, such as `messages[3].role`.
    pub fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where the object itself stands.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A member, whatever it is; `null` counts as absent.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.members.shift_remove(name).filter(|value| !value.is_null())
    }

    /// A look at a member that stays.
    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// A text.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text(&mut self, name: &str) -> Read<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type(&self.at(name), "a string")),
        }
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// When it is missing or something else.
    pub fn required_text(&mut self, name: &str) -> Read<String> {
        self.text(name)?.ok_or_else(|| self.missing(name))
    }

    /// Yes or no.
    ///
    /// # Errors
    /// When it is something else.
    pub fn flag(&mut self, name: &str) -> Read<Option<bool>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(wrong_type(&self.at(name), "a boolean")),
        }
    }

    /// A number.
    ///
    /// # Errors
    /// When it is something else.
    pub fn number(&mut self, name: &str) -> Read<Option<f64>> {
        let taken = self.take(name);
        taken.map(|value| value.as_f64().ok_or_else(|| wrong_type(&self.at(name), "a number"))).transpose()
    }

    /// A whole number from 0; one written with a fraction of zero counts as whole.
    ///
    /// # Errors
    /// When it is something else.
    pub fn count(&mut self, name: &str) -> Read<Option<u64>> {
        let taken = self.take(name);
        taken
            .map(|value| as_count(&value).ok_or_else(|| wrong_type(&self.at(name), "a non-negative integer")))
            .transpose()
    }

    /// A whole number.
    ///
    /// # Errors
    /// When it is something else.
    pub fn integer(&mut self, name: &str) -> Read<Option<i64>> {
        let taken = self.take(name);
        taken.map(|value| value.as_i64().ok_or_else(|| wrong_type(&self.at(name), "an integer"))).transpose()
    }

    /// An object.
    ///
    /// # Errors
    /// When it is something else.
    pub fn object(&mut self, name: &str) -> Read<Option<Self>> {
        let taken = self.take(name);
        taken.map(|value| Self::of(value, self.at(name))).transpose()
    }

    /// A list; absent is none.
    ///
    /// # Errors
    /// When it is something else.
    pub fn list(&mut self, name: &str) -> Read<Option<Vec<Value>>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(wrong_type(&self.at(name), "a list")),
        }
    }

    /// A list of objects; absent is empty.
    ///
    /// # Errors
    /// When it is something else.
    pub fn objects(&mut self, name: &str) -> Read<Vec<Self>> {
        let path = self.at(name);
        let list = self.list(name)?.unwrap_or_default();
        list.into_iter().enumerate().map(|(index, value)| Self::of(value, format!("{path}[{index}]"))).collect()
    }

    /// A text or a list of texts.
    ///
    /// # Errors
    /// When it is something else.
    pub fn texts(&mut self, name: &str) -> Read<Vec<String>> {
        let path = self.at(name);
        let list = match self.take(name) {
            None => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(one) => vec![one],
        };
        let text = |value| match value {
            Value::String(text) => Ok(text),
            _ => Err(wrong_type(&path, "a string or a list of strings")),
        };
        list.into_iter().map(text).collect()
    }

    /// Everything that nobody took, `null`s included: an object that is passed on whole.
    pub fn all(self) -> Map<String, Value> {
        self.members
    }

    /// What nobody took, `null`s left out.
    pub fn rest(self) -> Map<String, Value> {
        self.members.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }

    /// All that is left, `null`s included: for objects whose members are the client's own.
    pub fn rest_with_nulls(self) -> Map<String, Value> {
        self.members
    }

    /// A member that must be there is not.
    pub fn missing(&self, name: &str) -> BadRequest {
        let path = self.at(name);
        BadRequest::new(format!("Missing required parameter: '{path}'"), path, "missing_required_parameter")
    }

    /// A member has a value that is none of the known ones.
    pub fn unknown(&self, name: &str, value: &str) -> BadRequest {
        let path = self.at(name);
        BadRequest::new(format!("Invalid value for '{path}': '{value}'"), path, "invalid_value")
    }
}

fn as_count(value: &Value) -> Option<u64> {
    let whole = |number: f64| (number >= 0.0 && number.fract() == 0.0 && number < 9.0e15).then_some(number);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole, positive and small"
    )]
    value.as_u64().or_else(|| value.as_f64().and_then(whole).map(|number| number as u64))
}

/// The field has another type than it must have.
pub fn wrong_type(path: &str, expected: &str) -> BadRequest {
    let named = if path.is_empty() { "the body" } else { path };
    BadRequest::new(format!("'{named}' must be {expected}"), path, "invalid_type")
}
