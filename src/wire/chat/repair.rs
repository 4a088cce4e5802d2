//! Conversations that clients write and providers refuse.
//!
//! Providers differ in what they insist on: that turns alternate, that every call is answered at once and in one message, that no
//! text is empty. An encoder asks for what its format insists on; the words of the conversation never change.

use super::part::{Part, PartKind, ToolResult};
use super::request::{Message, Role};

/// What stands where a result is missing.
const NO_RESULT: &str = "(no result)";

/// Messages without parts that say nothing: empty texts, and messages that are empty then. A cache hint on an empty text
/// goes with it.
pub fn without_empty(messages: Vec<Message>) -> Vec<Message> {
    let says_something = |part: &Part| part.as_text().is_none_or(|text| !text.trim().is_empty());
    let trimmed = messages.into_iter().map(|mut message| {
        message.parts.retain(says_something);
        message
    });
    trimmed.filter(|message| !message.parts.is_empty()).collect()
}

/// Neighbours of one role as one message; results of tools come first in it.
pub fn merged(messages: Vec<Message>) -> Vec<Message> {
    let mut merged: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages {
        match merged.last_mut() {
            Some(last) if last.role == message.role => last.parts.extend(message.parts),
            _ => merged.push(message),
        }
    }
    for message in merged.iter_mut().filter(|message| message.role == Role::User) {
        // Stable: results keep their order, and so does the rest.
        message.parts.sort_by_key(|part| !matches!(part.kind, PartKind::ToolResult(_)));
    }
    merged
}

/// After the instructions at the head user and model take turns: later instructions are told in the user's, and neighbours
/// of one role are one message.
pub fn alternating(messages: Vec<Message>) -> Vec<Message> {
    let (mut whole, mut turns) = split_instructions(messages);
    for message in turns.iter_mut().filter(|message| message.role.instructs()) {
        let words: Vec<&str> = message.parts.iter().filter_map(Part::as_text).collect();
        let reminder = format!("<system-reminder>\n{}\n</system-reminder>", words.join("\n\n"));
        *message = Message::text(Role::User, reminder);
    }
    whole.extend(merged(turns));
    whole
}

/// Every call is answered in the message that follows it, and every result answers such a call: missing results are put
/// in, orphans are taken out. Expects [`merged`] messages.
pub fn answered(messages: Vec<Message>) -> Vec<Message> {
    let mut whole: Vec<Message> = Vec::with_capacity(messages.len());
    let mut open: Vec<(String, String, bool)> = Vec::new();
    for mut message in messages {
        if message.role.instructs() {
            whole.push(message);
            continue;
        }
        let asked = std::mem::take(&mut open);
        if message.role == Role::User {
            answer(&mut message, asked);
        } else {
            if !asked.is_empty() {
                let mut results = Message::new(Role::User, Vec::new());
                answer(&mut results, asked);
                whole.push(results);
            }
            open = calls(&message);
        }
        whole.push(message);
    }
    if !open.is_empty() {
        let mut results = Message::new(Role::User, Vec::new());
        answer(&mut results, open);
        whole.push(results);
    }
    whole.retain(|message| !message.parts.is_empty());
    whole
}

fn calls(message: &Message) -> Vec<(String, String, bool)> {
    let call = |part: &Part| match &part.kind {
        PartKind::ToolCall(call) => Some((call.id.clone(), call.name.clone(), call.custom)),
        _ => None,
    };
    message.parts.iter().filter_map(call).collect()
}

/// Put the results of these calls first, in the order of the calls.
fn answer(message: &mut Message, asked: Vec<(String, String, bool)>) {
    let (mut results, others): (Vec<Part>, Vec<Part>) =
        std::mem::take(&mut message.parts).into_iter().partition(|part| matches!(part.kind, PartKind::ToolResult(_)));
    for (call_id, name, custom) in asked {
        let given =
            results.iter().position(|part| matches!(&part.kind, PartKind::ToolResult(r) if r.call_id == call_id));
        message.parts.push(match given {
            Some(at) => results.remove(at),
            None => Part::new(PartKind::ToolResult(ToolResult {
                call_id,
                name: Some(name),
                parts: vec![Part::text(NO_RESULT)],
                is_error: false,
                custom,
            })),
        });
    }
    message.parts.extend(others);
}

/// The instructions at the head of the conversation, and the rest.
pub fn split_instructions(messages: Vec<Message>) -> (Vec<Message>, Vec<Message>) {
    let head = messages.iter().take_while(|message| message.role.instructs()).count();
    let mut messages = messages;
    let turns = messages.split_off(head);
    (messages, turns)
}

/// Each result learns the name of the tool that was called: formats without ids pair by name.
pub fn name_results(messages: &mut [Message]) {
    let mut known: Vec<(String, String)> = Vec::new();
    for message in messages {
        for part in &mut message.parts {
            match &mut part.kind {
                PartKind::ToolCall(call) => known.push((call.id.clone(), call.name.clone())),
                PartKind::ToolResult(result) if result.name.is_none() => {
                    let call = known.iter().rev().find(|(id, _)| *id == result.call_id);
                    result.name = call.map(|(_, name)| name.clone());
                }
                _ => {}
            }
        }
    }
}
