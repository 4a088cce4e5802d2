//! Lines of JSON out of bytes that are cut anywhere, and into bytes that no client cuts wrongly.
//!
//! Lines end with LF alone (a CR before it is white space to JSON), and blank lines are none. Some clients split at U+2028, U+2029 and U+0085 too, so
//! everything written here escapes them.

use bytes::{BufMut, Bytes, BytesMut};
use memchr::{memchr, memchr2};
use serde::Serialize;

use crate::uncut::Uncut;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// What some clients take for the end of a line, and how it is written. The control characters among them (`\x0b`, `\x0c`, `\x1c` to
/// `\x1e`) are escaped by every JSON writer.
const BREAKS: [(&[u8], &[u8]); 3] =
    [(b"\xE2\x80\xA8", b"\\u2028"), (b"\xE2\x80\xA9", b"\\u2029"), (b"\xC2\x85", b"\\u0085")];

/// One line, as it came and as it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The exact bytes, the line end included.
    pub raw: Bytes,
    /// The same without white space around it.
    pub data: Bytes,
}

/// Why a stream cannot be read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// One line grew past the cap.
    #[error("a line of the stream is longer than {0} bytes")]
    TooLong(usize),
}

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
pub struct LineScanner {
    bytes: Uncut,
    started: bool,
}

impl LineScanner {
    /// A scanner that refuses lines of more than `max_line_bytes`, their ends included, and never holds more than that of an
    /// unfinished one.
    pub fn new(max_line_bytes: usize) -> Self {
        Self { bytes: Uncut::new(max_line_bytes), started: false }
    }

    /// Takes the next bytes of the stream. Ask [`Self::next_line`] until it has none before pushing more.
    pub fn push(&mut self, chunk: Bytes) {
        self.bytes.push(chunk);
    }

    /// The next line that says something, or none until more bytes come. After an error the scanner only repeats it.
    ///
    /// # Errors
    /// When a line is too long.
    pub fn next_line(&mut self) -> Result<Option<Line>, LineError> {
        let too_long = LineError::TooLong(self.bytes.cap());
        loop {
            if self.bytes.has_failed() {
                return Err(too_long);
            }
            let Some(end) = memchr(b'\n', &self.bytes.chunk) else {
                return self.bytes.keep().map(|()| None).map_err(|_| too_long);
            };
            let raw = self.bytes.take(end.saturating_add(1)).map_err(|_| too_long)?;
            if let Some(line) = self.read(raw) {
                return Ok(Some(line));
            }
        }
    }

    /// A last line that lacks its end. It may be whole or half of one: its JSON tells. Ask [`Self::next_line`] first.
    pub fn finish(&mut self) -> Option<Line> {
        let raw = self.bytes.take(self.bytes.chunk.len()).ok().filter(|_| !self.bytes.has_failed())?;
        self.read(raw)
    }

    fn read(&mut self, raw: Bytes) -> Option<Line> {
        let mut raw = raw;
        if !std::mem::replace(&mut self.started, true) && raw.starts_with(BOM) {
            let _ = raw.split_to(BOM.len());
        }
        let data = raw.slice_ref(raw.trim_ascii());
        (!data.is_empty()).then_some(Line { raw, data })
    }
}

/// Writes a value as one line, its end included.
pub fn write_line(value: &(impl Serialize + ?Sized), out: &mut BytesMut) {
    write_json(value, out);
    out.extend_from_slice(b"\n");
}

/// Writes a line that is passed on, its end included. Characters at which some client cuts are escaped; they stand in strings only.
pub fn write_raw(line: &[u8], out: &mut BytesMut) {
    let start = out.len();
    out.extend_from_slice(line);
    one_line(out, start);
    out.extend_from_slice(b"\n");
}

/// Writes a value as a piece of a line.
pub fn write_json(value: &(impl Serialize + ?Sized), out: &mut BytesMut) {
    let start = out.len();
    // Plain data into memory: neither the shape nor the writer can fail.
    let _ = serde_json::to_writer((&mut *out).writer(), value);
    one_line(out, start);
}

/// JSON text that stands in `out` from `start` on as one line, whatever a client takes for a line's end.
fn one_line(out: &mut BytesMut, start: usize) {
    let text = out.get(start..).unwrap_or_default();
    if memchr2(0xE2, 0xC2, text).is_none() && memchr2(b'\n', b'\r', text).is_none() {
        return;
    }
    let written = out.split_off(start);
    let mut rest: &[u8] = &written;
    while let Some((&byte, after)) = rest.split_first() {
        let broken = BREAKS.iter().find(|(bytes, _)| rest.starts_with(bytes));
        match broken {
            Some((bytes, escape)) => {
                out.extend_from_slice(escape);
                rest = rest.get(bytes.len()..).unwrap_or_default();
            }
            None => {
                // Between tokens only: inside of strings JSON has no line ends.
                out.extend_from_slice(&[if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }]);
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Line> {
        let (mut scanner, mut lines) = (LineScanner::new(100), Vec::new());
        for piece in pieces {
            scanner.push(Bytes::copy_from_slice(piece));
            while let Some(line) = scanner.next_line().unwrap() {
                lines.push(line);
            }
        }
        lines.extend(scanner.finish());
        lines
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(
            bytes in "(\u{feff}?)[ab\u{2028}\\r\\n ]{0,40}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let bytes = bytes.as_bytes();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
            places.sort_unstable();
            let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();

            prop_assert_eq!(lines(&pieces), lines(&[bytes]));
        }

        #[test]
        fn no_text_breaks_a_written_line(text in "[a\u{2028}\u{2029}\u{85}\\x0b\\x0c\\x1c\\x1d\\x1e\\r\\né]{0,20}") {
            let mut out = BytesMut::new();

            write_line(&text, &mut out);

            let line = std::str::from_utf8(&out).unwrap().strip_suffix('\n').unwrap();
            let breaks = ['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e'];
            prop_assert!(!line.contains(breaks));
            prop_assert_eq!(serde_json::from_str::<String>(line).unwrap(), text);
        }
    }

    #[test]
    fn lines_are_read_without_what_is_around_them() {
        let all = lines(&["\u{feff}{\"a\":1}\r\n\n \r\n{\"b\":\"\u{2028}\"} \nrest".as_bytes()]);

        let data: Vec<&[u8]> = all.iter().map(|line| line.data.as_ref()).collect();
        assert_eq!(data, [b"{\"a\":1}".as_slice(), "{\"b\":\"\u{2028}\"}".as_bytes(), b"rest"]);
        assert_eq!(all[0].raw, "{\"a\":1}\r\n");
    }

    #[test]
    fn a_line_past_the_cap_is_refused_for_good() {
        for pieces in [vec![vec![b'a'; 101]], vec![vec![b'a'; 60], vec![b'a'; 60]]] {
            let mut scanner = LineScanner::new(100);

            let results: Vec<_> = pieces
                .into_iter()
                .map(|piece| {
                    scanner.push(piece.into());
                    scanner.next_line()
                })
                .collect();

            assert_eq!(results.last(), Some(&Err(LineError::TooLong(100))));
            assert_eq!(scanner.next_line(), Err(LineError::TooLong(100)));
            assert_eq!(scanner.finish(), None);
        }
    }
}
