//! Whether a file is a database of this gateway and nothing else.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use super::super::db::{Db, check_sqlite_file, open_read_only, open_sqlite};
use super::super::{StoreError, meta, migrate};
use super::{Contents, contents, open_for_migration};
use crate::infra::crypto::Vault;

/// The first bytes of every SQLite file.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// A table, index, trigger or view, as its maker wrote it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, QueryableByName)]
struct Made {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<Text>)]
    sql: Option<String>,
}

pub(super) fn make_ready(path: &Path, vault: &Vault) -> Result<Contents, StoreError> {
    looks_like_one(path)?;
    check_sqlite_file(path)?;
    let ours = present_schema()?;
    nothing_foreign(&schema_of(&mut open_read_only(path)?)?, &ours)?;
    let mut db = open_for_migration(path)?;
    migrate::run(&mut db)?;
    let Db::Sqlite(connection) = &mut db else { return Err(invalid("it is no embedded database")) };
    if schema_of(connection)? != ours {
        return Err(invalid("its tables are not those of this gateway"));
    }
    meta::opens_with(connection, vault)?;
    contents(connection)
}

fn looks_like_one(path: &Path) -> Result<(), StoreError> {
    use std::io::Read;
    let mut head = [0; 16];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    if read.is_ok() && head == *MAGIC { Ok(()) } else { Err(invalid("it is no SQLite database")) }
}

/// Triggers and views run what their maker wrote as soon as rows are touched: none may be there but our own, by the
/// letter, before the first migration.
fn nothing_foreign(found: &[Made], ours: &[Made]) -> Result<(), StoreError> {
    let plain = |made: &&Made| made.kind == "table" && !made.is_virtual() || made.kind == "index";
    match found.iter().filter(|made| !plain(made)).find(|made| !ours.contains(made)) {
        None => Ok(()),
        Some(made) => Err(invalid(&format!("it holds a {} that is not this gateway's", made.kind))),
    }
}

impl Made {
    fn is_virtual(&self) -> bool {
        self.sql.as_deref().is_some_and(|sql| sql.to_ascii_uppercase().contains("VIRTUAL"))
    }
}

fn present_schema() -> Result<Vec<Made>, StoreError> {
    let mut db = Db::Sqlite(open_sqlite(":memory:")?);
    migrate::run(&mut db)?;
    match &mut db {
        Db::Sqlite(connection) => schema_of(connection),
        Db::Postgres(_) => Ok(Vec::new()),
    }
}

fn schema_of(connection: &mut SqliteConnection) -> Result<Vec<Made>, StoreError> {
    connection.batch_execute("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON")?;
    let query = "SELECT type AS kind, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut made = diesel::sql_query(query).load::<Made>(connection)?;
    made.sort();
    Ok(made)
}

fn invalid(why: &str) -> StoreError {
    StoreError::Invalid(format!("the file cannot be taken: {why}"))
}
