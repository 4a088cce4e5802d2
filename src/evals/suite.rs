//! What a suite says: its cases, and what is expected of each answer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A suite, ready to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Suite {
    /// Identity.
    pub id: String,
    /// What operators call it.
    pub name: String,
    /// Its cases.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// Identity within the suite.
    pub id: String,
    /// What operators call it.
    pub name: String,
    /// Who answers when the run names nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What is asked.
    pub input: Input,
    /// What is expected.
    pub expected: Expected,
    /// For people.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// What is asked; spelled as in a chat request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Input {
    /// The conversation.
    pub messages: Vec<Turn>,
    /// Longest answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<i64>,
    /// How freely to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who says it.
    pub role: String,
    /// What.
    pub content: String,
}

/// What is expected of an answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expected {
    /// How it is compared.
    pub strategy: Strategy,
    /// With what: a text, an expression, a schema (also as an object), or what a judge shall look at.
    pub value: Value,
    /// `contains`: capitals matter.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub case_sensitive: bool,
    /// `judge`: who judges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge_model: Option<String>,
}

/// How an answer is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// It holds a text.
    #[default]
    Contains,
    /// It is a text, but for spaces around it.
    Exact,
    /// An expression finds something in it.
    Regex,
    /// It is JSON that fits a schema.
    JsonSchema,
    /// A model says whether it is good.
    Judge,
}

impl Strategy {
    /// Every strategy's name.
    pub const WORDS: [&'static str; 5] = ["contains", "exact", "regex", "json_schema", "judge"];

    /// The strategy of that name.
    pub fn parse(word: &str) -> Option<Self> {
        serde_json::from_value(Value::from(word)).ok()
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contains => "contains",
            Self::Exact => "exact",
            Self::Regex => "regex",
            Self::JsonSchema => "json_schema",
            Self::Judge => "judge",
        }
    }
}

impl Expected {
    /// The value where it is a text.
    pub fn text(&self) -> &str {
        self.value.as_str().unwrap_or_default()
    }
}
