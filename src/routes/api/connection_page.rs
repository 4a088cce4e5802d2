//! A page of the connections. There may be ten thousand: nobody reads them all in one answer, and nobody waits for them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::gateway::directory::Listed;
use crate::routes::body::put;
use crate::routes::{Call, Detail, Refusal};

/// What is shown unless less is asked for, and the most: larger installations go on with the cursor.
pub(super) const MOST: usize = 500;

/// Which connections are wanted, by the query.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Wish {
    limit: Option<usize>,
    offset: Option<usize>,
    /// Where the page before ended.
    cursor: Option<String>,
    provider: Option<String>,
    connection_id: Option<String>,
    /// A part of the name, in capitals or not.
    search: Option<String>,
}

/// The page.
pub(super) struct Page {
    /// These connections.
    pub shown: Vec<Arc<Listed>>,
    /// How many there are on all pages.
    total: usize,
    next: Option<String>,
}

/// A place in the order of the list; it holds although the connection that was there is gone.
type Place = (u8, String, i32, String, String);

impl Wish {
    /// The connections that are wanted.
    pub(super) fn page(&self, call: &Call) -> Result<Page, Refusal> {
        let (all, after) = (call.app.directory.listed(), self.after()?);
        let search = self.search.as_ref().map(|text| text.to_lowercase());
        let wanted = |entry: &&Arc<Listed>| self.fits(entry, search.as_deref());
        let total = all.iter().filter(wanted).count();
        let behind = |entry: &&Arc<Listed>| after.as_ref().is_none_or(|after| entry.place() > borrowed(after));
        let mut rest = all.iter().filter(wanted).filter(behind).skip(self.offset.unwrap_or(0));
        let limit = self.limit.unwrap_or(MOST).clamp(1, MOST);
        let shown: Vec<_> = rest.by_ref().take(limit).cloned().collect();
        let next = rest.next().and(shown.last()).map(|last| cursor(last));
        Ok(Page { shown, total, next })
    }

    fn fits(&self, entry: &Listed, search: Option<&str>) -> bool {
        let row = &entry.row;
        self.provider.as_ref().is_none_or(|provider| row.provider == *provider)
            && self.connection_id.as_ref().is_none_or(|id| row.id == *id)
            && search.is_none_or(|text| row.name.to_lowercase().contains(text))
    }

    fn after(&self) -> Result<Option<Place>, Refusal> {
        let Some(text) = self.cursor.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let read = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        read.map(Some).ok_or_else(wrong_cursor)
    }
}

/// What is said of a cursor that nobody handed out.
pub(super) fn wrong_cursor() -> Refusal {
    Refusal::invalid(vec![Detail {
        field: "cursor".to_owned(),
        message: "Is no nextCursor of a page before".to_owned(),
    }])
}

fn borrowed((source, provider, priority, name, id): &Place) -> (u8, &str, i32, &str, &str) {
    (*source, provider, *priority, name, id)
}

fn cursor(entry: &Listed) -> String {
    URL_SAFE_NO_PAD.encode(json!(entry.place()).to_string())
}

impl Page {
    /// Say in an answer how many there are and where to go on.
    pub(super) fn tell(&self, answer: &mut Value) {
        put(answer, "total", json!(self.total));
        put(answer, "nextCursor", json!(self.next));
    }
}
