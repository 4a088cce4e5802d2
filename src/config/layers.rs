//! The layers above the defaults: the file, the compatible variable names, and `OMNIROUTE__SECTION__KEY`.

use std::collections::BTreeMap;
use std::path::Path;

use config::{FileFormat, Format, Map, Value, ValueKind};

use super::environment::Environment;
use super::hint;
use super::problems::{Problem, Source};
use super::section::Key;

/// Names that existing deployments bring along, weakest first: a later name wins over an earlier one.
pub const COMPATIBLE_NAMES: [(&str, &str); 11] = [
    ("PORT", "server.port"),
    ("OMNIROUTE_PORT", "server.port"),
    ("HOST", "server.host"),
    ("DATABASE_URL", "storage.database_url"),
    ("LOG_LEVEL", "logging.level"),
    ("LOG_FORMAT", "logging.format"),
    ("DATA_DIR", "storage.data_dir"),
    ("INITIAL_PASSWORD", "auth.initial_password"),
    ("REQUIRE_API_KEY", "auth.require_api_key"),
    ("STORAGE_ENCRYPTION_KEY", "storage.master_key"),
    ("MAX_BODY_SIZE_BYTES", "server.max_body_bytes"),
];

/// What the names of all other variables begin with.
const PREFIX: &str = "OMNIROUTE__";

/// One layer: values by path, each remembering where it came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer(Map<String, Value>);

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// The layer of a file's text.
pub(super) fn of_file(path: &Path, text: &str) -> Result<Layer, Problem> {
    let source = Source::file(path);
    let refused = |message| Problem { key: String::new(), source: source.clone(), message, hint: None };
    syntax(text).map_err(refused)?;
    let origin = source.as_str().to_owned();
    FileFormat::Toml.parse(Some(&origin), text).map(Layer).map_err(|error| refused(error.to_string()))
}

/// The usual rendering of a syntax error repeats the line, which may hold a secret: say where it is and no more.
fn syntax(text: &str) -> Result<(), String> {
    let Err(error) = toml::de::DeTable::parse(text) else { return Ok(()) };
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    Err(format!("line {line} is no TOML: {}", error.message().replace('\n', ", ")))
}

/// The layers of the environment, the compatible names below the others.
pub(super) fn of_environment(environment: &Environment, keys: &[Key], problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::default();
    let by_path: BTreeMap<&str, &Key> = keys.iter().map(|key| (key.path.as_str(), key)).collect();
    for (name, path) in COMPATIBLE_NAMES {
        let text = environment.get(name).filter(|text| !text.trim().is_empty());
        if let (Some(text), Some(key)) = (text, by_path.get(path)) {
            layer.set(key, name, text);
        }
    }
    for (name, text) in environment.iter() {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let path = rest.replace("__", ".").to_ascii_lowercase();
        match by_path.get(path.as_str()) {
            Some(key) => layer.set(key, name, text),
            None => problems.push(unknown_variable(name, path, keys)),
        }
    }
    layer
}

impl Layer {
    fn set(&mut self, key: &Key, variable: &str, text: &str) {
        let origin = Source::variable(variable).as_str().to_owned();
        self.0.insert(key.path.clone(), from_json(&origin, (key.from_text)(text)));
    }
}

fn unknown_variable(name: &str, path: String, keys: &[Key]) -> Problem {
    let meant = hint::nearest(&path, keys.iter().map(|key| key.path.as_str()));
    let hint = meant.map(|meant| format!("did you mean `{}`?", variable(meant)));
    Problem { key: path, source: Source::variable(name), message: "unknown key".to_owned(), hint }
}

/// The variable that sets a key.
pub fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_ascii_uppercase())
}

fn from_json(origin: &String, value: serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::Bool(value) => ValueKind::Boolean(value),
        serde_json::Value::Number(value) => value.as_i64().map_or(ValueKind::Nil, ValueKind::I64),
        serde_json::Value::String(value) => ValueKind::String(value),
        serde_json::Value::Array(list) => {
            ValueKind::Array(list.into_iter().map(|value| from_json(origin, value)).collect())
        }
        serde_json::Value::Null | serde_json::Value::Object(_) => ValueKind::Nil,
    };
    Value::new(Some(origin), kind)
}

/// A merged value as JSON, on which types are checked strictly.
pub(super) fn to_json(value: &Value) -> serde_json::Value {
    match &value.kind {
        ValueKind::Nil => serde_json::Value::Null,
        ValueKind::Boolean(value) => (*value).into(),
        ValueKind::I64(value) => (*value).into(),
        ValueKind::U64(value) => (*value).into(),
        ValueKind::Float(value) => (*value).into(),
        ValueKind::I128(_) | ValueKind::U128(_) => value.to_string().into(),
        ValueKind::String(value) => value.as_str().into(),
        ValueKind::Array(list) => list.iter().map(to_json).collect(),
        ValueKind::Table(table) => table.iter().map(|(name, value)| (name.clone(), to_json(value))).collect(),
    }
}
