//! The listing of models, a page at a time.

use bytes::Bytes;
use serde::Serialize;

/// A model as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    /// What requests name.
    pub id: String,
    /// What people read.
    pub display_name: String,
    /// When it appeared, in seconds since the Unix epoch.
    pub created_at: i64,
}

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page<'a> {
    /// Models at most; 20 when absent, never more than 1000.
    pub limit: Option<u64>,
    /// Behind this id.
    pub after_id: Option<&'a str>,
    /// In front of this id.
    pub before_id: Option<&'a str>,
}

const DEFAULT_LIMIT: u64 = 20;
const MAX_LIMIT: u64 = 1_000;

/// The page of these models. An id that is not among them makes an empty page.
pub fn models_page(models: &[ListedModel], page: Page<'_>) -> Bytes {
    let limit = usize::try_from(page.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT)).unwrap_or(usize::MAX);
    let place = |id: &str| models.iter().position(|model| model.id == id);
    let (start, end) = match (page.after_id, page.before_id) {
        (Some(id), _) => place(id).map_or((models.len(), models.len()), |at| (at + 1, models.len())),
        (None, Some(id)) => place(id).map_or((0, 0), |at| (0, at)),
        (None, None) => (0, models.len()),
    };
    let range = models.get(start..end).unwrap_or_default();
    let backwards = page.after_id.is_none() && page.before_id.is_some();
    let skipped = if backwards { range.len().saturating_sub(limit) } else { 0 };
    let shown: Vec<Row<'_>> = range.iter().skip(skipped).take(limit).map(Row::of).collect();
    let listing = Listing {
        has_more: shown.len() < range.len(),
        first_id: shown.first().map(|row| row.id),
        last_id: shown.last().map(|row| row.id),
        data: shown,
    };
    // Strings, numbers and nulls into memory: nothing can fail.
    Bytes::from(serde_json::to_vec(&listing).unwrap_or_default())
}

#[derive(Serialize)]
struct Listing<'a> {
    data: Vec<Row<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Row<'a> {
    r#type: &'static str,
    id: &'a str,
    display_name: &'a str,
    created_at: String,
}

impl<'a> Row<'a> {
    fn of(model: &'a ListedModel) -> Self {
        let created = jiff::Timestamp::from_second(model.created_at).unwrap_or_default();
        Self { r#type: "model", id: &model.id, display_name: &model.display_name, created_at: created.to_string() }
    }
}
