//! Which settings go to another instance in a bundle, and what of them stays.
//!
//! A password of a proxy is sealed for its place under the key of its own instance. On its way it lies beside the
//! settings, under the key that both share, or stays at home; it never arrives at another proxy than its own.

use std::collections::HashMap;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::proxies::{Place, Proxies};
use super::{General, IpFilter, RESILIENCE, Stored, SystemPrompt, ThinkingBudget};
use crate::gateway::combo_settings::COMBO_DEFAULTS_SETTING;
use crate::gateway::learned_models::LEARNED_MODELS_SETTING;
use crate::infra::crypto::{CryptoError, Vault};
use crate::store::SettingRow;

/// Settings that are configuration.
pub const CARRIED: [&str; 7] = [
    General::KEY,
    IpFilter::KEY,
    SystemPrompt::KEY,
    ThinkingBudget::KEY,
    Proxies::KEY,
    COMBO_DEFAULTS_SETTING,
    RESILIENCE,
];
/// The hash of the administrator's password.
pub const ADMIN_PASSWORD: &str = "admin_password";
/// How the exchange with the other instance stands.
pub const SYNC_STATE: &str = "cloud_sync";
/// Settings that belong to their instance.
pub const AT_HOME: [&str; 3] = [ADMIN_PASSWORD, SYNC_STATE, LEARNED_MODELS_SETTING];
/// Members of carried settings that belong to their instance: what it is called, whom it keeps out for a while.
const OWN_MEMBERS: [(&str, &str); 2] = [(General::KEY, "instanceName"), (IpFilter::KEY, "tempBans")];

/// Whether somebody said if this setting travels. What nobody spoke about is not written at all.
pub fn is_placed(key: &str) -> bool {
    CARRIED.contains(&key) || AT_HOME.contains(&key)
}

/// Settings ready to go, and the passwords of their proxies by [`name_of`] the place.
pub fn depart(rows: Vec<SettingRow>, vault: &Vault) -> (Vec<SettingRow>, HashMap<String, SecretString>) {
    let mut passwords = HashMap::new();
    let carried = rows.into_iter().filter(|row| CARRIED.contains(&row.key.as_str()));
    let rows = carried.map(|mut row| {
        if row.key == Proxies::KEY {
            row.value = without_passwords(&row.value, vault, &mut passwords);
        }
        OWN_MEMBERS
            .iter()
            .filter(|(key, _)| *key == row.key)
            .for_each(|(_, member)| drop(take(&mut row.value, member)));
        row
    });
    (rows.collect(), passwords)
}

fn without_passwords(value: &Value, vault: &Vault, passwords: &mut HashMap<String, SecretString>) -> Value {
    let mut proxies = Proxies::of(Some(value));
    for place in proxies.places() {
        let mut entry = proxies.at(&place);
        if let Some(plain) = entry.as_ref().and_then(|entry| entry.password(&place, vault)) {
            passwords.insert(name_of(&place), plain);
        }
        if let Some(entry) = &mut entry {
            entry.sealed = None;
        }
        // One that cannot be read is nothing to send.
        proxies.set(&place, entry.as_ref());
    }
    serde_json::json!(proxies)
}

/// Settings that arrived, as they are to be stored.
#[derive(Debug)]
pub struct Arrived {
    /// The rows.
    pub rows: Vec<SettingRow>,
    /// Places whose password has to be entered again.
    pub cleared: Vec<String>,
}

/// Make what came fit this instance: its own members stay, passwords are those that came along, or those that were
/// there for the same proxy. With `replace` a setting that did not come is reset, but for its own members.
///
/// # Errors
/// When a password cannot be sealed.
pub fn arrive(
    mut rows: Vec<SettingRow>,
    stored: &[SettingRow],
    passwords: &mut HashMap<String, SecretString>,
    vault: &Vault,
    replace: bool,
) -> Result<Arrived, CryptoError> {
    rows.retain(|row| CARRIED.contains(&row.key.as_str()));
    let here = |key: &str| stored.iter().find(|row| row.key == key).map(|row| &row.value);
    for (key, member) in OWN_MEMBERS {
        let own = here(key).and_then(|value| value.get(member)).cloned();
        if own.is_some() && replace && !rows.iter().any(|row| row.key == key) {
            let value = serde_json::json!({});
            rows.push(SettingRow { key: key.to_owned(), value, version: 0, updated_at: 0 });
        }
        for row in rows.iter_mut().filter(|row| row.key == key) {
            keep(&mut row.value, member, own.clone());
        }
    }
    let mut cleared = Vec::new();
    for row in rows.iter_mut().filter(|row| row.key == Proxies::KEY) {
        let before = Proxies::of(here(Proxies::KEY));
        row.value = with_passwords(&row.value, &before, passwords, vault, &mut cleared)?;
    }
    Ok(Arrived { rows, cleared })
}

fn with_passwords(
    value: &Value,
    before: &Proxies,
    passwords: &mut HashMap<String, SecretString>,
    vault: &Vault,
    cleared: &mut Vec<String>,
) -> Result<Value, CryptoError> {
    let mut proxies = Proxies::of(Some(value));
    for place in proxies.places() {
        let Some(mut entry) = proxies.at(&place) else { continue };
        let held = before.at(&place);
        let kept = held.as_ref().filter(|held| held.is_at(&entry)).and_then(|held| held.sealed.clone());
        let known = held.as_ref().and_then(|held| held.password(&place, vault));
        entry.sealed = kept;
        match passwords.remove(&name_of(&place)) {
            // The same one again is no change: its seal stays.
            Some(brought) if !(entry.sealed.is_some() && is_same(known.as_ref(), &brought)) => {
                entry.seal(&place, &brought, vault)?;
            }
            Some(_) => {}
            None if entry.sealed.is_none() && held.is_some_and(|held| held.sealed.is_some()) => {
                cleared.push(name_of(&place));
            }
            None => {}
        }
        proxies.set(&place, Some(&entry));
    }
    Ok(serde_json::json!(proxies))
}

fn is_same(known: Option<&SecretString>, brought: &SecretString) -> bool {
    known.is_some_and(|known| known.expose_secret() == brought.expose_secret())
}

/// What the place of a proxy is called in a bundle. No connection has such an id.
pub fn name_of(place: &Place) -> String {
    format!("proxy|{}|{}", place.level(), place.id().unwrap_or_default())
}

fn take(value: &mut Value, member: &str) -> Option<Value> {
    value.as_object_mut().and_then(|fields| fields.remove(member))
}

fn keep(value: &mut Value, member: &str, own: Option<Value>) {
    let Some(fields) = value.as_object_mut() else { return };
    match own {
        Some(own) => drop(fields.insert(member.to_owned(), own)),
        None => drop(fields.remove(member)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::infra::crypto::MasterKey;
    use crate::settings::proxies::Entry;

    fn row(key: &str, value: Value) -> SettingRow {
        SettingRow { key: key.to_owned(), value, version: 3, updated_at: 1 }
    }

    fn vault(byte: u8) -> Vault {
        Vault::new(&MasterKey::from_bytes([byte; 32]))
    }

    fn proxies(host: &str, password: &str, vault: &Vault) -> SettingRow {
        let entry = json!({"type": "http", "host": host, "port": 8080, "username": "me"});
        let mut entry: Entry = serde_json::from_value(entry).unwrap();
        entry.seal(&Place::Global, &password.to_owned().into(), vault).unwrap();
        let mut proxies = Proxies::default();
        proxies.set(&Place::Global, Some(&entry));
        row(Proxies::KEY, json!(proxies))
    }

    fn password(arrived: &Arrived, vault: &Vault) -> Option<String> {
        let proxies = Proxies::of(arrived.rows.first().map(|row| &row.value));
        proxies.at(&Place::Global)?.password(&Place::Global, vault).map(|plain| plain.expose_secret().to_owned())
    }

    #[test]
    fn a_password_travels_beside_the_settings_and_is_sealed_anew_where_it_arrives() {
        let (rows, mut passwords) = depart(vec![proxies("p.example", "canary", &vault(1))], &vault(1));
        assert!(!json!(rows).to_string().contains("sealed"), "{rows:?}");

        let arrived = arrive(rows.clone(), &[], &mut passwords, &vault(2), false).unwrap();
        let without = arrive(rows, &[], &mut HashMap::new(), &vault(2), false).unwrap();

        assert_eq!(password(&arrived, &vault(2)).as_deref(), Some("canary"));
        assert_eq!((password(&without, &vault(2)), without.cleared.len()), (None, 0));
    }

    #[test]
    fn a_password_that_did_not_come_stays_for_its_own_proxy_and_goes_to_no_other() {
        let here = [proxies("p.example", "mine", &vault(2))];
        let of = |host: &str| depart(vec![proxies(host, "theirs", &vault(1))], &vault(1)).0;

        let same = arrive(of("p.example"), &here, &mut HashMap::new(), &vault(2), false).unwrap();
        let other = arrive(of("q.example"), &here, &mut HashMap::new(), &vault(2), false).unwrap();

        assert_eq!((password(&same, &vault(2)).as_deref(), same.cleared.len()), (Some("mine"), 0));
        assert_eq!((password(&other, &vault(2)), other.cleared), (None, vec!["proxy|global|".to_owned()]));
    }

    #[test]
    fn the_same_password_again_changes_nothing() {
        let here = [proxies("p.example", "same", &vault(2))];
        let (rows, mut passwords) = depart(vec![proxies("p.example", "same", &vault(1))], &vault(1));

        let arrived = arrive(rows, &here, &mut passwords, &vault(2), false).unwrap();

        assert_eq!(arrived.rows[0].value, here[0].value);
    }

    #[test]
    fn what_an_instance_is_called_and_whom_it_bans_stay_its_own() {
        let theirs = vec![
            row(General::KEY, json!({"instanceName": "north", "maxBodySizeMb": 7})),
            row(IpFilter::KEY, json!({"enabled": true, "tempBans": [{"ip": "9.9.9.9", "until": 1}]})),
            row(ADMIN_PASSWORD, json!("hash")),
        ];
        let here = [row(General::KEY, json!({"instanceName": "south", "maxBodySizeMb": 2}))];

        let (rows, mut none) = depart(theirs, &vault(1));
        let arrived = arrive(rows.clone(), &here, &mut none, &vault(2), false).unwrap();
        let emptied = arrive(Vec::new(), &here, &mut none, &vault(2), true).unwrap();

        assert_eq!(rows.len(), 2);
        assert_eq!(arrived.rows[0].value, json!({"instanceName": "south", "maxBodySizeMb": 7}));
        assert_eq!(arrived.rows[1].value, json!({"enabled": true}));
        assert_eq!(emptied.rows[0].value, json!({"instanceName": "south"}));
    }

    #[test]
    fn what_a_bundle_claims_about_other_settings_is_left_out() {
        let forged = vec![row(ADMIN_PASSWORD, json!("theirs")), row(LEARNED_MODELS_SETTING, json!({}))];

        assert!(arrive(forged, &[], &mut HashMap::new(), &vault(2), true).unwrap().rows.is_empty());
    }
}
