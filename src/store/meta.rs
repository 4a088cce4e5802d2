//! Facts about the database itself: which master key it was written under.

use std::path::Path;

use diesel::prelude::*;
use secrecy::ExposeSecret;

use super::db::{Db, Engine, on_each_engine, open_read_only};
use super::schema::{connections, meta};
use super::{StoreError, engine_of, sqlite_path};
use crate::infra::crypto::{CryptoError, Vault};

const VAULT: &str = "vault";
const VAULT_AAD: &str = "meta|vault|value|v1";
const VAULT_TEXT: &str = "this database was written under this master key";

/// Refuse another master key than the one the database was first opened with: found out now, at start, and not by
/// credentials that fail to open one by one.
pub(super) fn check_vault(db: &mut Db, vault: &Vault) -> Result<(), StoreError> {
    let sealed = vault.seal(VAULT_AAD, &VAULT_TEXT.into())?;
    let row = (meta::key.eq(VAULT), meta::value.eq(sealed));
    on_each_engine!(db, connection => {
        diesel::insert_into(meta::table).values(row).on_conflict_do_nothing().execute(connection)?
    });
    let stored: String = meta::table.find(VAULT).select(meta::value).first(db)?;
    match vault.open(VAULT_AAD, &stored) {
        Ok(text) if text.expose_secret() == VAULT_TEXT => Ok(()),
        _ => Err(CryptoError::MissingMasterKey(
            "the database was written under another one; configure the key it was written under".into(),
        )
        .into()),
    }
}

/// Whether a copy was written under this master key: what is sealed in it could not be opened otherwise.
pub(super) fn opens_with(connection: &mut SqliteConnection, vault: &Vault) -> Result<(), StoreError> {
    let stored: Option<String> = meta::table.find(VAULT).select(meta::value).first(connection).optional()?;
    match stored.map(|sealed| vault.open(VAULT_AAD, &sealed)) {
        None | Some(Ok(_)) => Ok(()),
        Some(Err(_)) => Err(StoreError::Invalid(
            "the file cannot be taken: it was written under another master key, so its credentials cannot be opened"
                .into(),
        )),
    }
}

/// Whether an embedded database already holds sealed credentials, so that no new master key may be made for it.
/// Blocking; for start-up, before the store is opened. A shared database always answers yes.
pub fn holds_sealed_rows(url: &str, data_dir: &Path) -> Result<bool, StoreError> {
    if engine_of(url) == Engine::Postgres {
        return Ok(true);
    }
    let path = sqlite_path(url, data_dir)?;
    if std::fs::metadata(&path).map_or(true, |file| file.len() == 0) {
        return Ok(false);
    }
    super::db::check_sqlite_file(&path)?;
    let mut connection = open_read_only(&path)?;
    if !has_table(&mut connection, "meta")? {
        return Ok(false);
    }
    let keyed: i64 = meta::table.filter(meta::key.eq(VAULT)).count().get_result(&mut connection)?;
    let sealed: i64 =
        connections::table.filter(connections::credential.is_not_null()).count().get_result(&mut connection)?;
    Ok(keyed + sealed > 0)
}

fn has_table(connection: &mut diesel::SqliteConnection, name: &str) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        found: i64,
    }
    let query = diesel::sql_query("SELECT count(*) AS found FROM sqlite_master WHERE type = 'table' AND name = ?");
    let rows = query.bind::<diesel::sql_types::Text, _>(name).load::<Found>(connection)?;
    Ok(rows.iter().any(|row| row.found > 0))
}
