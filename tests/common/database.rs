//! Looks into the gateway's SQLite file from outside, as another process would.

use std::path::Path;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel::sqlite::SqliteConnection;

/// A stored usage record, as far as tests look at it.
#[derive(Debug, Clone, QueryableByName)]
pub struct Usage {
    #[diesel(sql_type = Text)]
    pub request_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub connection_id: Option<String>,
    #[diesel(sql_type = Integer)]
    pub status: i32,
    #[diesel(sql_type = Text)]
    pub outcome: String,
    #[diesel(sql_type = Bool)]
    pub streamed: bool,
    #[diesel(sql_type = BigInt)]
    pub prompt_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub completion_tokens: i64,
    #[diesel(sql_type = Text)]
    pub attempts: String,
}

const COLUMNS: &str = "SELECT request_id, connection_id, status, outcome, streamed, prompt_tokens, completion_tokens, attempts \
     FROM usage_records";

/// The file of a gateway with this data directory.
pub fn open(data_dir: &Path) -> SqliteConnection {
    let path = data_dir.join("omniroute.sqlite");
    let mut connection = SqliteConnection::establish(&path.to_string_lossy()).expect("the gateway's database");
    run(&mut connection, "PRAGMA busy_timeout = 5000");
    connection
}

/// Run one statement.
pub fn run(connection: &mut SqliteConnection, statement: &str) {
    diesel::sql_query(statement).execute(connection).unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// Put this text in the place of a setting, as no caller could.
pub fn put_setting(data_dir: &Path, key: &str, value: &str) {
    let insert = "INSERT OR REPLACE INTO settings (key, value, version, updated_at) VALUES (?, ?, 1, 1)";
    let query = diesel::sql_query(insert).bind::<Text, _>(key).bind::<Text, _>(value);
    query.execute(&mut open(data_dir)).expect("a stored setting");
}

/// A setting as it is stored.
pub fn setting(data_dir: &Path, key: &str) -> String {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        value: String,
    }
    let query = diesel::sql_query("SELECT value FROM settings WHERE key = ?").bind::<Text, _>(key);
    query.get_result::<Row>(&mut open(data_dir)).expect("a stored setting").value
}

/// Every usage record.
pub fn usage(data_dir: &Path) -> Vec<Usage> {
    diesel::sql_query(COLUMNS).load(&mut open(data_dir)).expect("the usage records")
}

/// The usage record of one request, if it is stored.
pub fn usage_of(data_dir: &Path, request_id: &str) -> Option<Usage> {
    let query = diesel::sql_query(format!("{COLUMNS} WHERE request_id = ? OR request_id LIKE ? || '.%'"));
    query
        .bind::<Text, _>(request_id)
        .bind::<Text, _>(request_id)
        .get_result(&mut open(data_dir))
        .optional()
        .expect("the usage records")
}

/// What SQLite itself says about the file.
pub fn integrity(data_dir: &Path) -> String {
    #[derive(QueryableByName)]
    struct Verdict {
        #[diesel(sql_type = Text)]
        integrity_check: String,
    }
    let verdict = diesel::sql_query("PRAGMA integrity_check").get_result::<Verdict>(&mut open(data_dir));
    verdict.expect("a verdict").integrity_check
}
