//! `omniroute keys`: client keys, worked on directly in the store. A running gateway takes changes up by itself.

use std::io::Write;

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::audit;
use crate::auth::{ModelPatterns, Scopes, client_keys};
use crate::boot::Foundation;
use crate::cli::{CliError, CreateKey, KeysCommand};
use crate::store::{ApiKeyRow, StoreError};

const DAY_MS: i64 = 86_400_000;

/// Do what was asked for.
///
/// # Errors
/// When it was asked for wrongly or the store does not answer.
pub async fn run(
    command: KeysCommand,
    foundation: &Foundation,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    match command {
        KeysCommand::Create(wish) => create(wish, foundation, json, out).await,
        KeysCommand::List => list(foundation, json, out).await,
        KeysCommand::Revoke { id } => revoke(&id, foundation, json, out).await,
    }
}

async fn create(wish: CreateKey, foundation: &Foundation, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    check(&wish)?;
    let now = now();
    let fresh = client_keys::fresh(&foundation.vault, wish.name.trim(), now);
    let (mut row, secret) = fresh.map_err(|error| CliError::Failure(error.to_string()))?;
    row.scopes = json!(wish.scopes);
    row.allowed_models = json!(wish.models);
    row.expires_at = wish.expires_days.map(|days| now.saturating_add(i64::from(days) * DAY_MS));
    row.max_requests_per_minute = wish.rpm.and_then(|rpm| i32::try_from(rpm).ok());
    foundation.store.api_keys().insert(&row).await?;
    let particulars = json!({"name": row.name, "prefix": row.prefix, "scopes": row.scopes});
    audit::note(&foundation.store, "apikey.created", &row.id, particulars).await?;
    let secret = secret.expose_secret();
    let made = foundation.made.as_ref().map(|path| path.display().to_string());
    if json {
        let shown = with(masked(&row), "key", secret);
        let shown = made.iter().fold(shown, |shown, path| with(shown, "newDatabase", path));
        return Ok(writeln!(out, "{shown}")?);
    }
    writeln!(out, "{secret}")?;
    writeln!(out, "Key '{}' ({}) is shown only now. Keep it.", row.name, row.id)?;
    if let Some(path) = made {
        writeln!(out, "There was no database yet: {path} has been made for it.")?;
    }
    Ok(())
}

fn check(wish: &CreateKey) -> Result<(), CliError> {
    if wish.name.trim().is_empty() || wish.name.chars().count() > 200 || wish.name.chars().any(char::is_control) {
        return Err(CliError::Usage("--name must be 1 to 200 printable characters".to_owned()));
    }
    if let Some(scope) = wish.scopes.iter().find(|scope| !Scopes::WORDS.contains(&scope.as_str())) {
        let known = Scopes::WORDS.join(", ");
        return Err(CliError::Usage(format!("'{scope}' is no scope; there are {known}")));
    }
    match wish.models.iter().find(|model| !ModelPatterns::is_pattern(model)) {
        Some(model) => Err(CliError::Usage(format!("'{model}' is no model, no 'prefix/*' and not '*'"))),
        None => Ok(()),
    }
}

async fn list(foundation: &Foundation, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let rows = foundation.store.api_keys().list().await?;
    if json {
        let keys: Vec<_> = rows.iter().map(masked).collect();
        return Ok(writeln!(out, "{}", json!({ "keys": keys }))?);
    }
    if rows.is_empty() {
        return Ok(writeln!(out, "There are no keys. Make one: omniroute keys create --name laptop")?);
    }
    let now = now();
    for row in &rows {
        writeln!(out, "{}  {}...{}  {:8}  {}", row.id, row.prefix, row.last4, state(row, now), row.name)?;
    }
    Ok(())
}

async fn revoke(id: &str, foundation: &Foundation, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let keys = foundation.store.api_keys();
    let mut row = match keys.get(id).await {
        Err(StoreError::NotFound) => return Err(CliError::Failure(format!("there is no key {id}"))),
        found => found?,
    };
    row.is_active = false;
    row.revoked_at = row.revoked_at.or_else(|| Some(now()));
    keys.update(&row).await?;
    audit::note(&foundation.store, "apikey.revoked", &row.id, json!({"name": row.name, "prefix": row.prefix})).await?;
    if json {
        return Ok(writeln!(out, "{}", masked(&row))?);
    }
    Ok(writeln!(out, "Key '{}' is revoked. A running gateway refuses it within 10 seconds.", row.name)?)
}

/// Everything but the secret and its hash.
fn masked(row: &ApiKeyRow) -> Value {
    with(serde_json::to_value(row).unwrap_or_default(), "state", state(row, now()))
}

fn with(mut shown: Value, name: &str, text: &str) -> Value {
    if let Some(members) = shown.as_object_mut() {
        members.insert(name.to_owned(), Value::from(text));
    }
    shown
}

fn state(row: &ApiKeyRow, now: i64) -> &'static str {
    match row {
        _ if row.revoked_at.is_some() => "revoked",
        _ if !row.is_active => "disabled",
        _ if row.expires_at.is_some_and(|end| end <= now) => "expired",
        _ => "active",
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    struct Bed {
        foundation: Foundation,
        _dir: tempfile::TempDir,
    }

    fn bed() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.storage.data_dir = dir.path().join("data");
        Bed { foundation: Foundation::open(&config, &Environment::default()).unwrap(), _dir: dir }
    }

    impl Bed {
        async fn ask(&self, command: KeysCommand, json: bool) -> Result<String, CliError> {
            let mut out = Vec::new();
            run(command, &self.foundation, json, &mut out).await?;
            Ok(String::from_utf8(out).unwrap())
        }

        async fn made(&self) -> Value {
            let text = self.ask(KeysCommand::Create(wish("ci")), true).await.unwrap();
            serde_json::from_str(&text).unwrap()
        }
    }

    fn wish(name: &str) -> CreateKey {
        CreateKey {
            name: name.into(),
            models: vec!["groq/*".into()],
            scopes: vec!["manage".into()],
            expires_days: Some(2),
            rpm: Some(60),
        }
    }

    #[tokio::test]
    async fn a_key_is_stored_with_its_limits_under_the_hash_of_what_was_shown() {
        let bed = bed();

        let made = bed.made().await;

        let hash = bed.foundation.vault.client_keys().hash(made["key"].as_str().unwrap());
        let row = bed.foundation.store.api_keys().find_by_hash(&hash).await.unwrap().unwrap();
        assert_eq!((row.name.as_str(), row.max_requests_per_minute), ("ci", Some(60)));
        assert_eq!(row.expires_at, Some(row.created_at + 2 * DAY_MS));
        assert_eq!((row.scopes, row.allowed_models), (json!(["manage"]), json!(["groq/*"])));
    }

    #[tokio::test]
    async fn whoever_makes_the_first_key_is_told_where_the_new_database_is() {
        let mut bed = bed();
        let file = bed.foundation.made.clone().unwrap().display().to_string();

        let (made, text) = (bed.made().await, bed.ask(KeysCommand::Create(wish("b")), false).await.unwrap());
        bed.foundation.made = None;
        let later = bed.ask(KeysCommand::Create(wish("c")), false).await.unwrap();

        assert!(made["newDatabase"] == file && text.contains(&file), "{made} {text}");
        assert!(!later.contains(&file), "{later}");
    }

    #[tokio::test]
    async fn the_list_shows_keys_masked() {
        let bed = bed();
        let made = bed.made().await;

        let (text, json) = (bed.ask(KeysCommand::List, false).await, bed.ask(KeysCommand::List, true).await);

        let (text, json) = (text.unwrap(), json.unwrap());
        assert!(
            text.contains("active") && text.contains("ci") && text.contains(made["last4"].as_str().unwrap()),
            "{text}"
        );
        assert!(![text, json].concat().contains(made["key"].as_str().unwrap()));
    }

    #[tokio::test]
    async fn a_revoked_key_stays_in_the_list_and_is_worth_nothing() {
        let bed = bed();
        let id = bed.made().await["id"].as_str().unwrap().to_owned();

        let told = bed.ask(KeysCommand::Revoke { id: id.clone() }, false).await.unwrap();

        let row = bed.foundation.store.api_keys().get(&id).await.unwrap();
        assert!(told.contains("revoked") && !row.is_active && row.revoked_at.is_some());
        assert!(bed.ask(KeysCommand::List, false).await.unwrap().contains("revoked"));
    }

    #[tokio::test]
    async fn what_does_not_exist_cannot_be_revoked() {
        let refused = bed().ask(KeysCommand::Revoke { id: "nobody".into() }, false).await.unwrap_err();

        assert_eq!((refused.code(), refused.to_string().as_str()), (1, "there is no key nobody"));
    }

    #[tokio::test]
    async fn wrong_wishes_are_refused_before_anything_is_stored() {
        let bed = bed();
        let wrong = [
            CreateKey { scopes: vec!["everything".into()], ..wish("a") },
            CreateKey { models: vec!["a*b".into()], ..wish("a") },
            wish(" "),
        ];

        for wish in wrong {
            assert_eq!(bed.ask(KeysCommand::Create(wish), false).await.unwrap_err().code(), 2);
        }
        assert!(bed.foundation.store.api_keys().list().await.unwrap().is_empty());
    }
}
