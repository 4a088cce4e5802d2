//! Client keys: only their hash is stored, and it is what they are looked up by.

use diesel::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::db::Db;
use super::json::JsonText;
use super::schema::api_keys;
use super::{Store, StoreError, one_row};

/// One client key and what it may do.
#[derive(Debug, Clone, PartialEq, Serialize, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = api_keys, treat_none_as_null = true)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyRow {
    /// Identity.
    pub id: String,
    /// The owner's name for it.
    pub name: String,
    /// HMAC-SHA-256 of the key, in hex; unique.
    #[serde(skip)]
    pub secret_hash: String,
    /// The key's first characters.
    pub prefix: String,
    /// The key's last four characters.
    pub last4: String,
    /// What it may do, as a JSON list.
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    pub scopes: Value,
    /// Which models, as a JSON list.
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    pub allowed_models: Value,
    /// Which connections, as a JSON list.
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    pub allowed_connections: Value,
    /// Whether it may be used.
    pub is_active: bool,
    /// When it ends.
    pub expires_at: Option<i64>,
    /// Requests a minute.
    pub max_requests_per_minute: Option<i32>,
    /// Requests a day.
    pub max_requests_per_day: Option<i32>,
    /// Sessions at once.
    pub max_sessions: Option<i32>,
    /// Whether its requests stay out of the request log.
    pub no_log: bool,
    /// What has no column of its own.
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    pub extra: Value,
    /// When it was made.
    pub created_at: i64,
    /// When it was last used, to within the flush interval.
    pub last_used_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// Found keys are counted so far.
const MOST_FOUND: i64 = 10_000;

#[diesel::declare_sql_function]
extern "SQL" {
    fn lower(text: diesel::sql_types::Text) -> diesel::sql_types::Text;
}

/// Which page of the keys.
#[derive(Debug, Clone, Default)]
pub struct KeyPage {
    /// A part of the name, in capitals or not.
    pub search: Option<String>,
    /// Only what was made after this one: its time and its id.
    pub after: Option<(i64, String)>,
    /// Pass over so many.
    pub offset: i64,
    /// At most so many.
    pub limit: i64,
}

/// Operations on client keys.
pub struct ApiKeys<'a>(pub(super) &'a Store);

impl ApiKeys<'_> {
    /// Every key, oldest first.
    pub async fn list(&self) -> Result<Vec<ApiKeyRow>, StoreError> {
        self.0.read(|db| Ok(api_keys::table.order((api_keys::created_at, api_keys::id)).load(db)?)).await
    }

    /// A page of them, oldest first, and how many there are on all pages; of those that are searched for nobody counts
    /// further than ten thousand.
    pub async fn page(&self, wish: KeyPage) -> Result<(Vec<ApiKeyRow>, usize), StoreError> {
        self.0.read(move |db| page(db, &wish)).await
    }

    /// Ids, names and whether they may be used, of the first so many.
    pub async fn names(&self, most: i64) -> Result<Vec<(String, String, bool)>, StoreError> {
        let columns = (api_keys::id, api_keys::name, api_keys::is_active);
        let query = api_keys::table.select(columns).order((api_keys::created_at, api_keys::id)).limit(most);
        self.0.read(move |db| Ok(query.load(db)?)).await
    }

    /// Whether there is none.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        self.0.read(|db| Ok(api_keys::table.select(api_keys::id).first::<String>(db).optional()?.is_none())).await
    }

    /// One key by its id.
    pub async fn get(&self, id: &str) -> Result<ApiKeyRow, StoreError> {
        let id = id.to_owned();
        self.0.read(move |db| Ok(api_keys::table.find(id).first(db)?)).await
    }

    /// One key by the hash of its text.
    pub async fn find_by_hash(&self, secret_hash: &str) -> Result<Option<ApiKeyRow>, StoreError> {
        let hash = secret_hash.to_owned();
        self.0.read(move |db| Ok(api_keys::table.filter(api_keys::secret_hash.eq(hash)).first(db).optional()?)).await
    }

    /// Store a new key.
    pub async fn insert(&self, row: &ApiKeyRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| Ok(diesel::insert_into(api_keys::table).values(row).execute(db).map(drop)?)).await
    }

    /// Replace a key's properties. The time of its last use is not one of them: see [`ApiKeys::touch_last_used`].
    pub async fn update(&self, row: &ApiKeyRow) -> Result<(), StoreError> {
        let row = row.clone();
        self.0.write(move |db| one_row(replace(db, row)?)).await
    }

    /// Remove a key.
    pub async fn delete(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.0.write(move |db| one_row(diesel::delete(api_keys::table.find(id)).execute(db)?)).await
    }

    /// Note when keys (by id) were last used; an older time never replaces a newer one.
    pub async fn touch_last_used(&self, uses: &[(String, i64)]) -> Result<(), StoreError> {
        let mut uses = uses.to_vec();
        // One order for all: two instances that touch the same keys must not wait for each other in a ring.
        uses.sort();
        self.0.write(move |db| uses.iter().try_for_each(|(id, at)| touch(db, id, *at))).await
    }
}

type Place = (i64, String);

/// First the places, from the index alone; then the rows of the page.
fn page(db: &mut Db, wish: &KeyPage) -> Result<(Vec<ApiKeyRow>, usize), StoreError> {
    let (ids, total) = match &wish.search {
        Some(text) => found(db, wish, text)?,
        None => (next(db, wish)?, count(db)?),
    };
    let order = (api_keys::created_at, api_keys::id);
    Ok((api_keys::table.filter(api_keys::id.eq_any(ids)).order(order).load(db)?, total))
}

fn next(db: &mut Db, wish: &KeyPage) -> QueryResult<Vec<String>> {
    let mut query = api_keys::table.select(api_keys::id).order((api_keys::created_at, api_keys::id)).into_boxed();
    if let Some((at, id)) = &wish.after {
        let behind = api_keys::created_at.gt(*at).or(api_keys::created_at.eq(*at).and(api_keys::id.gt(id.clone())));
        // The first condition is what an index can begin at.
        query = query.filter(api_keys::created_at.ge(*at)).filter(behind);
    }
    query.offset(wish.offset.max(0)).limit(wish.limit.max(0)).load(db)
}

fn count(db: &mut Db) -> QueryResult<usize> {
    Ok(usize::try_from(api_keys::table.count().get_result::<i64>(db)?).unwrap_or(0))
}

fn found(db: &mut Db, wish: &KeyPage, text: &str) -> QueryResult<(Vec<String>, usize)> {
    let named = lower(api_keys::name).like(pattern(text)).escape('\\');
    let places = api_keys::table.select((api_keys::created_at, api_keys::id)).filter(named);
    let order = (api_keys::created_at, api_keys::id);
    let places: Vec<Place> = places.order(order).limit(MOST_FOUND).load(db)?;
    let total = places.len();
    let behind = places.into_iter().filter(|place| wish.after.as_ref().is_none_or(|after| place > after));
    let [skip, limit] = [wish.offset, wish.limit].map(|number| usize::try_from(number).unwrap_or(0));
    Ok((behind.skip(skip).take(limit).map(|(_, id)| id).collect(), total))
}

/// The text anywhere, in capitals or not; what LIKE reads as more than itself is itself here.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars().flat_map(char::to_lowercase) {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "%"
}

/// A save that was prepared before the last flush must not turn the time of use back.
fn replace(db: &mut Db, mut row: ApiKeyRow) -> QueryResult<usize> {
    let target = api_keys::table.find(row.id.clone());
    row.last_used_at = target.clone().select(api_keys::last_used_at).first(db).optional()?.flatten();
    diesel::update(target).set(row).execute(db)
}

fn touch(db: &mut Db, id: &str, at: i64) -> Result<(), StoreError> {
    let unused = api_keys::last_used_at.is_null().or(api_keys::last_used_at.lt(at));
    let target = api_keys::table.filter(api_keys::id.eq(id.to_owned())).filter(unused.assume_not_null());
    diesel::update(target).set(api_keys::last_used_at.eq(at)).execute(db)?;
    Ok(())
}
