//! What can go wrong in the store, by what the caller can do about it.
//!
//! Diesel names few of SQLite's errors, so the rest is told apart by SQLite's own fixed English texts (the library is
//! bundled, they do not vary). PostgreSQL's are told apart by kind first and by text last.

use diesel::ConnectionError;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError};

use crate::infra::crypto::CryptoError;

/// The underlying error, for the log.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A failed call to the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else held the database for longer than we wait, or our own queue is full: try again.
    #[error("the database is busy")]
    Busy(#[source] Cause),
    /// The disk is full or read-only: reads go on, nothing can be stored.
    #[error("the database cannot be written: {0}")]
    Full(#[source] Cause),
    /// No connection, or no answer in time. A write that ran out of time may still have happened.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] Cause),
    /// The database file is damaged: restore it from a backup.
    #[error("the database is corrupt: {0}")]
    Corrupt(String),
    /// No such row.
    #[error("not found")]
    NotFound,
    /// The change contradicts what is stored: `table.column` of a unique value, or a stale version.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The caller or the configuration asked for something that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Anything else; a bug or a broken installation.
    #[error("the database failed: {0}")]
    Other(#[source] Cause),
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::NotFound => Self::NotFound,
            DieselError::DatabaseError(kind, info) => from_database(kind, info),
            // The first failure is the reason; the failed rollback only says that the connection is gone as well.
            DieselError::RollbackErrorOnCommit { commit_error, .. } => Self::from(*commit_error),
            DieselError::BrokenTransactionManager => Self::Unavailable(Box::new(error)),
            other => Self::Other(Box::new(other)),
        }
    }
}

impl From<ConnectionError> for StoreError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::InvalidConnectionUrl(text) => Self::Invalid(text),
            ConnectionError::CouldntSetupConfiguration(inner) => Self::from(inner),
            ConnectionError::BadConnection(text) => by_text(&text, Box::from(text.as_str())).unavailable_if_other(),
            other => Self::Unavailable(Box::new(other)),
        }
    }
}

impl StoreError {
    /// An error that never became a row or an answer, named in our own words.
    pub(crate) fn unavailable(text: impl Into<Cause>) -> Self {
        Self::Unavailable(text.into())
    }

    /// What the file system said.
    pub(crate) fn unavailable_io(error: std::io::Error) -> Self {
        let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::ReadOnlyFilesystem);
        if full { Self::Full(Box::new(error)) } else { Self::Unavailable(Box::new(error)) }
    }

    /// True when a fresh connection may help.
    pub(crate) fn is_connection_trouble(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// What could not be told apart turns out to be a lost connection.
    pub(crate) fn unavailable_if_other(self) -> Self {
        match self {
            Self::Other(cause) => Self::Unavailable(cause),
            known => known,
        }
    }
}

fn from_database(kind: DatabaseErrorKind, info: Box<dyn DatabaseErrorInformation + Send + Sync>) -> StoreError {
    use DatabaseErrorKind as Kind;
    let text = info.message().to_owned();
    match kind {
        Kind::UniqueViolation => StoreError::Conflict(unique_value(info.as_ref())),
        Kind::SerializationFailure => StoreError::Busy(text.into()),
        Kind::ReadOnlyTransaction => StoreError::Full(text.into()),
        Kind::ClosedConnection | Kind::UnableToSendCommand => StoreError::Unavailable(text.into()),
        Kind::NotNullViolation | Kind::CheckViolation | Kind::ForeignKeyViolation => StoreError::Invalid(text),
        _ => by_text(&text, text.as_str().into()),
    }
}

type Make = fn(Cause) -> StoreError;

const TEXTS: &[(&str, Make)] = &[
    ("database is locked", StoreError::Busy),
    ("database table is locked", StoreError::Busy),
    ("due to lock timeout", StoreError::Busy),
    ("due to statement timeout", StoreError::Busy),
    ("deadlock detected", StoreError::Busy),
    ("too many clients", StoreError::Busy),
    ("database or disk is full", StoreError::Full),
    ("attempt to write a readonly database", StoreError::Full),
    ("No space left on device", StoreError::Full),
    ("database disk image is malformed", corrupt),
    ("file is not a database", corrupt),
    ("disk I/O error", StoreError::Unavailable),
    ("unable to open database file", StoreError::Unavailable),
    ("terminating connection", StoreError::Unavailable),
    ("server closed the connection", StoreError::Unavailable),
    ("the database system is", StoreError::Unavailable),
    ("no connection to the server", StoreError::Unavailable),
];

fn by_text(text: &str, cause: Cause) -> StoreError {
    let known = TEXTS.iter().find(|(part, _)| text.contains(part));
    known.map_or(StoreError::Other as Make, |(_, make)| *make)(cause)
}

fn corrupt(cause: Cause) -> StoreError {
    StoreError::Corrupt(cause.to_string())
}

/// `table.column` on both engines: SQLite says so, PostgreSQL names its constraint `table_column_key`.
fn unique_value(info: &dyn DatabaseErrorInformation) -> String {
    match (info.table_name(), info.constraint_name()) {
        (Some(table), Some(constraint)) => {
            let rest = constraint.strip_prefix(table).unwrap_or(constraint).trim_start_matches('_');
            let column = if rest == "pkey" { primary_key(table) } else { rest.strip_suffix("_key").unwrap_or(rest) };
            format!("{table}.{column}")
        }
        _ => info.message().trim_start_matches("UNIQUE constraint failed: ").to_owned(),
    }
}

fn primary_key(table: &str) -> &'static str {
    match table {
        "connection_state" => "connection_id",
        "sessions" => "id_hash",
        "settings" | "meta" => "key",
        "usage_records" => "request_id",
        "model_aliases" => "alias",
        "fallback_chains" => "model",
        "combo_states" => "combo",
        "model_facts" => "pattern",
        _ => "id",
    }
}
