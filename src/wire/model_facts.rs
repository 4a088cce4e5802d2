//! What a list of models says about one of them, before it is written in a client's format.

/// One model as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelFacts {
    /// The name that a request uses.
    pub id: String,
    /// A name for people.
    pub display_name: Option<String>,
    /// A sentence about it.
    pub description: Option<String>,
    /// When it was added, in seconds since the Unix epoch.
    pub created: i64,
    /// Tokens of a prompt at most.
    pub input_limit: Option<u64>,
    /// Tokens of an answer at most.
    pub output_limit: Option<u64>,
    /// It thinks.
    pub thinking: bool,
    /// It calls tools.
    pub tools: bool,
    /// It sees images.
    pub vision: bool,
    /// It makes vectors, not answers.
    pub embeds: bool,
}
