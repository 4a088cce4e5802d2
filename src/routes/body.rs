//! Bodies of management calls: read within limits, JSON only, and checked field by field so that one answer names
//! everything that is wrong.

use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use actix_web::{FromRequest, HttpRequest};
use bytes::BytesMut;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Detail, Refusal, guard};
use crate::auth::is_json;

/// The largest body of a management call.
const MOST_BYTES: usize = 10 * 1024 * 1024;

/// The JSON body of a management call; none when there is no body.
#[derive(Debug, Clone, Default)]
pub struct JsonBody(pub Option<Value>);

impl FromRequest for JsonBody {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let server = &guard::app(&request)?.config.load_full().server;
            let most = server.max_body_bytes.min(MOST_BYTES);
            let within = Duration::from_millis(server.body_read_timeout_ms);
            let read = tokio::time::timeout(within, read(&request, payload, most)).await;
            let late =
                |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "The body did not come in time");
            // What comes over the connection next may be the rest of this body.
            let bytes = read.map_err(late).flatten().map_err(Refusal::closing)?;
            parse(&request, &bytes)
        })
    }
}

async fn read(request: &HttpRequest, mut payload: Payload, most: usize) -> Result<BytesMut, Refusal> {
    if is_encoded(request.headers()) {
        let message = "The body must come without content encoding";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", message));
    }
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > most) {
        return Err(too_large(most));
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Refusal::bad_request("The body could not be read"))?;
        if bytes.len() + chunk.len() > most {
            return Err(too_large(most));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Whether the body is declared to be compressed. It is read as it comes: unpacking it would be a way around its limit.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    let declared = headers.get_all(CONTENT_ENCODING).flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    declared.map(<[u8]>::trim_ascii).any(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))
}

fn too_large(most: usize) -> Refusal {
    let message = format!("Request body too large. Maximum allowed: {} MB", most / (1024 * 1024));
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message)
}

fn parse(request: &HttpRequest, bytes: &[u8]) -> Result<JsonBody, Refusal> {
    if bytes.trim_ascii().is_empty() {
        return Ok(JsonBody(None));
    }
    if !is_json(request.headers()) {
        let message = "The body must be declared as application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    serde_json::from_slice(bytes).map(|value| JsonBody(Some(value))).map_err(|_| invalid_body())
}

fn invalid_body() -> Refusal {
    Refusal::invalid(vec![Detail { field: "body".into(), message: "Invalid JSON body".into() }])
}

/// The fields of an object, taken out one by one; what is wrong is collected.
#[derive(Debug, Default)]
pub struct Form {
    fields: Map<String, Value>,
    problems: Vec<Detail>,
    path: String,
}

impl Form {
    /// Of a body that must be an object.
    ///
    /// # Errors
    /// When it is none.
    pub fn of(body: JsonBody) -> Result<Self, Refusal> {
        match body.0 {
            Some(Value::Object(fields)) => Ok(Self { fields, ..Self::default() }),
            _ => Err(invalid_body()),
        }
    }

    /// Of a part of a body; problems are named under `path`.
    pub fn part(fields: Map<String, Value>, path: impl Into<String>) -> Self {
        Self { fields, problems: Vec::new(), path: path.into() }
    }

    /// Whether no field is given.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether the field is given, be it null.
    pub fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// The field as it is.
    pub fn raw(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }

    /// Note that a field is wrong.
    pub fn problem(&mut self, field: &str, message: impl Into<String>) {
        let field = if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) };
        self.problems.push(Detail { field, message: message.into() });
    }

    /// Note problems found elsewhere.
    pub fn problems(&mut self, found: impl IntoIterator<Item = Detail>) {
        self.problems.extend(found);
    }

    /// The problems so far.
    pub fn into_problems(self) -> Vec<Detail> {
        self.problems
    }

    /// Note that a field must be given, unless it is.
    pub fn require(&mut self, field: &str) {
        if self.fields.get(field).is_none_or(Value::is_null) {
            self.problem(field, "Required");
        }
    }

    /// A text of so many characters; null counts as not given.
    pub fn text(&mut self, field: &str, chars: RangeInclusive<usize>) -> Option<String> {
        self.nullable_text(field, chars).flatten()
    }

    /// A text or null.
    pub fn nullable_text(&mut self, field: &str, chars: RangeInclusive<usize>) -> Option<Option<String>> {
        let text = match self.fields.get(field)? {
            Value::Null => return Some(None),
            Value::String(text) => text.clone(),
            _ => return self.wrong(field, "Expected a text"),
        };
        let count = text.chars().count();
        if !chars.contains(&count) {
            let (least, most) = chars.into_inner();
            return self.wrong(field, format!("Must have {least} to {most} characters"));
        }
        if text.chars().any(|c| c == '\0') {
            return self.wrong(field, "Must not contain NUL");
        }
        Some(Some(text))
    }

    /// A truth value; null counts as not given.
    pub fn flag(&mut self, field: &str) -> Option<bool> {
        match self.fields.get(field)? {
            Value::Bool(flag) => Some(*flag),
            Value::Null => None,
            _ => self.wrong(field, "Expected true or false"),
        }
    }

    /// A whole number; null counts as not given.
    pub fn integer(&mut self, field: &str, range: RangeInclusive<i64>) -> Option<i64> {
        self.nullable_integer(field, range).flatten()
    }

    /// A whole number or null.
    pub fn nullable_integer(&mut self, field: &str, range: RangeInclusive<i64>) -> Option<Option<i64>> {
        let value = self.fields.get(field)?;
        if value.is_null() {
            return Some(None);
        }
        match value.as_i64().filter(|number| range.contains(number)) {
            Some(number) => Some(Some(number)),
            None => self.wrong(field, format!("Expected a whole number from {} to {}", range.start(), range.end())),
        }
    }

    /// A whole number that fits a column, or null.
    pub fn nullable_small(&mut self, field: &str, range: RangeInclusive<i32>) -> Option<Option<i32>> {
        let wide = i64::from(*range.start())..=i64::from(*range.end());
        self.nullable_integer(field, wide).map(|number| number.and_then(|number| i32::try_from(number).ok()))
    }

    /// An object; null counts as not given.
    pub fn object(&mut self, field: &str) -> Option<Map<String, Value>> {
        match self.fields.get(field)? {
            Value::Object(object) => Some(object.clone()),
            Value::Null => None,
            _ => self.wrong(field, "Expected an object"),
        }
    }

    /// A list of so many texts of so many characters; null is the empty list.
    pub fn texts(&mut self, field: &str, most: usize, chars: usize) -> Option<Vec<String>> {
        let list = match self.fields.get(field)? {
            Value::Null => return Some(Vec::new()),
            Value::Array(list) => list,
            _ => return self.wrong(field, "Expected a list of texts"),
        };
        let good = |text: &&str| !text.is_empty() && text.chars().count() <= chars;
        let texts: Vec<_> = list.iter().filter_map(Value::as_str).filter(good).map(ToOwned::to_owned).collect();
        if texts.len() != list.len() || list.len() > most {
            return self.wrong(field, format!("Expected at most {most} texts of 1 to {chars} characters"));
        }
        Some(texts)
    }

    /// A point in time (ISO 8601 with its offset, or milliseconds since the epoch) or null.
    pub fn time(&mut self, field: &str) -> Option<Option<i64>> {
        let at = match self.fields.get(field)? {
            Value::Null => return Some(None),
            Value::String(text) => text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond),
            other => other.as_i64().filter(|ms| *ms > 0),
        };
        match at {
            Some(ms) => Some(Some(ms)),
            None => self.wrong(field, "Expected a time such as 2030-01-31T12:00:00Z"),
        }
    }

    /// End of the checks.
    ///
    /// # Errors
    /// Everything that was wrong.
    pub fn finish(self) -> Result<(), Refusal> {
        if self.problems.is_empty() { Ok(()) } else { Err(Refusal::invalid(self.problems)) }
    }

    fn wrong<T>(&mut self, field: &str, message: impl Into<String>) -> Option<T> {
        self.problem(field, message);
        None
    }
}

/// Set a field of an object; anything else is left as it is.
pub fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value.into());
    }
}

/// A point in time as the API writes it.
pub fn iso(ms: i64) -> Value {
    Timestamp::from_millisecond(ms).map_or(Value::Null, |at| Value::from(at.to_string()))
}

/// A point in time that may be missing.
pub fn iso_or_null(ms: Option<i64>) -> Value {
    ms.map_or(Value::Null, iso)
}
