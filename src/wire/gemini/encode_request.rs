//! A request for Google.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::model::Abilities;
use super::{encode_config, encode_parts, schema};
use crate::chat::ids::{self, Names, Spelling};
use crate::chat::lost;
use crate::chat::repair;
use crate::chat::{Dropped, EncodeTarget, Encoded, Family, Format, Part, Refused, Request, Role, ToolChoice, ToolKind};

/// What the writers of one request share.
#[derive(Debug)]
pub(super) struct Writing<'a> {
    pub(super) request: &'a Request,
    pub(super) model: Abilities,
    pub(super) names: Names,
    pub(super) dropped: Vec<Dropped>,
}

impl Writing<'_> {
    /// The client speaks Google's format too: nothing of its own is foreign.
    pub(super) fn own(&self) -> bool {
        self.request.from == Format::Gemini
    }

    pub(super) fn drop(&mut self, field: impl Into<String>, why: &'static str) {
        self.dropped.push(Dropped::new(field, why));
    }
}

/// Writes a request for `generateContent`; model and stream stand in the path.
///
/// # Errors
/// What would mean something else without a field that Google does not take.
pub fn encode_request(request: &Request, target: &EncodeTarget<'_>) -> Result<Encoded, Refused> {
    let names = Names::of(request, Spelling::GEMINI);
    let model = Abilities::of(target.model);
    let mut writing = Writing { request, model, names, dropped: Vec::new() };
    let mut body = Map::new();
    let contents = contents(&mut writing, &mut body)?;
    let has_functions = tools(&mut writing, &mut body);
    encode_config::write(&mut writing, has_functions, &mut body)?;
    rest(&writing, &mut body);
    losses(&mut writing);
    let others = Value::Object(body).to_string();
    let others = others.strip_prefix('{').filter(|others| *others != "}").map(|others| format!(",{others}"));
    let body = format!("{{\"contents\":{contents}{}", others.as_deref().unwrap_or("}"));
    let way_back = writing.names.way_back(false);
    Ok(Encoded { body: Bytes::from(body), dropped: writing.dropped, way_back })
}

/// The turns, as JSON text: the arguments of calls in it are byte for byte the model's.
fn contents(writing: &mut Writing<'_>, body: &mut Map<String, Value>) -> Result<String, Refused> {
    let own = writing.own();
    let misfit = |role: Role, part: &Part| encode_parts::misfit(own, role, part);
    let mut messages = lost::fitting(writing.request, Format::Gemini, &mut writing.dropped, misfit)?;
    repair::name_results(&mut messages);
    let (mut head, mut turns) = repair::split_instructions(messages);
    if turns.is_empty() {
        // Instructions alone are a question.
        std::mem::swap(&mut head, &mut turns);
    }
    let texts: Vec<Value> = head
        .iter()
        .flat_map(|message| &message.parts)
        .filter_map(Part::as_text)
        .filter(|text| !text.is_empty())
        .map(|text| json!({"text": text}))
        .collect();
    if !texts.is_empty() {
        body.insert("systemInstruction".to_owned(), json!({"parts": texts}));
    }
    for message in turns.iter_mut().filter(|message| message.role.instructs()) {
        message.role = Role::User;
    }
    let turns = repair::answered(repair::merged(repair::without_empty(turns)));
    if turns.is_empty() {
        return Err(Refused::new("messages", "The conversation says nothing"));
    }
    Ok(encode_parts::contents(writing, &turns))
}

/// Writes the tools; whether there are functions among them.
fn tools(writing: &mut Writing<'_>, body: &mut Map<String, Value>) -> bool {
    let (mut functions, mut natives) = (Vec::new(), Vec::new());
    for (at, tool) in writing.request.tools.iter().enumerate() {
        match &tool.kind {
            ToolKind::Function { name, namespace, description, schema, strict } => {
                if *strict == Some(true) {
                    writing.drop(format!("tools[{at}].strict"), "Gemini makes no such promise");
                }
                let name = writing.names.upstream(name, namespace.as_deref(), Spelling::GEMINI);
                functions.push(declaration(writing, name, description.as_deref(), schema.as_ref()));
            }
            ToolKind::Custom { name, namespace, description, format } => {
                if format.is_some() {
                    writing.drop(format!("tools[{at}].format"), "Gemini has no grammars");
                }
                let name = writing.names.upstream(name, namespace.as_deref(), Spelling::GEMINI);
                let input =
                    json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]});
                functions.push(declaration(writing, name, description.as_deref(), Some(&input)));
            }
            ToolKind::Native(native) => natives.push((at, native)),
        }
    }
    let has_functions = !functions.is_empty();
    let mut tools = Vec::new();
    if has_functions {
        tools.push(json!({"functionDeclarations": functions}));
    }
    tools.extend(hosted(writing, has_functions, natives));
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    if has_functions {
        body.extend(tool_config(writing).map(|config| ("toolConfig".to_owned(), config)));
    }
    has_functions
}

/// Tools that the provider runs; of other formats' ones only web search has a counterpart.
fn hosted(writing: &mut Writing<'_>, has_functions: bool, natives: Vec<(usize, &Value)>) -> Vec<Value> {
    let mut tools = Vec::new();
    for (at, native) in natives {
        let is_search = native.get("type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("web_search"));
        if writing.own() {
            tools.push(native.clone());
        } else if !is_search {
            writing.drop(format!("tools[{at}]"), "Gemini has no such tool");
        } else if has_functions && !writing.model.mixes_tools() {
            writing.drop(format!("tools[{at}]"), "this model does not search while it has functions");
        } else {
            tools.push(json!({"googleSearch": {}}));
        }
    }
    tools
}

fn declaration(writing: &Writing<'_>, name: String, description: Option<&str>, schema: Option<&Value>) -> Value {
    let mut function = Map::new();
    function.insert("name".to_owned(), Value::String(name));
    function.extend(description.map(|text| ("description".to_owned(), json!(text))));
    let says_nothing = |schema: &&Value| {
        let members = schema.get("properties").and_then(Value::as_object);
        members.is_none_or(Map::is_empty)
            && ["$ref", "anyOf", "oneOf", "allOf"].iter().all(|key| schema.get(key).is_none())
    };
    let Some(schema) = schema.filter(|schema| !says_nothing(schema)) else { return Value::Object(function) };
    let (member, schema) = schema_member(writing, schema, "parametersJsonSchema", "parameters");
    function.extend(schema.map(|schema| (member.to_owned(), schema)));
    Value::Object(function)
}

/// A schema under the name that the model reads it by.
pub(super) fn schema_member(
    writing: &Writing<'_>,
    schema: &Value,
    newer: &'static str,
    older: &'static str,
) -> (&'static str, Option<Value>) {
    if writing.model.json_schema() { (newer, Some(schema.clone())) } else { (older, schema::cleaned(schema)) }
}

fn tool_config(writing: &Writing<'_>) -> Option<Value> {
    let choice = writing.request.tool_choice.as_ref()?;
    let names: Vec<String> =
        ids::chosen_names(choice).iter().map(|name| writing.names.chosen(name, Spelling::GEMINI)).collect();
    let mode = match choice {
        ToolChoice::Auto => "AUTO",
        ToolChoice::None => "NONE",
        ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. } => "ANY",
        ToolChoice::Allowed { required: false, .. } => "VALIDATED",
    };
    let mut config = json!({"mode": mode});
    if let (false, Some(config)) = (names.is_empty(), config.as_object_mut()) {
        config.insert("allowedFunctionNames".to_owned(), json!(names));
    }
    Some(json!({"functionCallingConfig": config}))
}

/// What only this format knows goes back to where it stood.
fn rest(writing: &Writing<'_>, body: &mut Map<String, Value>) {
    let request = writing.request;
    for (name, value) in request.rest.iter().filter(|_| writing.own()) {
        match name.split_once('.') {
            Some((outer @ ("generationConfig" | "toolConfig"), inner)) => {
                let outer = body.entry(outer).or_insert_with(|| json!({}));
                if let Some(outer) = outer.as_object_mut() {
                    outer.insert(inner.to_owned(), value.clone());
                }
            }
            _ => drop(body.insert(name.clone(), value.clone())),
        }
    }
}

/// What Gemini has no place for.
fn losses(writing: &mut Writing<'_>) {
    const ABSENT: [&str; 8] =
        ["min_p", "logit_bias", "parallel_tools", "verbosity", "user", "metadata", "service_tier", "cache_key"];
    let (request, own) = (writing.request, writing.own());
    writing.dropped.extend(lost::foreign_seals(request, Family::Google));
    writing.dropped.extend(lost::names(request, "Gemini has no names of speakers"));
    writing.dropped.extend(lost::citations(request, "Gemini has no sources of earlier answers", |_, _| false));
    writing.dropped.extend(lost::cache_marks(request, "Gemini caches by itself"));
    writing.dropped.extend(lost::fields(request, &ABSENT, "Gemini has no such setting"));
    writing.dropped.extend(lost::rest(request, "unknown to Gemini", |_| own));
}
