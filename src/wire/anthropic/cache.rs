//! Marks up to which a prompt is cached. A request may have four; of more, the first ones go.

use serde::Serialize;

use crate::chat::CacheHint;

/// Marks of one request at most.
pub(crate) const MAX_MARKS: usize = 4;

/// A mark as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CacheControl {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
}

impl CacheControl {
    /// The mark for a hint; a time that the format does not know becomes the provider's default.
    pub(crate) fn of(hint: Option<&CacheHint>) -> Option<Self> {
        let known = |ttl: &String| matches!(ttl.as_str(), "5m" | "1h");
        hint.map(|hint| Self { r#type: "ephemeral", ttl: hint.ttl.clone().filter(known) })
    }
}

/// Take marks out from the front until no more than `allowed` are left; says how many went.
pub(crate) fn limit(marks: Vec<&mut Option<CacheControl>>, allowed: usize) -> usize {
    let set: Vec<&mut Option<CacheControl>> = marks.into_iter().filter(|mark| mark.is_some()).collect();
    let extra = set.len().saturating_sub(allowed);
    set.into_iter().take(extra).for_each(|mark| *mark = None);
    extra
}
