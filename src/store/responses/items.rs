//! In which answers an item stands: what a client refers to by its id is found without opening every answer.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::store::StoreError;
use crate::store::db::Db;
use crate::store::schema::response_items;

/// Ids come from clients, too; longer ones cannot be referred to.
const LONGEST_ID: usize = 256;
/// Parameters of a statement are limited.
const ROWS_PER_STATEMENT: usize = 500;

#[derive(Insertable)]
#[diesel(table_name = response_items, treat_none_as_default_value = false)]
struct Item<'a> {
    owner: &'a str,
    item_id: String,
    response_id: &'a str,
}

/// Note where these items stand.
pub(super) fn insert(db: &mut Db, owner: &str, response_id: &str, ids: Vec<String>) -> Result<(), StoreError> {
    let fit = ids.into_iter().filter(|id| !id.is_empty() && id.len() <= LONGEST_ID);
    let items: Vec<Item<'_>> = fit.map(|item_id| Item { owner, item_id, response_id }).collect();
    for items in items.chunks(ROWS_PER_STATEMENT) {
        match db {
            Db::Sqlite(connection) => insert_sqlite(connection, items)?,
            Db::Postgres(connection) => insert_postgres(connection, items)?,
        };
    }
    Ok(())
}

fn insert_sqlite(connection: &mut SqliteConnection, items: &[Item<'_>]) -> QueryResult<usize> {
    diesel::insert_into(response_items::table).values(items).on_conflict_do_nothing().execute(connection)
}

fn insert_postgres(connection: &mut PgConnection, items: &[Item<'_>]) -> QueryResult<usize> {
    diesel::insert_into(response_items::table).values(items).on_conflict_do_nothing().execute(connection)
}
