//! Patterns over model names: `*` stands for any text, `?` for one character, letters match in both cases.

use std::fmt;
use std::sync::Arc;

/// A pattern, ready to match.
#[derive(Clone)]
pub struct Glob {
    text: Arc<str>,
    tokens: Arc<[char]>,
}

impl Glob {
    /// Every text is a pattern.
    pub fn new(pattern: &str) -> Self {
        Self { text: pattern.into(), tokens: pattern.chars().map(small).collect() }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has a `*` or a `?` in it.
    pub fn is_wild(pattern: &str) -> bool {
        pattern.contains(['*', '?'])
    }

    /// Whether the whole text matches. Time grows with pattern times text, never faster: one `*` is remembered at a
    /// time, because a later one can give back all that an earlier one could.
    pub fn matches(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let (mut at, mut star) = (0, None);
        loop {
            let before = rest.clone();
            let next = rest.next().map(small);
            match (self.tokens.get(at), next) {
                (None, None) => return true,
                (Some('*'), _) => {
                    at += 1;
                    star = Some((at, before.clone()));
                    rest = before;
                }
                (Some('?'), Some(_)) => at += 1,
                (Some(token), Some(letter)) if *token == letter => at += 1,
                _ => {
                    let Some((after, from)) = &mut star else { return false };
                    if from.next().is_none() {
                        return false;
                    }
                    at = *after;
                    rest = from.clone();
                }
            }
        }
    }

    /// How exact it is: of several patterns that match, the one with the largest number counts.
    pub fn specificity(&self) -> i64 {
        let count = |wanted: fn(&char) -> bool| self.tokens.iter().filter(|c| wanted(c)).count();
        let (stars, marks) = (count(|c| *c == '*'), count(|c| *c == '?'));
        let length = self.tokens.len();
        let signed = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        10 * signed(length - stars - marks) - 50 * signed(stars) - 5 * signed(marks) + signed(length)
    }
}

/// One letter for both cases; the few letters that become several when they are lowered stay as they are.
fn small(letter: char) -> char {
    if letter.is_ascii() {
        return letter.to_ascii_lowercase();
    }
    let mut lowered = letter.to_lowercase();
    match (lowered.next(), lowered.next()) {
        (Some(one), None) => one,
        _ => letter,
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

impl From<&str> for Glob {
    fn from(pattern: &str) -> Self {
        Self::new(pattern)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn plain(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => plain(rest, text) || matches!(text, [_, t @ ..] if plain(pattern, t)),
            (['?', rest @ ..], [_, t @ ..]) => plain(rest, t),
            ([p, rest @ ..], [c, t @ ..]) => p == c && plain(rest, t),
            _ => false,
        }
    }

    #[test]
    fn stars_marks_and_cases_match_as_operators_expect() {
        let table = [
            ("gpt-*", "GPT-5.5", true),
            ("*", "", true),
            ("*", "anything/at all", true),
            ("claude-?-opus", "claude-4-opus", true),
            ("claude-?-opus", "claude-41-opus", false),
            ("*-mini", "gpt-mini-x", false),
            ("*mini*", "gpt-mini-x", true),
            ("gpt", "gpt-5", false),
            ("", "x", false),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_more_exact_pattern_counts_more() {
        let number = |pattern: &str| Glob::new(pattern).specificity();

        assert!(number("gpt-5*") > number("gpt-*") && number("gpt-?") > number("gpt-*"));
        assert_eq!(number("a*?"), 10 - 50 - 5 + 3);
    }

    #[test]
    fn a_pattern_made_to_hurt_ends_at_once() {
        let pattern = Glob::new(&"*a".repeat(100));

        assert!(!pattern.matches(&"a".repeat(99)) && pattern.matches(&"a".repeat(500)));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(500))));
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_obvious_matcher(pattern in "[ab*?]{0,8}", text in "[abc]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();

            prop_assert_eq!(Glob::new(&pattern).matches(&text), plain(&chars(&pattern), &chars(&text)));
            prop_assert!(Glob::new("*").matches(&text));
        }
    }
}
