//! What a combo changes in the requests that it serves: its own instructions in the place of theirs, and only the tools
//! that it lets through.

use omniroute_actors::router::plan::{Combo, ToolFilter};
use regex::RegexBuilder;
use serde_json::Value;

use crate::wire::chat::{Message, Request, Role, Tool, ToolChoice, ToolKind};

/// What a compiled expression may take in memory.
const FILTER_BYTES: usize = 256 * 1024;

/// A filter of tools. This kind of expression takes time in proportion to the text, whatever it says.
///
/// # Errors
/// What is wrong with it, in one line.
pub fn tool_filter(pattern: &str) -> Result<ToolFilter, String> {
    let compiled = RegexBuilder::new(pattern).size_limit(FILTER_BYTES).dfa_size_limit(FILTER_BYTES).build();
    let compiled = compiled.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "Is too large when it is compiled".to_owned(),
        other => {
            let said = other.to_string();
            let last = said.lines().last().unwrap_or_default();
            format!("Is no regular expression: {}", last.trim_start_matches("error: "))
        }
    })?;
    Ok(ToolFilter::new(pattern, move |name| compiled.is_match(name)))
}

/// Whether the combo changes anything.
pub const fn changes(combo: &Combo) -> bool {
    combo.system_message.is_some() || combo.tool_filter.is_some()
}

/// The request as the combo wants it.
pub fn applied(combo: &Combo, request: &Request) -> Request {
    let mut request = request.clone();
    if let Some(text) = &combo.system_message {
        request.messages.retain(|message| !message.role.instructs());
        request.messages.insert(0, Message::text(Role::System, &**text));
    }
    if let Some(filter) = &combo.tool_filter {
        request.tools.retain(|tool| filter.keeps(name(tool)));
        request.tool_choice = request.tool_choice.take().and_then(|choice| still_possible(choice, &request.tools));
    }
    request
}

/// What is no function goes by its name, or else by its type.
fn name(tool: &Tool) -> &str {
    match &tool.kind {
        ToolKind::Function { name, .. } | ToolKind::Custom { name, .. } => name,
        ToolKind::Native(value) => {
            let member = |member: &str| value.get(member).and_then(Value::as_str);
            member("name").or_else(|| member("type")).unwrap_or_default()
        }
    }
}

/// A choice of what is gone is none.
fn still_possible(choice: ToolChoice, tools: &[Tool]) -> Option<ToolChoice> {
    let is_there = |wanted: &str| tools.iter().any(|tool| name(tool) == wanted);
    match choice {
        _ if tools.is_empty() => None,
        ToolChoice::Named(wanted) => is_there(&wanted).then_some(ToolChoice::Named(wanted)),
        ToolChoice::Allowed { required, mut names } => {
            names.retain(|wanted| is_there(wanted));
            (!names.is_empty()).then_some(ToolChoice::Allowed { required, names })
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use omniroute_actors::router::plan::Strategy;

    use super::*;
    use crate::wire::openai;

    fn request() -> Request {
        let body = br#"{"model":"team","messages":[{"role":"system","content":"old"},{"role":"user","content":"hi"},
            {"role":"developer","content":"older"}],"tool_choice":{"type":"function","function":{"name":"write_file"}},
            "tools":[{"type":"function","function":{"name":"read_file"}},{"type":"function","function":{"name":"write_file"}}]}"#;
        openai::decode_request(body).unwrap()
    }

    fn combo(system_message: Option<&str>, filter: Option<&str>) -> Combo {
        Combo {
            system_message: system_message.map(Into::into),
            tool_filter: filter.map(|pattern| tool_filter(pattern).unwrap()),
            ..Combo::new("team", Strategy::Priority, Vec::new())
        }
    }

    #[test]
    fn the_combos_instructions_take_the_place_of_all_of_the_request() {
        let changed = applied(&combo(Some("Be brief."), None), &request());

        let texts: Vec<_> = changed.messages.iter().filter_map(|message| message.parts[0].as_text()).collect();
        assert_eq!(texts, ["Be brief.", "hi"]);
        assert_eq!(changed.tools.len(), 2);
    }

    #[test]
    fn only_tools_that_pass_are_sent_and_a_choice_of_another_is_none() {
        let some = applied(&combo(None, Some("^read_")), &request());
        let none = applied(&combo(None, Some("^nothing$")), &request());

        assert_eq!(some.tools.iter().map(name).collect::<Vec<_>>(), ["read_file"]);
        assert_eq!((some.tool_choice, none.tool_choice, none.tools.len()), (None, None, 0));
    }

    #[test]
    fn a_tool_filter_is_an_expression_of_bounded_cost() {
        assert!(tool_filter("^(read|write)_.*$").unwrap().keeps("read_file"));

        assert!(tool_filter("(").unwrap_err().starts_with("Is no regular expression: "));
        assert_eq!(tool_filter("(a{500}){500}").unwrap_err(), "Is too large when it is compiled");
        assert!(tool_filter(r"(a)\1").unwrap_err().contains("backreferences"));
    }
}
