//! Whoever has the database but not the master key has no secret.

use std::os::unix::fs::PermissionsExt;

use diesel::prelude::*;
use secrecy::ExposeSecret;

use super::bed::{Bed, beds, sqlite, vault};
use super::nouns::{api_key, connection};
use crate::infra::crypto::{ClientKey, CryptoError, MasterKey, Vault};
use crate::store::schema::{api_keys, connections};
use crate::store::{ConnectionRow, Store, StoreError, StoreOptions, holds_sealed_rows};

fn swap_credentials(bed: &Bed) {
    let mut db = bed.raw();
    let stored: Vec<Option<String>> =
        connections::table.order(connections::id).select(connections::credential).load(&mut db).unwrap();
    for (id, credential) in [("b", &stored[0]), ("a", &stored[1])] {
        diesel::update(connections::table.find(id))
            .set(connections::credential.eq(credential))
            .execute(&mut db)
            .unwrap();
    }
}

async fn with_two_connections(bed: &Bed) {
    for id in ["a", "b"] {
        bed.store.connections().insert(&connection(id)).await.unwrap();
    }
}

#[tokio::test]
async fn swapped_credentials_do_not_open_and_do_not_hide_the_rows() {
    for bed in beds() {
        with_two_connections(&bed).await;

        swap_credentials(&bed);

        let rows = bed.store.connections().list().await.unwrap();
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| row.credential.is_none() && row.credential_unreadable));
    }
}

#[tokio::test]
async fn saving_a_row_whose_credential_does_not_open_keeps_the_stored_text() {
    for bed in beds() {
        with_two_connections(&bed).await;
        swap_credentials(&bed);
        let unreadable = bed.store.connections().get("a").await.unwrap();

        bed.store.connections().update(&ConnectionRow { name: "renamed".into(), ..unreadable }).await.unwrap();
        swap_credentials(&bed);

        let row = bed.store.connections().get("a").await.unwrap();
        assert_eq!((row.name.as_str(), row.credential.unwrap().expose_secret()), ("renamed", "sk-canary-a"));
    }
}

#[tokio::test]
async fn the_columns_hold_no_credential_and_no_key() {
    for bed in beds() {
        with_two_connections(&bed).await;
        let key = ClientKey::generate(vault().client_keys()).unwrap();
        bed.store.api_keys().insert(&api_key("k", &key.hash)).await.unwrap();

        let credentials: Vec<Option<String>> =
            connections::table.select(connections::credential).load(&mut bed.raw()).unwrap();
        let hash: String = api_keys::table.select(api_keys::secret_hash).first(&mut bed.raw()).unwrap();

        assert!(credentials.iter().flatten().all(|text| text.starts_with("v1:") && !text.contains("canary")));
        assert!(!hash.contains(&key.secret.expose_secret()[4..20]));
    }
}

#[tokio::test]
async fn the_files_hold_no_credential_and_no_key() {
    let bed = sqlite();
    with_two_connections(&bed).await;
    let key = ClientKey::generate(vault().client_keys()).unwrap();
    bed.store.api_keys().insert(&api_key("k", &key.hash)).await.unwrap();

    for file in std::fs::read_dir(bed.dir.path()).unwrap() {
        let path = file.unwrap().path();
        let dump = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert!(!dump.contains("canary") && !dump.contains(key.secret.expose_secret()), "{}", path.display());
    }
    assert!(String::from_utf8_lossy(&std::fs::read(bed.dir.path().join("test.db-wal")).unwrap()).contains(&key.hash));
}

#[tokio::test]
async fn another_master_key_is_refused_at_start() {
    for bed in beds() {
        let other = Vault::new(&MasterKey::from_bytes([8; 32]));

        let refused = Store::open(&StoreOptions { vault: other.into(), ..bed.options.clone() }).unwrap_err();

        assert!(matches!(refused, StoreError::Crypto(CryptoError::MissingMasterKey(_))), "{refused}");
        assert!(bed.reopen().is_ok());
    }
}

#[test]
fn a_new_master_key_may_only_be_made_for_a_new_embedded_database() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!holds_sealed_rows("sqlite:new.db", dir.path()).unwrap());
    assert!(holds_sealed_rows("postgres://db.example/x", dir.path()).unwrap());
    assert!(!dir.path().join("new.db").exists());

    let bed = sqlite();
    assert!(holds_sealed_rows(&bed.options.url, bed.dir.path()).unwrap());
}

#[tokio::test]
async fn the_database_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(data.join("test.db"), b"").unwrap();

    let options = StoreOptions { data_dir: data.clone(), ..super::bed::options(&dir, "test.db") };
    let store = Store::open(&options).unwrap();
    store.flush().await.unwrap();

    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(data.clone()), 0o700);
    for name in ["test.db", "test.db-wal", "test.db-shm"] {
        assert_eq!(mode(data.join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_directory_that_is_not_ours_keeps_its_mode() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o755)).unwrap();

    let options = super::bed::options(&dir, shared.join("test.db").to_str().unwrap());
    let _store = Store::open(&options).unwrap();

    assert_eq!(std::fs::metadata(&shared).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn options_do_not_show_the_password_in_the_url() {
    let dir = tempfile::tempdir().unwrap();

    let shown = format!("{:?}", super::bed::options(&dir, "postgres://user:canary@db.example/x"));
    let refused = Store::open(&super::bed::options(&dir, "postgres://user:canary@[/x")).unwrap_err();

    assert!(!shown.contains("canary") && !format!("{refused} {refused:?}").contains("canary"));
}
