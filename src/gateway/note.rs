//! What is kept of a failure after its request: a line that an operator may read, stored and shown as `lastError`.
//!
//! Providers quote what they refuse, and what they refuse is somebody's prompt. The client who wrote it may read it; an
//! operator of the gateway need not. So the label always stays (status, code or type), and of the words only what is no
//! echo: nothing at all when the request itself was at fault, else one short line without long quotations and without
//! JSON. Secrets are gone before ([`redact`](crate::wire::openai_error::redact)).

use omniroute_actors::resilience::health::ErrorNote;
use omniroute_actors::resilience::outcome::Blame;

use super::fault::Fault;

/// Characters of a note's message.
const MOST_CHARS: usize = 200;
/// Characters of a code or a type; longer ones are no names.
const LABEL_CHARS: usize = 64;
/// The longest quotation that is kept: names of models and fields are shorter, sentences are not.
const QUOTED_CHARS: usize = 40;
const CUT: char = '…';

/// The note of a failure.
pub fn of(fault: &Fault) -> ErrorNote {
    let label = [&fault.error.code, &fault.error.kind].into_iter().flatten().find_map(|text| label(text));
    let message = match fault.outcome.verdict().blame {
        _ if !fault.from_upstream => one_line(&fault.error.message),
        // What is wrong with a request cannot be said without it.
        Blame::Client => String::new(),
        _ => one_line(&without_echo(&fault.error.message)),
    };
    let (outcome, status, needs_attention) = (fault.outcome, fault.status, fault.is_page);
    ErrorNote { outcome, status, code: label, message, needs_attention }
}

/// A code or a type looks like a name; anything else is a sentence in its place.
fn label(text: &str) -> Option<String> {
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/');
    let fits = !text.is_empty() && text.len() <= LABEL_CHARS && text.chars().all(named);
    fits.then(|| text.to_owned())
}

/// White space of any kind counts as one space, and the end is cut.
fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    if line.chars().count() <= MOST_CHARS {
        return line;
    }
    line.chars().take(MOST_CHARS - 1).chain([CUT]).collect()
}

/// The text without long quotations and without JSON.
fn without_echo(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut kept = String::with_capacity(text.len());
    let (mut rest, mut before) = (chars.as_slice(), ' ');
    while let Some(&first) = rest.first() {
        let (length, echo) = span(rest, before);
        let (taken, left) = rest.split_at(length.clamp(1, rest.len()));
        if echo {
            kept.push(CUT);
        } else {
            kept.extend(taken);
        }
        before = taken.last().copied().unwrap_or(first);
        rest = left;
    }
    kept
}

/// How much belongs together from here on, and whether that is an echo.
fn span(rest: &[char], before: char) -> (usize, bool) {
    match rest.first() {
        Some('{') => (bracketed(rest, '{', '}'), true),
        Some('[') => {
            let length = bracketed(rest, '[', ']');
            let inside = rest.get(..length).unwrap_or(rest);
            if length > QUOTED_CHARS || inside.contains(&'"') { (length, true) } else { (1, false) }
        }
        // An apostrophe inside a word opens nothing.
        Some('\'') if before.is_alphanumeric() => (1, false),
        Some(&open) => match closing(open) {
            Some(close) => {
                let length = quoted(rest, close);
                (length, length > QUOTED_CHARS + 2)
            }
            None => (1, false),
        },
        None => (1, false),
    }
}

const fn closing(open: char) -> Option<char> {
    Some(match open {
        '"' | '\'' | '`' => open,
        '“' => '”',
        '‘' => '’',
        '«' => '»',
        _ => return None,
    })
}

/// The length of a quotation with both its marks. One that never ends reaches to the end.
fn quoted(rest: &[char], close: char) -> usize {
    let mut at = 1;
    while let Some(&c) = rest.get(at) {
        let inside_word = c == '\'' && rest.get(at + 1).is_some_and(|next| next.is_alphanumeric());
        at += if c == '\\' { 2 } else { 1 };
        if c == close && !inside_word {
            return at;
        }
    }
    rest.len()
}

/// The length of a bracketed part, marks in quotations not counted. One that never ends reaches to the end.
fn bracketed(rest: &[char], open: char, close: char) -> usize {
    let (mut at, mut depth) = (0_usize, 0_usize);
    while let Some(&c) = rest.get(at) {
        at += if c == '"' { quoted(rest.get(at..).unwrap_or_default(), '"') } else { 1 };
        depth = if c == open { depth + 1 } else { depth };
        if c == close {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at;
            }
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::wire::openai_error::UpstreamErrorBody;

    const PROMPT: &str = "my name is Ada and here is my very private diary of the year";

    fn note(status: u16, error: UpstreamErrorBody) -> ErrorNote {
        of(&Fault::reported(status, error, None, &["s3cret"]))
    }

    fn said(message: &str) -> String {
        note(503, UpstreamErrorBody { message: message.into(), ..UpstreamErrorBody::default() }).message
    }

    #[rstest]
    #[case::plain("The server is overloaded. Try again.", "The server is overloaded. Try again.")]
    #[case::a_name("No worker for 'gpt-5.5' in \"eu-west-1\".", "No worker for 'gpt-5.5' in \"eu-west-1\".")]
    #[case::apostrophes(
        "You can't do it, it isn't there, and there it won't be either, don't you know?",
        "You can't do it, it isn't there, and there it won't be either, don't you know?"
    )]
    #[case::two_lines("first\r\n\n  second\tthird", "first second third")]
    #[case::a_secret("key s3cret is used up", "key [redacted] is used up")]
    #[case::an_object("cannot parse {\"a\": \"}\", \"b\": {}} here", "cannot parse … here")]
    #[case::a_list("bad [\"x\"] in [1, 2]", "bad … in [1, 2]")]
    #[case::an_object_without_end("cannot parse {\"messages\": [{\"role", "cannot parse …")]
    fn what_is_no_echo_stays(#[case] message: &str, #[case] expected: &str) {
        assert_eq!(said(message), expected);
    }

    #[rstest]
    #[case("\"", "\"")]
    #[case("'", "'")]
    #[case("`", "`")]
    #[case("“", "”")]
    #[case("'it isn't ", "'")]
    #[case("\"he said \\\"", "\\\" to me\"")]
    #[case("{\"content\":\"", "\"}")]
    #[case("[{\"content\": \"", "")]
    #[case("\"", "")]
    fn a_quoted_prompt_is_cut_out(#[case] before: &str, #[case] after: &str) {
        let kept = said(&format!("cannot handle {before}{PROMPT}{after}"));

        assert!(kept.starts_with("cannot handle …") && !kept.contains("Ada"), "{kept}");
    }

    #[test]
    fn what_is_wrong_with_a_request_is_told_by_its_label_alone() {
        let error = UpstreamErrorBody {
            message: format!("Invalid value: {PROMPT}"),
            kind: Some("invalid_request_error".into()),
            ..UpstreamErrorBody::default()
        };

        let note = note(400, error);

        assert_eq!((note.status, note.message.as_str()), (400, ""));
        assert_eq!(note.code.as_deref(), Some("invalid_request_error"));
    }

    #[test]
    fn a_sentence_in_the_place_of_a_code_is_no_code() {
        let error = |code: &str| UpstreamErrorBody {
            code: Some(code.into()),
            kind: Some("server_error".into()),
            ..UpstreamErrorBody::default()
        };

        assert_eq!(note(500, error(PROMPT)).code.as_deref(), Some("server_error"));
        assert_eq!(note(500, error("model_overloaded")).code.as_deref(), Some("model_overloaded"));
    }

    #[test]
    fn our_own_words_stay_as_they_are() {
        let fault = Fault::own(omniroute_actors::resilience::outcome::Outcome::ConnectFailed, "cannot reach [::1]:9");

        assert_eq!(of(&fault).message, "cannot reach [::1]:9");
    }

    proptest! {
        #[test]
        fn any_message_becomes_one_short_line(message in any::<String>()) {
            let kept = said(&message);

            prop_assert!(kept.chars().count() <= MOST_CHARS);
            prop_assert!(!kept.chars().any(char::is_control), "{kept:?}");
        }

        #[test]
        fn no_prompt_that_is_echoed_as_json_is_kept(prompt in "[a-z]{12} \\PC{30,300}") {
            let word = prompt.get(..12).unwrap_or_default().to_owned();
            let text = serde_json::Value::from(prompt.as_str());
            let body = serde_json::json!({"messages": [{"role": "user", "content": prompt}]});

            for message in [format!("invalid content {text}"), format!("cannot parse: {body}")] {
                prop_assert!(!said(&message).contains(&word), "{message}");
            }
        }
    }
}
