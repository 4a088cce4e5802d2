//! Streams repeat themselves: from one content chunk to the next only the text differs. Once a chunk was read and found to
//! hold nothing but text, the next one that has the same bytes around its text means the same, and need not be parsed.

use memchr::{memchr2, memmem};

const KEY: &[u8] = b"\"content\":";

/// The bytes around the text of a content chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stencil {
    before: Box<[u8]>,
    after: Box<[u8]>,
}

impl Stencil {
    /// Of a chunk that was read: its content has `chars` characters, all of which stand in one plain string.
    pub(super) fn cut(chunk: &[u8], chars: u64) -> Option<Self> {
        let (_, rest) = chunk.split_at_checked(memmem::find(chunk, KEY)? + KEY.len())?;
        let text = rest.trim_ascii_start().strip_prefix(b"\"")?;
        let length = memchr2(b'"', b'\\', text).filter(|end| text.get(*end) == Some(&b'"'))?;
        let (before, text) = chunk.split_at_checked(chunk.len() - text.len())?;
        let (text, after) = text.split_at_checked(length)?;
        (plain(text) == Some(chars)).then(|| Self { before: before.into(), after: after.into() })
    }

    /// The characters of the text, if the chunk is this stencil with another text.
    pub(super) fn chars(&self, chunk: &[u8]) -> Option<u64> {
        let text = chunk.strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        plain(text)
    }
}

/// The characters of a JSON string's inside that has no escapes and is not empty.
fn plain(text: &[u8]) -> Option<u64> {
    let harmless = !text.is_empty() && text.iter().all(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f));
    let text = std::str::from_utf8(text).ok().filter(|_| harmless)?;
    Some(text.chars().count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: &str = r#"{"id":"c","choices":[{"index":0,"delta":{"content": "Hé"},"finish_reason":null}]}"#;

    fn with(text: &str) -> Vec<u8> {
        CHUNK.replace("Hé", text).into_bytes()
    }

    #[test]
    fn the_same_chunk_with_another_text_is_recognised() {
        let stencil = Stencil::cut(CHUNK.as_bytes(), 2).unwrap();

        assert_eq!(stencil.chars(&with("llo, wörld")), Some(10));
    }

    #[test]
    fn a_text_that_could_change_the_structure_is_left_to_the_parser() {
        let stencil = Stencil::cut(CHUNK.as_bytes(), 2).unwrap();

        for text in ["", "a\"},\"x\":{\"y\":\"", "\\n", "a\u{1}"] {
            assert_eq!(stencil.chars(&with(text)), None, "{text}");
        }
        let mut broken = with("ab");
        let at = broken.iter().position(|byte| *byte == b'b').unwrap();
        broken[at] = 0xff;
        assert_eq!(stencil.chars(&broken), None);
    }

    #[test]
    fn a_chunk_whose_content_is_elsewhere_gives_no_stencil() {
        assert_eq!(Stencil::cut(CHUNK.as_bytes(), 7), None);
        assert_eq!(Stencil::cut(br#"{"choices":[{"delta":{"content":null}}]}"#, 0), None);
        assert_eq!(Stencil::cut(br#"{"choices":[{"delta":{"content":"cut"#, 3), None);
    }
}
