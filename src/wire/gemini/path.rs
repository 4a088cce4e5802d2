//! Model and action, out of the path of a request.

/// What is asked of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// One whole answer.
    GenerateContent,
    /// An answer in pieces.
    StreamGenerateContent,
    /// How long is the prompt?
    CountTokens,
    /// One vector.
    EmbedContent,
    /// Many vectors.
    BatchEmbedContents,
}

impl Action {
    const ALL: [(Self, &'static str); 5] = [
        (Self::GenerateContent, "generateContent"),
        (Self::StreamGenerateContent, "streamGenerateContent"),
        (Self::CountTokens, "countTokens"),
        (Self::EmbedContent, "embedContent"),
        (Self::BatchEmbedContents, "batchEmbedContents"),
    ];

    /// Its word in the path.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|row| row.1 == word).map(|row| row.0)
    }
}

/// Reads what follows the version in a path, such as `models/{model}:{action}`.
///
/// The prefix `models/` may be missing, a Vertex prefix (`projects/../publishers/google/models/`) may be there, and the model may
/// hold slashes and colons, escaped or not. None when there is no model or no known action.
pub fn parse_path(tail: &str) -> Option<(String, Action)> {
    let tail = unescaped(tail.trim_start_matches('/'))?;
    let (name, action) = tail.rsplit_once(':')?;
    let action = Action::parse(action)?;
    let name = match name.strip_prefix("projects/").and_then(|rest| rest.split_once("/publishers/")) {
        Some((_, publisher)) => publisher.split_once("/models/")?.1,
        None => name.strip_prefix("models/").unwrap_or(name),
    };
    (!name.is_empty()).then(|| (name.to_owned(), action))
}

/// `%2F` and its kind as the characters they stand for; what is no such escape stays.
fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = hex.filter(|hex| byte == b'%' && hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(out).ok()
}
