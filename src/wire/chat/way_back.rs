//! How to undo, in an answer, what a request had to disguise.
//!
//! Names that are too long or hold characters that a provider refuses are shortened, tools of a namespace are flattened,
//! custom tools become functions with one text, and an answer by schema may have to be asked for as the call of a tool. The
//! client sees none of that.

use std::collections::BTreeMap;

use super::answer::Answer;
use super::event::{Delta, Event, Opening};
use super::part::{Part, PartKind, ToolCall};

/// The name of a tool as the client knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Original {
    /// Its name.
    pub name: String,
    /// Its group.
    pub namespace: Option<String>,
    /// It is a custom tool; upstream it is a function with the one argument `input`.
    pub custom: bool,
}

/// The disguises of one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WayBack {
    names: BTreeMap<String, Original>,
    /// A call of this tool is the answer's text.
    answer_tool: Option<String>,
}

impl WayBack {
    /// Remember that the client's tool is known to the provider by another name.
    pub fn renamed(&mut self, upstream: impl Into<String>, original: Original) {
        self.names.insert(upstream.into(), original);
    }

    /// Remember that a call of this tool is the answer's text.
    pub fn answered_by(&mut self, tool: impl Into<String>) {
        self.answer_tool = Some(tool.into());
    }

    /// Whether there is nothing to undo.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.answer_tool.is_none()
    }

    /// A whole answer as the client expects it.
    pub fn restore(&self, mut answer: Answer) -> Answer {
        if self.is_empty() {
            return answer;
        }
        for choice in &mut answer.choices {
            for part in &mut choice.parts {
                self.restore_part(part);
            }
            let has_calls = choice.parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)));
            choice.stop = choice.stop.clone().given(has_calls);
        }
        answer
    }

    fn restore_part(&self, part: &mut Part) {
        let PartKind::ToolCall(call) = &mut part.kind else { return };
        if self.answer_tool.as_ref() == Some(&call.name) {
            *part = Part::text(std::mem::take(&mut call.arguments));
        } else if let Some(original) = self.names.get(&call.name) {
            original.put_on(call);
        }
    }

    /// The same for a stream.
    pub fn for_stream(self) -> Restorer {
        Restorer { way_back: self, texts: Vec::new(), customs: Vec::new(), calls: Vec::new() }
    }
}

impl Original {
    fn put_on(&self, call: &mut ToolCall) {
        call.name.clone_from(&self.name);
        call.namespace.clone_from(&self.namespace);
        if self.custom {
            call.custom = true;
            call.arguments = input_of(&call.arguments);
        }
    }
}

/// The text inside the one argument; what is no such object is taken as it is.
fn input_of(arguments: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(arguments).ok();
    let input = parsed.as_ref().and_then(|value| value.get("input")).and_then(serde_json::Value::as_str);
    input.unwrap_or(arguments).to_owned()
}

/// Undoes the disguises event by event.
#[derive(Debug)]
pub struct Restorer {
    way_back: WayBack,
    /// Blocks of the tool whose call is the answer.
    texts: Vec<u32>,
    /// Blocks of custom tools, whose argument is whole only at its end.
    customs: Vec<(u32, String)>,
    /// Choices with calls that the client sees.
    calls: Vec<u32>,
}

impl Restorer {
    /// What the client is told in place of this event.
    pub fn restore(&mut self, event: Event, out: &mut Vec<Event>) {
        if self.way_back.is_empty() {
            out.push(event);
            return;
        }
        match event {
            Event::Open { block, choice, what: Opening::ToolCall { id, name, namespace, custom } } => {
                let call = ToolCall { id, name, namespace, custom, arguments: String::new(), seal: None };
                out.push(self.open(block, choice, call));
            }
            Event::Delta { block, delta: Delta::Arguments(more) } => out.extend(self.grow(block, more)),
            Event::Close { block } => {
                out.extend(self.whole_input(block));
                out.push(Event::Close { block });
            }
            Event::Stop { choice, stop } => {
                let stop = stop.given(self.calls.contains(&choice));
                out.push(Event::Stop { choice, stop });
            }
            other => out.push(other),
        }
    }

    fn open(&mut self, block: u32, choice: u32, mut call: ToolCall) -> Event {
        if self.way_back.answer_tool.as_ref() == Some(&call.name) {
            self.texts.push(block);
            return Event::Open { block, choice, what: Opening::Text };
        }
        self.calls.push(choice);
        if let Some(original) = self.way_back.names.get(&call.name) {
            original.put_on(&mut call);
            if call.custom {
                self.customs.push((block, String::new()));
            }
        }
        let ToolCall { id, name, namespace, custom, .. } = call;
        Event::Open { block, choice, what: Opening::ToolCall { id, name, namespace, custom } }
    }

    fn grow(&mut self, block: u32, more: String) -> Option<Event> {
        if self.texts.contains(&block) {
            return Some(Event::Delta { block, delta: Delta::Text(more) });
        }
        if let Some((_, input)) = self.customs.iter_mut().find(|custom| custom.0 == block) {
            input.push_str(&more);
            return None;
        }
        Some(Event::Delta { block, delta: Delta::Arguments(more) })
    }

    fn whole_input(&mut self, block: u32) -> Option<Event> {
        let at = self.customs.iter().position(|custom| custom.0 == block)?;
        let (_, arguments) = self.customs.swap_remove(at);
        Some(Event::Delta { block, delta: Delta::Arguments(input_of(&arguments)) })
    }
}
