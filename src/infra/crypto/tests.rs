//! What the keys promise.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::master_key::is_system_credential;
use super::*;

fn vault(byte: u8) -> Vault {
    Vault::new(&MasterKey::from_bytes([byte; 32]))
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_sealed_secret_opens_again_in_its_own_place() {
    let vault = vault(1);
    let sealed = vault.seal("connections|a|credential|v1", &"sk-canary".into()).unwrap();

    let opened = vault.open("connections|a|credential|v1", &sealed).unwrap();

    assert_eq!(opened.expose_secret(), "sk-canary");
    assert!(sealed.starts_with("v1:") && !sealed.contains("canary"));
}

#[test]
fn a_sealed_secret_does_not_open_elsewhere_changed_or_under_another_key() {
    let sealed = vault(1).seal("row a", &"sk-canary".into()).unwrap();
    let mut changed = sealed.clone().into_bytes();
    changed[10] = if changed[10] == b'A' { b'B' } else { b'A' };

    assert!(matches!(vault(1).open("row b", &sealed), Err(CryptoError::Open)));
    assert!(matches!(vault(2).open("row a", &sealed), Err(CryptoError::Open)));
    assert!(matches!(vault(1).open("row a", std::str::from_utf8(&changed).unwrap()), Err(CryptoError::Open)));
    assert!(matches!(vault(1).open("row a", "v1:"), Err(CryptoError::Open)));
    assert!(matches!(vault(1).open("row a", "sk-canary"), Err(CryptoError::Open)));
}

#[test]
fn the_same_secret_never_seals_to_the_same_text() {
    let vault = vault(1);

    let first = vault.seal("row", &"x".into()).unwrap();
    let second = vault.seal("row", &"x".into()).unwrap();

    assert_ne!(first, second);
}

#[test]
fn client_keys_and_sessions_hash_under_different_peppers() {
    let vault = vault(1);

    let key = vault.client_keys().hash("omr_x");
    let session = vault.sessions().hash("omr_x");

    assert_ne!(key, session);
    assert!(vault.client_keys().matches("omr_x", &key));
    assert!(!vault.client_keys().matches("omr_y", &key));
    assert!(!vault.client_keys().matches("omr_x", &key[1..]));
}

#[test]
fn a_generated_key_passes_its_own_checksum_and_a_typo_does_not() {
    let vault = vault(1);
    let key = ClientKey::generate(vault.client_keys()).unwrap();
    let text = key.secret.expose_secret().to_owned();

    assert_eq!(text.len(), 53);
    assert!(looks_like_key(&text));
    assert!(text.starts_with(&key.prefix) && text.ends_with(&key.last4));
    assert_eq!(key.hash, vault.client_keys().hash(&text));
    for position in 0..text.len() {
        let mut typo = text.clone().into_bytes();
        typo[position] = if typo[position] == b'q' { b'w' } else { b'q' };
        assert!(!looks_like_key(std::str::from_utf8(&typo).unwrap()), "typo at {position}");
    }
}

#[test]
fn foreign_keys_are_not_taken_for_ours() {
    for text in ["", "omr_", "sk-proj-abc", "omr_ä", &"é".repeat(30), &format!("omr_{}", "0".repeat(49))] {
        assert!(!looks_like_key(text), "{text}");
    }
}

#[test]
fn a_password_verifies_and_another_does_not() {
    let stored = hash_password(&"correct horse battery".into()).unwrap();

    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    assert!(verify_password(&"correct horse battery".into(), &stored).unwrap());
    assert!(!verify_password(&"correct horse".into(), &stored).unwrap());
    assert!(verify_password(&"x".into(), "123456").is_err());
}

#[test]
fn hex_base64_and_passphrases_are_accepted_and_short_ones_refused() {
    let load = |text: &str| MasterKey::load_or_create(&MasterKeySource::from_setting(text));
    let passphrase = "a passphrase that is long enough to be used";

    assert_eq!(load(&"ab".repeat(32)).unwrap().bytes(), [0xab; 32]);
    assert_eq!(load("q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=").unwrap().bytes(), [0xab; 32]);
    assert_eq!(load(passphrase).unwrap().bytes(), load(passphrase).unwrap().bytes());
    assert_ne!(load(passphrase).unwrap().bytes(), load(&format!("{passphrase}!")).unwrap().bytes());
    assert!(matches!(load("too short"), Err(CryptoError::WeakMasterKey)));
    assert!(matches!(load(""), Err(CryptoError::WeakMasterKey)));
}

#[test]
fn an_unset_variable_and_a_missing_source_are_refused_with_a_reason() {
    let unset = MasterKey::load_or_create(&MasterKeySource::from_setting("env:OMNIROUTE_NO_SUCH_KEY")).unwrap_err();
    let missing = MasterKey::load_or_create(&MasterKeySource::Missing).unwrap_err();

    assert!(unset.to_string().contains("OMNIROUTE_NO_SUCH_KEY"));
    assert!(missing.to_string().contains("PostgreSQL"));
}

#[test]
fn the_embedded_key_is_made_once_private_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let source = MasterKeySource::Embedded { data_dir: dir.path().join("data"), may_create: true };

    let first = MasterKey::load_or_create(&source).unwrap();
    let second = MasterKey::load_or_create(&source).unwrap();

    let file = dir.path().join("data/master.key");
    assert_eq!(first.bytes(), second.bytes());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(dir.path().join("data")).unwrap().count(), 1, "a draft was left behind");
}

#[test]
fn a_lost_embedded_key_is_not_replaced_when_the_database_needs_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let source = MasterKeySource::Embedded { data_dir: dir.path().to_owned(), may_create: false };

    let refused = MasterKey::load_or_create(&source).unwrap_err();

    assert!(matches!(refused, CryptoError::MissingMasterKey(_)));
    assert!(!dir.path().join("master.key").exists());
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, "ab".repeat(32)).unwrap();

    for mode in [0o644, 0o640, 0o606] {
        set_mode(&path, mode);
        let refused = MasterKey::load_or_create(&MasterKeySource::File(path.clone()));
        assert!(matches!(refused, Err(CryptoError::KeyFileOpenToOthers { .. })), "{mode:o}");
    }
    set_mode(&path, 0o400);
    assert!(MasterKey::load_or_create(&MasterKeySource::File(path)).is_ok());
}

#[test]
fn a_credential_of_systemd_is_private_although_its_group_bit_shows() {
    assert!(is_system_credential(0o440, 0, 0));
    for (mode, uid, gid) in [(0o444, 0, 0), (0o460, 0, 0), (0o640, 0, 0), (0o440, 1000, 0), (0o440, 0, 1000)] {
        assert!(!is_system_credential(mode, uid, gid), "{mode:o} {uid} {gid}");
    }
}

#[test]
fn nothing_secret_shows_in_debug_output() {
    let master = MasterKey::from_bytes(*b"canarycanarycanarycanarycanary!!");
    let vault = Vault::new(&master);
    let key = ClientKey::generate(vault.client_keys()).unwrap();

    let shown = format!("{master:?} {vault:?} {:?} {key:?}", vault.client_keys());

    assert!(!shown.contains("canary") && !shown.contains("99, 97, 110"));
    assert!(!shown.contains(key.secret.expose_secret()));
}
