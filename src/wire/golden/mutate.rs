//! Bytes that were good once.
//!
//! Half of the changes know JSON: whole values are replaced, by odd ones or by values of another fixture, so that the readers
//! behind the parser are reached.

use std::ops::Range;

/// Numbers that look random and are the same for the same seed.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of the first `count` numbers; 0 of none.
    pub(super) fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(count.max(1)).unwrap()).unwrap()
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Values that readers do not expect.
const ODD: [&str; 24] = [
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1e308",
    "-0.0",
    "18446744073709551615",
    "99999999999999999999999",
    "4294967296",
    "0.1",
    "\"\"",
    "\" \"",
    "\"\\u0000\"",
    "\"\\ud83d\"",
    "\"omr1.google.\"",
    "\"omr1.call.google.999.x\"",
    "\"data:image/png;base64,\"",
    "[]",
    "{}",
    "[null]",
    "[[{}]]",
    "{\"type\":\"text\"}",
    "\"{\\\"a\\\":\"",
];

/// Bytes that mean something to a framing or to JSON.
const TELLING: &[u8] = b"\0\n\r\t \"\\{}[]:,0-e\x7f\x80\xc2\xe2\xef\xf0\xff";

/// The good bytes with up to four changes; `other` lends pieces.
pub(super) fn mutated(good: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=random.below(4) {
        match random.below(12) {
            0 => flip(&mut bytes, random),
            1 => bytes.truncate(random.below(bytes.len() + 1)),
            2 => splice(&mut bytes, other, random),
            3 => repeat(&mut bytes, random),
            4 => drop(bytes.drain(some_range(bytes.len(), random))),
            5 => put_telling(&mut bytes, random),
            6 => nest(&mut bytes, random),
            7 | 8 => put_value(&mut bytes, random.pick(&ODD).as_bytes().to_vec(), random),
            9 => put_value(&mut bytes, some_value(other, random), random),
            10 => put_value(&mut bytes, Vec::new(), random),
            _ => {
                let value = some_value(&bytes, random);
                put_value(&mut bytes, value, random);
            }
        }
    }
    bytes
}

fn flip(bytes: &mut [u8], random: &mut Random) {
    let at = random.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

fn some_range(length: usize, random: &mut Random) -> Range<usize> {
    let start = random.below(length + 1);
    start..start + random.below((length - start).min(64) + 1)
}

fn splice(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let (head, tail) = (random.below(bytes.len() + 1), random.below(other.len() + 1));
    bytes.truncate(head);
    bytes.extend_from_slice(&other[tail..]);
}

fn repeat(bytes: &mut Vec<u8>, random: &mut Random) {
    let piece = bytes[some_range(bytes.len(), random)].to_vec();
    let at = random.below(bytes.len() + 1);
    bytes.splice(at..at, piece);
}

fn put_telling(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    bytes.insert(at, *random.pick(TELLING));
}

/// A value inside of many lists: readers that recurse must stop in time.
fn nest(bytes: &mut Vec<u8>, random: &mut Random) {
    let depth = *random.pick(&[3, 100, 126, 127, 128, 1_000]);
    put_value(bytes, ["[".repeat(depth), "]".repeat(depth)].concat().into_bytes(), random);
}

fn put_value(bytes: &mut Vec<u8>, value: Vec<u8>, random: &mut Random) {
    if let Some(place) = value_place(bytes, random) {
        bytes.splice(place, value);
    }
}

fn some_value(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    value_place(bytes, random).map_or_else(|| b"null".to_vec(), |place| bytes[place].to_vec())
}

/// Where some member's value stands.
fn value_place(bytes: &[u8], random: &mut Random) -> Option<Range<usize>> {
    let from = random.below(bytes.len());
    let colon = from + memchr::memmem::find(bytes.get(from..)?, b"\":")? + 2;
    let start = colon + bytes.get(colon..)?.iter().position(|byte| !byte.is_ascii_whitespace())?;
    Some(start..start + value_length(&bytes[start..]))
}

fn value_length(bytes: &[u8]) -> usize {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => {
                in_text = !in_text;
                if !in_text && depth == 0 {
                    return at + 1;
                }
            }
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    bytes.len()
}
