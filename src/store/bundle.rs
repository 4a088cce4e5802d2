//! The configuration as one piece, to be carried to another instance: read as of one moment, put in force as a whole or not
//! at all.
//!
//! What belongs to an instance stays there: keys, sessions and the administrator, the past, the health of connections.
//! [`travel`] says which settings go along. A connection's
//! credential stays, too, unless its address changes without a new one: it is only ever sent to the place it was saved for.

use std::collections::{BTreeMap, HashMap};

use diesel::Connection as _;
use diesel::prelude::*;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connections::{self, ConnectionRow};
use super::db::{Db, take_turns};
use super::schema;
use super::{
    ComboRow, FallbackChainRow, MappingRow, ModelAliasRow, ModelFactsRow, NodeRow, PolicyRow, ProviderModelRow,
    SettingRow, Store, StoreError,
};
use crate::infra::crypto::Vault;
use crate::settings::travel;

/// The configuration of an instance.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Configuration {
    /// Settings that were changed at run time.
    pub settings: Vec<SettingRow>,
    /// Custom endpoints.
    pub nodes: Vec<NodeRow>,
    /// Connections, without their credentials.
    pub connections: Vec<CarriedConnection>,
    /// Combos.
    pub combos: Vec<ComboRow>,
    /// Aliases.
    pub aliases: Vec<ModelAliasRow>,
    /// Model strings that combos answer.
    pub mappings: Vec<MappingRow>,
    /// Fallback chains.
    pub fallback_chains: Vec<FallbackChainRow>,
    /// Policies.
    pub policies: Vec<PolicyRow>,
    /// What operators know better about models.
    pub model_facts: Vec<ModelFactsRow>,
    /// Models that operators added.
    #[serde(default)]
    pub provider_models: Vec<ProviderModelRow>,
    /// By the place of a proxy, a keyed digest of its password: it tells that one has changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub proxy_passwords: BTreeMap<String, String>,
}

/// The configuration of an instance with what is secret in it.
#[derive(Debug, Default)]
pub struct Held {
    /// Everything but the connections.
    pub configuration: Configuration,
    /// These, with their credentials.
    pub connections: Vec<ConnectionRow>,
    /// The passwords of proxies, by place.
    pub passwords: HashMap<String, SecretString>,
}

/// A connection on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CarriedConnection {
    /// Identity.
    pub id: String,
    /// The provider.
    pub provider: String,
    /// The operator's name for it.
    pub name: String,
    /// How it authenticates.
    pub auth_type: String,
    /// Order among the provider's connections.
    pub priority: i32,
    /// Order among all connections.
    pub global_priority: Option<i32>,
    /// Whether it takes part in routing.
    pub is_active: bool,
    /// The model used when none is named.
    pub default_model: Option<String>,
    /// Requests at once.
    pub max_concurrent: Option<i32>,
    /// Whether the rate-limit guard is on.
    pub rate_limit_protection: bool,
    /// A label.
    pub group_name: Option<String>,
    /// What only this provider needs.
    pub provider_specific_data: Value,
    /// A keyed digest of its credential: it tells that one has changed, and nothing else.
    pub credential_digest: Option<String>,
}

impl CarriedConnection {
    /// A stored connection, and the digest of its credential.
    pub fn of(row: &ConnectionRow, credential_digest: Option<String>) -> Self {
        let row = row.clone();
        Self {
            id: row.id,
            provider: row.provider,
            name: row.name,
            auth_type: row.auth_type,
            priority: row.priority,
            global_priority: row.global_priority,
            is_active: row.is_active,
            default_model: row.default_model,
            max_concurrent: row.max_concurrent,
            rate_limit_protection: row.rate_limit_protection,
            group_name: row.group_name,
            provider_specific_data: row.provider_specific_data,
            credential_digest,
        }
    }

    fn onto(self, before: Option<ConnectionRow>, at: i64) -> ConnectionRow {
        let mut row = before.unwrap_or_else(|| ConnectionRow::blank(self.id.clone(), at));
        (row.provider, row.name, row.auth_type) = (self.provider, self.name, self.auth_type);
        (row.priority, row.global_priority, row.is_active) = (self.priority, self.global_priority, self.is_active);
        (row.default_model, row.max_concurrent) = (self.default_model, self.max_concurrent);
        (row.rate_limit_protection, row.group_name) = (self.rate_limit_protection, self.group_name);
        (row.provider_specific_data, row.updated_at) = (self.provider_specific_data, at);
        row
    }
}

/// What is put in force, and how.
pub struct Applied {
    /// The configuration.
    pub configuration: Configuration,
    /// Credentials that came along, by connection, and passwords by the place of their proxy.
    pub credentials: HashMap<String, SecretString>,
    /// Whether what it does not name is removed.
    pub replace: bool,
    /// Whether nothing is written: only told.
    pub dry: bool,
    /// When.
    pub at: i64,
}

/// What happens to the rows of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Change {
    /// New ones.
    pub added: Vec<String>,
    /// Those that become different.
    pub changed: Vec<String>,
    /// Those that go.
    pub removed: Vec<String>,
    /// How many stay as they are.
    pub unchanged: usize,
}

/// What happens, by kind, and which connections and proxies lose their credential because their address changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// By kind.
    pub kinds: BTreeMap<&'static str, Change>,
    /// Connections, and places of proxies, whose credential has to be entered again.
    pub credentials_cleared: Vec<String>,
}

/// The configuration as a whole.
pub struct Bundles<'a>(pub(super) &'a Store);

impl Bundles<'_> {
    /// All of it as of one moment.
    pub async fn read(&self) -> Result<Held, StoreError> {
        let vault = self.0.vault.clone();
        let (mut configuration, connections) = self.0.read(move |db| db.transaction(|db| read(db, &vault))).await?;
        let (settings, passwords) = travel::depart(configuration.settings, &self.0.vault);
        configuration.settings = settings;
        Ok(Held { configuration, connections, passwords })
    }

    /// Put a configuration in force, or tell what that would change.
    pub async fn apply(&self, applied: Applied) -> Result<Changes, StoreError> {
        let vault = self.0.vault.clone();
        self.0.write(move |db| apply(db, applied, &vault)).await
    }
}

fn read(db: &mut Db, vault: &Vault) -> Result<(Configuration, Vec<ConnectionRow>), StoreError> {
    use schema::{
        combos, fallback_chains, model_aliases, model_combo_mappings, model_facts, nodes, policies, provider_models,
        settings,
    };
    let configuration = Configuration {
        settings: settings::table.filter(settings::key.eq_any(travel::CARRIED)).order(settings::key).load(db)?,
        nodes: nodes::table.order(nodes::id).load(db)?,
        connections: Vec::new(),
        combos: combos::table.order(combos::id).load(db)?,
        aliases: model_aliases::table.order(model_aliases::alias).load(db)?,
        mappings: model_combo_mappings::table.order(model_combo_mappings::id).load(db)?,
        fallback_chains: fallback_chains::table.order(fallback_chains::model).load(db)?,
        policies: policies::table.order(policies::id).load(db)?,
        model_facts: model_facts::table.order(model_facts::pattern).load(db)?,
        provider_models: provider_models::table.order((provider_models::provider, provider_models::model)).load(db)?,
        proxy_passwords: BTreeMap::new(),
    };
    Ok((configuration, connections::load_all(db, vault)?))
}

/// Compare the rows of one kind with those that come, and make them so.
macro_rules! carry {
    ($db:expr, $changes:expr, $name:literal, $table:ident.$key:ident, $stored:expr, $incoming:expr, $how:expr) => {{
        let (change, written) = compare($stored, $incoming, |row| row.$key.clone(), $how.replace);
        if !$how.dry {
            for key in change.removed.iter().chain(&change.changed) {
                diesel::delete(schema::$table::table.filter(schema::$table::$key.eq(key))).execute($db)?;
            }
            for row in written {
                diesel::insert_into(schema::$table::table).values(row).execute($db)?;
            }
        }
        $changes.kinds.insert($name, change);
    }};
}

struct How {
    replace: bool,
    dry: bool,
    at: i64,
}

fn apply(db: &mut Db, applied: Applied, vault: &Vault) -> Result<Changes, StoreError> {
    // Who reads a version and writes the next takes turns; the rest is one transaction.
    take_turns(db, "settings")?;
    let Applied { configuration: mut new, mut credentials, replace, dry, at } = applied;
    let how = How { replace, dry, at };
    let (now, connections) = read(db, vault)?;
    let mut changes = Changes::default();
    let arrived = travel::arrive(new.settings, &now.settings, &mut credentials, vault, replace)?;
    (new.settings, changes.credentials_cleared) = (arrived.rows, arrived.cleared);
    for row in &mut new.settings {
        let version = now.settings.iter().find(|stored| stored.key == row.key).map_or(0, |stored| stored.version);
        (row.version, row.updated_at) = (version + 1, at);
    }
    let moved = moved(&connections, &now.nodes, &new, replace);
    carry!(db, changes, "settings", settings.key, now.settings, new.settings, how);
    carry!(db, changes, "nodes", nodes.id, now.nodes, new.nodes, how);
    carry!(db, changes, "combos", combos.id, now.combos, new.combos, how);
    carry!(db, changes, "aliases", model_aliases.alias, now.aliases, new.aliases, how);
    carry!(db, changes, "mappings", model_combo_mappings.id, now.mappings, new.mappings, how);
    carry!(db, changes, "fallbackChains", fallback_chains.model, now.fallback_chains, new.fallback_chains, how);
    carry!(db, changes, "policies", policies.id, now.policies, new.policies, how);
    carry!(db, changes, "modelFacts", model_facts.pattern, now.model_facts, new.model_facts, how);

    let change = carry_models(db, now.provider_models, new.provider_models, &how)?;
    changes.kinds.insert("providerModels", change);

    let (change, written) = compare_connections(&connections, new.connections, &credentials, &moved, &how);
    let mut stored: HashMap<_, _> = connections.into_iter().map(|row| (row.id.clone(), row)).collect();
    for id in change.removed.iter().filter(|_| !dry) {
        connections::remove(db, id)?;
    }
    for carried in written {
        let before = stored.remove(&carried.id);
        let is_new = before.is_none();
        let mut row = carried.onto(before, how.at);
        let brought = credentials.remove(&row.id);
        if brought.is_none() && moved.contains(&row.id) && (row.credential.is_some() || row.credential_unreadable) {
            changes.credentials_cleared.push(row.id.clone());
            (row.credential, row.credential_unreadable) = (None, false);
        }
        if let Some(brought) = brought {
            (row.credential, row.credential_unreadable) = (Some(brought), false);
        }
        if !dry {
            connections::write(db, &row, vault, is_new)?;
        }
    }
    // An endpoint may move under connections that the bundle does not name.
    for mut row in stored.into_values().filter(|row| moved.contains(&row.id) && !change.removed.contains(&row.id)) {
        if row.credential.take().is_none() && !row.credential_unreadable {
            continue;
        }
        (row.credential_unreadable, row.updated_at) = (false, how.at);
        changes.credentials_cleared.push(row.id.clone());
        if !dry {
            connections::write(db, &row, vault, false)?;
        }
    }
    changes.credentials_cleared.sort();
    changes.kinds.insert("connections", change);
    Ok(changes)
}

/// Models have a key of two parts, which no slash divides for sure: both rows are there to be deleted by.
fn carry_models(
    db: &mut Db,
    stored: Vec<ProviderModelRow>,
    incoming: Vec<ProviderModelRow>,
    how: &How,
) -> Result<Change, StoreError> {
    let name = |row: &ProviderModelRow| format!("{}/{}", row.provider, row.model);
    let (change, written) = compare(stored.clone(), incoming, name, how.replace);
    if how.dry {
        return Ok(change);
    }
    for row in stored.iter().filter(|row| change.removed.contains(&name(row)) || change.changed.contains(&name(row))) {
        let key = (row.provider.clone(), row.model.clone());
        diesel::delete(schema::provider_models::table.find(key)).execute(db)?;
    }
    for row in written {
        diesel::insert_into(schema::provider_models::table).values(row).execute(db)?;
    }
    Ok(change)
}

/// Connections whose requests would go elsewhere than before.
fn moved(connections: &[ConnectionRow], nodes: &[NodeRow], new: &Configuration, replace: bool) -> Vec<String> {
    let place = |node: &NodeRow| (node.kind.clone(), node.base_url.clone());
    let stays = |provider: &str| {
        let before = nodes.iter().find(|node| node.id == provider).map(place);
        let after = new.nodes.iter().find(|node| node.id == provider).map(place);
        before == after || (after.is_none() && !replace)
    };
    let same = |row: &ConnectionRow| {
        let after = new.connections.iter().find(|carried| carried.id == row.id);
        after.is_none_or(|after| {
            after.provider == row.provider && after.provider_specific_data == row.provider_specific_data
        })
    };
    let gone = connections.iter().filter(|row| !same(row) || !stays(&row.provider));
    gone.map(|row| row.id.clone()).collect()
}

fn compare_connections(
    stored: &[ConnectionRow],
    incoming: Vec<CarriedConnection>,
    credentials: &HashMap<String, SecretString>,
    moved: &[String],
    how: &How,
) -> (Change, Vec<CarriedConnection>) {
    let plain = |row: &CarriedConnection| CarriedConnection { credential_digest: None, ..row.clone() };
    let now = stored.iter().map(|row| CarriedConnection::of(row, None)).collect();
    let bare: Vec<_> = incoming.iter().map(plain).collect();
    let (mut change, mut written) = compare(now, bare.clone(), |row: &CarriedConnection| row.id.clone(), how.replace);
    // A credential that comes along, or has to go, is a change as well.
    for row in bare {
        let touched = credentials.contains_key(&row.id) || moved.contains(&row.id);
        if touched && !change.added.contains(&row.id) && !change.changed.contains(&row.id) {
            change.unchanged = change.unchanged.saturating_sub(1);
            change.changed.push(row.id.clone());
            written.push(row);
        }
    }
    (change, written)
}

/// What differs, and the rows to be written. When they were made and changed is no difference.
fn compare<T: Serialize>(
    stored: Vec<T>,
    incoming: Vec<T>,
    key: impl Fn(&T) -> String,
    replace: bool,
) -> (Change, Vec<T>) {
    let stored: HashMap<String, Value> = stored.iter().map(|row| (key(row), timeless(row))).collect();
    let (mut change, mut written) = (Change::default(), Vec::new());
    let mut named = std::collections::HashSet::new();
    for row in incoming {
        let name = key(&row);
        match stored.get(&name) {
            Some(before) if *before == timeless(&row) => change.unchanged += 1,
            before => {
                let list = if before.is_some() { &mut change.changed } else { &mut change.added };
                list.push(name.clone());
                written.push(row);
            }
        }
        named.insert(name);
    }
    if replace {
        change.removed = stored.into_keys().filter(|name| !named.contains(name)).collect();
        change.removed.sort();
    }
    (change, written)
}

fn timeless<T: Serialize>(row: &T) -> Value {
    let mut row = serde_json::to_value(row).unwrap_or_default();
    if let Some(fields) = row.as_object_mut() {
        for time in ["createdAt", "updatedAt", "version"] {
            fields.remove(time);
        }
    }
    row
}
