//! The text of a delta's members.

use bytes::{BufMut as _, BytesMut};
use serde_json::Value;

use crate::openai_chat_stream::DONE_FRAME;
use crate::usage::Usage;

/// The members that all chunks of a stream begin with, up to its choices; `labels` are texts behind them.
pub(crate) fn stream_head(object: &str, id: &str, created: i64, model: &str, labels: &[(&str, &str)]) -> Vec<u8> {
    let mut head = b"data: {\"id\":".to_vec();
    text(&mut head, id);
    head.extend_from_slice(b",\"object\":");
    text(&mut head, object);
    head.extend_from_slice(b",\"created\":");
    let _ = serde_json::to_writer(&mut head, &created);
    head.extend_from_slice(b",\"model\":");
    text(&mut head, model);
    for (name, label) in labels {
        head.extend_from_slice(b",\"");
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b"\":");
        text(&mut head, label);
    }
    head.extend_from_slice(b",\"choices\":[");
    head
}

/// The end of a stream: what was used, where the client wants to know, and the mark.
pub(crate) fn stream_end(head: &[u8], usage: Option<Usage>, out: &mut BytesMut) {
    if let Some(usage) = usage {
        out.extend_from_slice(head);
        out.extend_from_slice(b"],\"usage\":");
        out.extend_from_slice(usage.to_openai().as_bytes());
        out.extend_from_slice(b"}\n\n");
    }
    out.extend_from_slice(DONE_FRAME.as_bytes());
}

/// A text as JSON. Writing into memory cannot fail.
fn text(out: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(out, text);
}

/// A number as JSON.
pub(super) fn number(out: &mut BytesMut, number: u32) {
    let _ = serde_json::to_writer(out.writer(), &number);
}

fn string(out: &mut BytesMut, text: &str) {
    let _ = serde_json::to_writer(out.writer(), text);
}

/// A member that is a text.
pub(super) fn member(out: &mut BytesMut, name: &str, value: &str) {
    string(out, name);
    out.extend_from_slice(b":");
    string(out, value);
}

/// A member that is anything.
pub(super) fn json_member(out: &mut BytesMut, name: &str, value: &Value) {
    string(out, name);
    out.extend_from_slice(b":");
    let _ = serde_json::to_writer(out.writer(), value);
}

/// The first fragment of a call.
pub(super) fn call_begin(out: &mut BytesMut, index: u32, id: &str, name: &str, custom: bool, functions_form: bool) {
    if functions_form {
        out.extend_from_slice(b"\"function_call\":{");
        member(out, "name", name);
        out.extend_from_slice(b",\"arguments\":\"\"}");
        return;
    }
    out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
    number(out, index);
    out.extend_from_slice(b",");
    member(out, "id", id);
    let (kind, input): (&[u8], &[u8]) = if custom {
        (b",\"type\":\"custom\",\"custom\":{", b",\"input\":\"\"}}]")
    } else {
        (b",\"type\":\"function\",\"function\":{", b",\"arguments\":\"\"}}]")
    };
    out.extend_from_slice(kind);
    member(out, "name", name);
    out.extend_from_slice(input);
}

/// A fragment of a call's arguments.
pub(super) fn call_more(out: &mut BytesMut, index: u32, more: &str, custom: bool, functions_form: bool) {
    if functions_form {
        out.extend_from_slice(b"\"function_call\":{");
        member(out, "arguments", more);
        out.extend_from_slice(b"}");
        return;
    }
    out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
    number(out, index);
    out.extend_from_slice(if custom { b",\"custom\":{\"input\":" } else { b",\"function\":{\"arguments\":" });
    string(out, more);
    out.extend_from_slice(b"}}]");
}

/// The proof of a call.
pub(super) fn call_proof(out: &mut BytesMut, index: u32, extra: &Value) {
    out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
    number(out, index);
    // Without a function the official clients take the fragment for broken.
    out.extend_from_slice(b",\"function\":{\"arguments\":\"\"},");
    json_member(out, "extra_content", extra);
    out.extend_from_slice(b"}]");
}
