//! Interim answers (`100 Continue`, `103 Early Hints`) before the real one. awc takes the first head for the answer,
//! whatever its status is, so they are taken out of the bytes before it sees them.
//!
//! ```text
//!   Passing --request begins--> Expecting --first bytes are no interim head--> Passing
//!                                  |  ^ an interim head is whole: dropped
//!                                  '--' held until it is
//! ```
//! Only the first bytes of a response are looked at. There may be few and small ones: a peer that sends more is broken,
//! and awc gets to see, and to refuse, what it sends. Under TLS the bytes are sealed here: there an interim answer is what
//! awc makes of it, a failed attempt whose connection is retired.

/// So many interim heads may come before an answer.
const MOST_HEADS: usize = 8;
/// So many bytes they may have together.
const MOST_BYTES: usize = 16 * 1024;

/// Where a connection stands.
#[derive(Debug, Default)]
pub(super) enum Interim {
    /// Bytes go by unseen.
    #[default]
    Passing,
    /// The head of a response is to come.
    Expecting(Heads),
    /// What was held is on its way.
    Releasing(Vec<u8>),
}

/// What has come of the heads so far.
#[derive(Debug, Default)]
pub(super) struct Heads {
    held: Vec<u8>,
    dropped: usize,
    dropped_bytes: usize,
}

/// What some first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Unclear,
    Interim,
    Other,
}

impl Interim {
    /// A request is being sent.
    pub(super) fn expect(&mut self) {
        *self = Self::Expecting(Heads::default());
    }

    /// Whether nothing needs to be looked at.
    pub(super) const fn is_passing(&self) -> bool {
        matches!(self, Self::Passing)
    }

    /// Whether these bytes, which begin a response, may pass as they are. They nearly always do.
    pub(super) fn passes(&mut self, bytes: &[u8]) -> bool {
        let untouched = matches!(self, Self::Expecting(heads) if heads.held.is_empty());
        let pass = untouched && start(bytes) == Start::Other;
        if pass {
            *self = Self::Passing;
        }
        pass
    }

    /// Hold these bytes and drop what is whole; how many heads were dropped.
    pub(super) fn hold(&mut self, bytes: &[u8]) -> usize {
        let Self::Expecting(heads) = self else { return 0 };
        let before = heads.dropped;
        heads.held.extend_from_slice(bytes);
        let release = heads.sort_out();
        let dropped = heads.dropped.saturating_sub(before);
        if release {
            self.release();
        }
        dropped
    }

    /// Nothing more comes, or nothing more is to be dropped: what is held may pass.
    pub(super) fn release(&mut self) {
        if let Self::Expecting(heads) = self {
            *self = Self::Releasing(std::mem::take(&mut heads.held));
        }
    }

    /// At most so many of the bytes that may pass now; `None` when there are none.
    pub(super) fn take(&mut self, most: usize) -> Option<Vec<u8>> {
        let Self::Releasing(held) = self else { return None };
        if held.is_empty() {
            *self = Self::Passing;
            return None;
        }
        let rest = held.split_off(most.min(held.len()));
        Some(std::mem::replace(held, rest))
    }
}

impl Heads {
    /// Drop every whole interim head at the front; whether the rest is none and may pass.
    fn sort_out(&mut self) -> bool {
        loop {
            match start(&self.held) {
                Start::Unclear => return false,
                Start::Other => return true,
                Start::Interim => {}
            }
            let Some(length) = head_length(&self.held) else {
                return self.dropped_bytes + self.held.len() > MOST_BYTES;
            };
            if self.dropped == MOST_HEADS || self.dropped_bytes + length > MOST_BYTES {
                return true;
            }
            self.held.drain(..length);
            self.dropped += 1;
            self.dropped_bytes += length;
        }
    }
}

/// `101` is no interim answer: it ends the talk in HTTP.
fn start(bytes: &[u8]) -> Start {
    const VERSION: &[u8] = b"HTTP/1.";
    // A digit of the version and a space stand between.
    const STATUS: usize = VERSION.len() + 2;
    let common = VERSION.len().min(bytes.len());
    if bytes.get(..common) != VERSION.get(..common) || bytes.get(STATUS).is_some_and(|digit| *digit != b'1') {
        return Start::Other;
    }
    match bytes.get(STATUS..STATUS + 3) {
        None => Start::Unclear,
        Some(b"101") => Start::Other,
        Some(_) => Start::Interim,
    }
}

/// The length of the head with its empty line.
fn head_length(bytes: &[u8]) -> Option<usize> {
    let mut line_ends = memchr::memchr_iter(b'\n', bytes).map(|at| at + 1);
    line_ends.find_map(|at| match bytes.get(at..)? {
        [b'\n', ..] => Some(at + 1),
        [b'\r', b'\n', ..] => Some(at + 2),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINAL: &str = "HTTP/1.1 200 OK\r\n\r\nbody";

    /// What passes when the bytes come in pieces of this size, and how many heads were dropped.
    fn through(bytes: &str, piece: usize) -> (String, usize) {
        let (mut interim, mut passed, mut dropped) = (Interim::default(), Vec::new(), 0);
        interim.expect();
        for bytes in bytes.as_bytes().chunks(piece) {
            if interim.is_passing() || interim.passes(bytes) {
                passed.extend_from_slice(bytes);
                continue;
            }
            dropped += interim.hold(bytes);
            while let Some(bytes) = interim.take(3) {
                passed.extend(bytes);
            }
        }
        interim.release();
        passed.extend(interim.take(usize::MAX).unwrap_or_default());
        (String::from_utf8(passed).unwrap(), dropped)
    }

    #[test]
    fn interim_heads_are_dropped_wherever_the_bytes_are_cut() {
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        let cases = [("", 0), ("HTTP/1.1 100 Continue\r\n\r\n", 1), (hints, 1), ("HTTP/1.0 102 x\n\n", 1)];
        let all = format!("{}{}{}", cases[1].0, cases[2].0, cases[3].0);

        for (before, heads) in cases.into_iter().chain([(all.as_str(), 3)]) {
            for piece in 1..100 {
                let seen = through(&format!("{before}{FINAL}"), piece);
                assert_eq!(seen, (FINAL.to_owned(), heads), "{before:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_is_no_interim_answer_passes_as_it_is() {
        for bytes in
            ["HTTP/1.1 101 Switching\r\n\r\n\0", "SSH-2.0-x\r\n", "HTTP/2 100\r\n\r\n", "HTTP/1.1 500 x", "H", ""]
        {
            for piece in 1..20 {
                assert_eq!(through(bytes, piece), (bytes.to_owned(), 0), "in pieces of {piece}");
            }
        }
    }

    #[test]
    fn too_many_and_too_large_ones_are_shown() {
        let storm = "HTTP/1.1 100 Continue\r\n\r\n".repeat(MOST_HEADS + 2);
        let large = format!("HTTP/1.1 103 x\r\nlink: {}\r\n\r\n", "a".repeat(MOST_BYTES));

        for piece in [1, 7, 4096, 1 << 20] {
            assert_eq!(through(&storm, piece), ("HTTP/1.1 100 Continue\r\n\r\n".repeat(2), MOST_HEADS));
            assert_eq!(through(&large, piece), (large.clone(), 0));
        }
    }

    #[test]
    fn the_bytes_behind_a_head_are_not_looked_at() {
        let body = "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";

        assert_eq!(through(body, 19), (body.to_owned(), 0));
    }
}
