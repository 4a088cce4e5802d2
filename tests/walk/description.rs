//! What the gateway says about itself, and whether an answer keeps to it.

use std::collections::BTreeSet;

use omniroute_testkit::admin::Admin;
use omniroute_testkit::http::Response;
use serde_json::{Value, json};

/// The OpenAPI document of a running gateway.
#[derive(Debug)]
pub struct Description(Value);

impl Description {
    /// Ask for it.
    pub async fn of(admin: &Admin) -> Self {
        Self(admin.get("/api/openapi.json").await)
    }

    /// Whether there is an operation `METHOD /path`.
    pub fn knows(&self, operation: &str) -> bool {
        self.find(operation).is_some()
    }

    /// The statuses that it may answer with.
    pub fn statuses(&self, operation: &str) -> BTreeSet<u16> {
        let answers = self.operation(operation)["responses"].as_object().expect("answers");
        answers.keys().map(|status| status.parse().expect("a status")).collect()
    }

    /// Whether it reads something of the caller: a body, or parameters behind the path.
    pub fn listens(&self, operation: &str) -> bool {
        let asked = self.operation(operation);
        let parameters = asked["parameters"].as_array().into_iter().flatten();
        self.takes_body(operation) || parameters.into_iter().any(|parameter| parameter["in"] == "query")
    }

    /// Whether it takes a body.
    pub fn takes_body(&self, operation: &str) -> bool {
        // Uploads are no JSON: what is said about too large ones tells that there is a body.
        self.statuses(operation).contains(&413)
    }

    /// Whether everybody may ask.
    pub fn is_public(&self, operation: &str) -> bool {
        self.operation(operation)["security"] == json!([])
    }

    /// Whether it is a client's.
    pub fn is_for_clients(&self, operation: &str) -> bool {
        self.operation(operation)["security"].to_string().contains("apiKey")
    }

    /// What is wrong with this answer, if anything is.
    pub fn complaint(&self, operation: &str, answer: &Response) -> Option<String> {
        let Some(said) = self.operation(operation)["responses"].get(answer.status().to_string()) else {
            return Some(format!("the status {} is not described", answer.status()));
        };
        let elsewhere = said["$ref"].as_str().and_then(|reference| self.0.pointer(reference.trim_start_matches('#')));
        let said = elsewhere.unwrap_or(said);
        let content = said["content"].as_object()?;
        let kind = answer.header("content-type").unwrap_or_default();
        let Some((_, body)) = content.iter().find(|(media, _)| kind.starts_with(media.as_str())) else {
            // The list in the description is of whole answers; a stream is the client's own wish.
            return (!kind.starts_with("text/event-stream")).then(|| format!("it comes as {kind:?}"));
        };
        if !kind.starts_with("application/json") {
            return None;
        }
        self.against(&body["schema"], &answer.json())
    }

    fn against(&self, schema: &Value, answer: &Value) -> Option<String> {
        let mut whole = schema.clone();
        whole["components"] = self.0["components"].clone();
        let validator = jsonschema::draft202012::new(&whole).expect("a schema");
        let problems: Vec<_> =
            validator.iter_errors(answer).map(|error| format!("{error} at {}", error.instance_path())).collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    fn operation(&self, operation: &str) -> &Value {
        self.find(operation).unwrap_or_else(|| panic!("{operation} is not described"))
    }

    fn find(&self, operation: &str) -> Option<&Value> {
        let (method, path) = operation.split_once(' ')?;
        self.0["paths"].get(path)?.get(method.to_lowercase())
    }
}
