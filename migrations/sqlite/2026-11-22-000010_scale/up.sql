-- Pages of keys, in the order in which they were made, and the search for a name in the same index.
CREATE INDEX api_keys_by_age ON api_keys (created_at, id, name);

-- How often each of these was changed, so that whoever keeps a copy in memory can tell whether it still holds. One more
-- for each row that was written; the time of a key's last use does not count.
CREATE TABLE revisions (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO revisions (name, value) VALUES ('keys', 0), ('connections', 0), ('nodes', 0), ('combos', 0), ('settings', 0),
    ('routing', 0);

CREATE TRIGGER connections_insert_counts AFTER INSERT ON connections
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'connections'; END;
CREATE TRIGGER connections_update_counts AFTER UPDATE ON connections
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'connections'; END;
CREATE TRIGGER connections_delete_counts AFTER DELETE ON connections
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'connections'; END;

CREATE TRIGGER nodes_insert_counts AFTER INSERT ON nodes
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'nodes'; END;
CREATE TRIGGER nodes_update_counts AFTER UPDATE ON nodes
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'nodes'; END;
CREATE TRIGGER nodes_delete_counts AFTER DELETE ON nodes
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'nodes'; END;

CREATE TRIGGER combos_insert_counts AFTER INSERT ON combos
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'combos'; END;
CREATE TRIGGER combos_update_counts AFTER UPDATE ON combos
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'combos'; END;
CREATE TRIGGER combos_delete_counts AFTER DELETE ON combos
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'combos'; END;

CREATE TRIGGER settings_insert_counts AFTER INSERT ON settings
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'settings'; END;
CREATE TRIGGER settings_update_counts AFTER UPDATE ON settings
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'settings'; END;
CREATE TRIGGER settings_delete_counts AFTER DELETE ON settings
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'settings'; END;

CREATE TRIGGER model_aliases_insert_counts AFTER INSERT ON model_aliases
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;
CREATE TRIGGER model_aliases_update_counts AFTER UPDATE ON model_aliases
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;
CREATE TRIGGER model_aliases_delete_counts AFTER DELETE ON model_aliases
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;

CREATE TRIGGER model_combo_mappings_insert_counts AFTER INSERT ON model_combo_mappings
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;
CREATE TRIGGER model_combo_mappings_update_counts AFTER UPDATE ON model_combo_mappings
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;
CREATE TRIGGER model_combo_mappings_delete_counts AFTER DELETE ON model_combo_mappings
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;

CREATE TRIGGER fallback_chains_insert_counts AFTER INSERT ON fallback_chains
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;
CREATE TRIGGER fallback_chains_update_counts AFTER UPDATE ON fallback_chains
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;
CREATE TRIGGER fallback_chains_delete_counts AFTER DELETE ON fallback_chains
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;

CREATE TRIGGER policies_insert_counts AFTER INSERT ON policies
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;
CREATE TRIGGER policies_update_counts AFTER UPDATE ON policies
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;
CREATE TRIGGER policies_delete_counts AFTER DELETE ON policies
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;

CREATE TRIGGER model_facts_insert_counts AFTER INSERT ON model_facts
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;
CREATE TRIGGER model_facts_update_counts AFTER UPDATE ON model_facts
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;
CREATE TRIGGER model_facts_delete_counts AFTER DELETE ON model_facts
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;

CREATE TRIGGER provider_models_insert_counts AFTER INSERT ON provider_models
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;
CREATE TRIGGER provider_models_update_counts AFTER UPDATE ON provider_models
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;
CREATE TRIGGER provider_models_delete_counts AFTER DELETE ON provider_models
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;

CREATE TRIGGER synced_models_insert_counts AFTER INSERT ON synced_models
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;
CREATE TRIGGER synced_models_update_counts AFTER UPDATE ON synced_models
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;
CREATE TRIGGER synced_models_delete_counts AFTER DELETE ON synced_models
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'routing'; END;

CREATE TRIGGER api_keys_insert_counts AFTER INSERT ON api_keys
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'keys'; END;
CREATE TRIGGER api_keys_delete_counts AFTER DELETE ON api_keys
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'keys'; END;
CREATE TRIGGER api_keys_update_counts AFTER UPDATE OF id, name, secret_hash, prefix, last4, scopes, allowed_models, allowed_connections, is_active,
    expires_at, max_requests_per_minute, max_requests_per_day, max_sessions, no_log, extra, created_at, revoked_at ON api_keys
BEGIN UPDATE revisions SET value = value + 1 WHERE name = 'keys'; END;
