//! Streams repeat themselves: from one content chunk to the next only the text differs. Once a chunk was read and found to
//! hold nothing but text, the next one that has the same bytes around its text means the same, and need not be parsed.

use std::ops::Range;

use bytes::Bytes;
use memchr::{memchr2, memmem};

use super::framed;
use crate::sse::SseEvent;

const KEY: &str = "\"content\":";

/// The bytes around the text of a content chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stencil {
    came: Around,
    /// What the client gets of them, where it does not get the event as it came.
    shown: Option<Around>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Around {
    before: Box<str>,
    after: Box<str>,
}

impl Stencil {
    /// Of a chunk that was read: its content has `chars` characters, all of which stand in one plain string, and the bytes
    /// at `hidden` are not for the client.
    pub(super) fn cut(chunk: &str, chars: u64, hidden: &Range<usize>) -> Option<Self> {
        let (_, rest) = chunk.split_at_checked(memmem::find(chunk.as_bytes(), KEY.as_bytes())? + KEY.len())?;
        let text = rest.trim_ascii_start().strip_prefix('"')?;
        let length = memchr2(b'"', b'\\', text.as_bytes()).filter(|end| text.as_bytes().get(*end) == Some(&b'"'))?;
        let start = chunk.len() - text.len();
        let text = start..start + length;
        if plain(chunk.get(text.clone())?.as_bytes())?.1 != chars {
            return None;
        }
        let came = Around { before: chunk.get(..text.start)?.into(), after: chunk.get(text.end..)?.into() };
        let shown = if hidden.is_empty() { None } else { Some(came.without(hidden, &text)?) };
        Some(Self { came, shown })
    }

    /// The characters of the text, and what the client gets, if the event is this stencil with another text.
    pub(super) fn again(&self, event: &SseEvent) -> Option<(u64, Bytes)> {
        let rest = event.data.strip_prefix(self.came.before.as_bytes())?;
        let (text, chars) = plain(rest.strip_suffix(self.came.after.as_bytes())?)?;
        let forward = match &self.shown {
            None => event.raw.clone(),
            Some(shown) => framed(&[&shown.before, text, &shown.after]),
        };
        Some((chars, forward))
    }
}

impl Around {
    /// The same around a text at `text` without what is hidden, unless that reaches into the text.
    fn without(&self, hidden: &Range<usize>, text: &Range<usize>) -> Option<Self> {
        let cut = |from: &str, place: Range<usize>| Some([from.get(..place.start)?, from.get(place.end..)?].concat());
        if hidden.end <= text.start {
            return Some(Self { before: cut(&self.before, hidden.clone())?.into(), after: self.after.clone() });
        }
        let start = hidden.start.checked_sub(text.end)?;
        let after = cut(&self.after, start..hidden.end.checked_sub(text.end)?)?;
        Some(Self { before: self.before.clone(), after: after.into() })
    }
}

/// A JSON string's inside that has no escapes and is not empty, and its characters.
fn plain(text: &[u8]) -> Option<(&str, u64)> {
    let harmless = !text.is_empty() && text.iter().all(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f));
    let text = std::str::from_utf8(text).ok().filter(|_| harmless)?;
    Some((text, text.chars().count() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: &str = r#"{"id":"c","choices":[{"index":0,"delta":{"content": "Hé"},"finish_reason":null}]}"#;

    fn event(data: Vec<u8>) -> SseEvent {
        let raw = Bytes::from([b"data: ", &*data, b"\n\n"].concat());
        SseEvent { data: raw.slice(6..raw.len() - 2), raw, event: None, is_comment: false }
    }

    fn with(text: &str) -> SseEvent {
        event(CHUNK.replace("Hé", text).into_bytes())
    }

    #[test]
    fn the_same_chunk_with_another_text_is_recognised_and_not_copied() {
        let stencil = Stencil::cut(CHUNK, 2, &(0..0)).unwrap();

        let event = with("llo, wörld");

        let (chars, forward) = stencil.again(&event).unwrap();
        assert_eq!((chars, forward.as_ptr()), (10, event.raw.as_ptr()));
    }

    #[test]
    fn what_is_hidden_is_left_out_on_either_side_of_the_text() {
        for chunk in [
            r#"{"choices":[{"delta":{"content":"a"}}],"usage":null,"x":1}"#,
            r#"{"usage":null,"choices":[{"delta":{"content":"a"}}],"x":1}"#,
        ] {
            let hidden =
                [",\"usage\":null", "\"usage\":null,"].into_iter().find(|hidden| chunk.contains(hidden)).unwrap();
            let at = chunk.find(hidden).unwrap();
            let stencil = Stencil::cut(chunk, 1, &(at..at + hidden.len())).unwrap();

            let (_, forward) = stencil.again(&event(chunk.replace("\"a\"", "\"bc\"").into_bytes())).unwrap();

            assert_eq!(forward, "data: {\"choices\":[{\"delta\":{\"content\":\"bc\"}}],\"x\":1}\n\n");
        }
    }

    #[test]
    fn a_text_that_could_change_the_structure_is_left_to_the_parser() {
        let stencil = Stencil::cut(CHUNK, 2, &(0..0)).unwrap();

        for text in ["", "a\"},\"x\":{\"y\":\"", "\\n", "a\u{1}"] {
            assert_eq!(stencil.again(&with(text)), None, "{text}");
        }
        let mut broken = with("ab").data.to_vec();
        let at = broken.iter().position(|byte| *byte == b'b').unwrap();
        broken[at] = 0xff;
        assert_eq!(stencil.again(&event(broken)), None);
    }

    #[test]
    fn a_chunk_whose_content_is_elsewhere_gives_no_stencil() {
        assert_eq!(Stencil::cut(CHUNK, 7, &(0..0)), None);
        assert_eq!(Stencil::cut(r#"{"choices":[{"delta":{"content":null}}]}"#, 0, &(0..0)), None);
        assert_eq!(Stencil::cut(r#"{"choices":[{"delta":{"content":"cut"#, 3, &(0..0)), None);
    }
}
