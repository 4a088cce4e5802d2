//! Where the rest of a broken answer begins: whatever the new model says again of what was said is cut off.
//!
//! Models that go on with a beginning differ: most write only what is missing, some repeat the last word or sentence,
//! some give the whole beginning back. So the first words are held until it is clear which of these it is. A repetition
//! must begin where a word begins and be longer than chance (`had had`, `no, no`), or it is taken for the author's.

/// Letters and digits that a repetition has at least.
const LEAST: usize = 4;
/// A repetition that is not of the whole is looked for among so many last bytes.
const TAIL: usize = 400;

/// One seam.
#[derive(Debug)]
pub struct Seam {
    /// What was said, without white space at its end.
    before: String,
    /// There was white space, which the client has already.
    spaced: bool,
    held: String,
}

impl Seam {
    /// After these words.
    pub fn after(said: &str) -> Self {
        let before = said.trim_end();
        Self { before: before.to_owned(), spaced: before.len() < said.len(), held: String::new() }
    }

    /// More of the new words. What may be said once it is clear: then the seam is closed.
    pub fn take(&mut self, more: &str) -> Option<String> {
        self.held.push_str(more);
        (!self.is_open()).then(|| self.finish())
    }

    /// There is no more: what was held, without what was said before.
    pub fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        let words = held.trim_start();
        match self.repeated(words) {
            0 if self.spaced => words.to_owned(),
            0 => held,
            cut => {
                let rest = words.get(cut..).unwrap_or_default();
                (if self.spaced { rest.trim_start() } else { rest }).to_owned()
            }
        }
    }

    /// What is held may still become a repetition, or a longer one.
    fn is_open(&self) -> bool {
        let words = self.held.trim_start();
        let grows = || self.candidates().any(|end| end.len() > words.len() && end.starts_with(words));
        // Whether a space is missing shows in what comes next.
        let rest = || words.get(self.repeated(words)..).unwrap_or_default();
        words.is_empty() || grows() || rest().trim_start().is_empty()
    }

    /// Bytes of these words that were said before.
    fn repeated(&self, words: &str) -> usize {
        self.candidates().filter(|end| words.starts_with(end)).map(str::len).max().unwrap_or(0)
    }

    /// The ends of what was said that would be a repetition: the whole, or from a word on.
    fn candidates(&self) -> impl Iterator<Item = &str> {
        let before = self.before.as_str();
        let tail = before.ceil_char_boundary(before.len().saturating_sub(TAIL));
        let begins_word = move |at: usize| {
            let behind = before.get(..at).and_then(|head| head.chars().next_back());
            behind.is_none_or(|c| !c.is_alphanumeric())
        };
        let places = before.char_indices().map(|(at, _)| at).filter(move |at| *at == 0 || *at >= tail);
        let ends = places.filter(move |at| begins_word(*at)).filter_map(|at| before.get(at..));
        ends.filter(|end| end.chars().next().is_some_and(char::is_alphanumeric) || end.len() == before.len())
            .filter(|end| end.chars().filter(|c| c.is_alphanumeric()).take(LEAST).count() == LEAST)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The whole text, when the rest comes in pieces of this many characters.
    fn joined(before: &str, rest: &str, piece: usize) -> String {
        let mut seam = Some(Seam::after(before));
        let mut text = before.to_owned();
        let chars: Vec<char> = rest.chars().collect();
        for piece in chars.chunks(piece) {
            let piece: String = piece.iter().collect();
            match &mut seam {
                Some(open) => {
                    if let Some(said) = open.take(&piece) {
                        text.push_str(&said);
                        seam = None;
                    }
                }
                None => text.push_str(&piece),
            }
        }
        text + &seam.map(|mut open| open.finish()).unwrap_or_default()
    }

    #[rstest]
    #[case::goes_on("The quick", " brown fox", "The quick brown fox")]
    #[case::inside_a_word("The quick bro", "wn fox", "The quick brown fox")]
    #[case::single_letters("hel", "lo", "hello")]
    #[case::after_a_space("The quick ", " brown fox", "The quick brown fox")]
    #[case::repeats_a_word("The quick brown", "brown fox", "The quick brown fox")]
    #[case::repeats_half_a_word("the interna", "international news", "the international news")]
    #[case::repeats_words("a b. The quick brown", " The quick brown fox", "a b. The quick brown fox")]
    #[case::repeats_all("Once upon a", "Once upon a time", "Once upon a time")]
    #[case::repeats_all_and_a_space("Once upon a ", "Once upon a time", "Once upon a time")]
    #[case::chance("no, no, ", "no, never", "no, no, no, never")]
    #[case::like_the_beginning("Once more: ", "Once is enough", "Once more: Once is enough")]
    #[case::nothing("Done here", "", "Done here")]
    #[case::only_repetition("tok0 tok1", "tok0 tok1", "tok0 tok1")]
    #[case::wide("Grüße aus Zürich", "Zürich und Köln", "Grüße aus Zürich und Köln")]
    fn no_word_is_doubled_and_none_is_lost(#[case] before: &str, #[case] rest: &str, #[case] whole: &str) {
        for piece in [1, 2, 3, 7, 100] {
            assert_eq!(joined(before, rest, piece), whole, "in pieces of {piece}");
        }
    }
}
