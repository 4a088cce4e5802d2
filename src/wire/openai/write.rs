//! The text of a delta's members.

use bytes::{BufMut as _, BytesMut};
use serde_json::Value;

/// A text as JSON. Writing into memory cannot fail.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
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
