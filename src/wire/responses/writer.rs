//! Frames and JSON text, written straight into the client's buffer.

use std::fmt::Write as _;

use bytes::{BufMut as _, BytesMut};

/// Numbers the frames of one stream.
#[derive(Debug)]
pub(super) struct Frames {
    next: u64,
    /// Nobody reads the frames: only the items that come together are wanted.
    silent: bool,
}

impl Frames {
    pub(super) const fn new(silent: bool) -> Self {
        Self { next: 0, silent }
    }

    /// A frame; `members` writes what follows the number, comma first.
    pub(super) fn write(&mut self, kind: &str, out: &mut BytesMut, members: impl FnOnce(&mut BytesMut)) {
        if self.silent {
            return;
        }
        // Writing into memory cannot fail.
        let _ = write!(out, "event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{}", self.next);
        self.next = self.next.saturating_add(1);
        members(out);
        out.extend_from_slice(b"}\n\n");
    }
}

/// `,"name":"text"` with the text escaped.
pub(super) fn text_member(name: &str, text: &str, out: &mut BytesMut) {
    raw_name(name, out);
    // A text into memory cannot fail.
    let _ = serde_json::to_writer(out.writer(), text);
}

/// `,"name":json`.
pub(super) fn json_member(name: &str, json: &str, out: &mut BytesMut) {
    raw_name(name, out);
    out.extend_from_slice(json.as_bytes());
}

fn raw_name(name: &str, out: &mut BytesMut) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A text as JSON.
pub(super) fn json_text(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// A list of JSON texts.
pub(super) fn json_list(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}
