-- Pages of keys, in the order in which they were made, and the search for a name in the same index.
CREATE INDEX api_keys_by_age ON api_keys (created_at, id, name);

-- How often each of these was changed, so that whoever keeps a copy in memory can tell whether it still holds. One more
-- for each transaction that wrote there; the time of a key's last use does not count.
CREATE TABLE revisions (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO revisions (name, value) VALUES ('keys', 0), ('connections', 0), ('nodes', 0), ('combos', 0), ('settings', 0),
    ('routing', 0);

-- Once for a transaction, at its end, when it holds every other lock that it will ever hold, and all behind one lock: nobody
-- who counts waits for somebody who waits for the count.
CREATE FUNCTION counts_a_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    IF current_setting('omniroute.counted_' || TG_ARGV[0], true) IS DISTINCT FROM txid_current()::text THEN
        PERFORM pg_advisory_xact_lock(hashtext('omniroute revisions'));
        UPDATE revisions SET value = value + 1 WHERE name = TG_ARGV[0];
        PERFORM set_config('omniroute.counted_' || TG_ARGV[0], txid_current()::text, true);
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER connections_counts AFTER INSERT OR UPDATE OR DELETE ON connections
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION counts_a_change('connections');
CREATE CONSTRAINT TRIGGER nodes_counts AFTER INSERT OR UPDATE OR DELETE ON nodes
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION counts_a_change('nodes');
CREATE CONSTRAINT TRIGGER combos_counts AFTER INSERT OR UPDATE OR DELETE ON combos
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION counts_a_change('combos');
CREATE CONSTRAINT TRIGGER settings_counts AFTER INSERT OR UPDATE OR DELETE ON settings
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION counts_a_change('settings');
CREATE CONSTRAINT TRIGGER model_aliases_counts AFTER INSERT OR UPDATE OR DELETE ON model_aliases
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION counts_a_change('routing');
CREATE CONSTRAINT TRIGGER model_combo_mappings_counts AFTER INSERT OR UPDATE OR DELETE ON model_combo_mappings
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION counts_a_change('routing');
CREATE CONSTRAINT TRIGGER fallback_chains_counts AFTER INSERT OR UPDATE OR DELETE ON fallback_chains
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION counts_a_change('routing');
CREATE CONSTRAINT TRIGGER policies_counts AFTER INSERT OR UPDATE OR DELETE ON policies
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION counts_a_change('routing');
CREATE CONSTRAINT TRIGGER model_facts_counts AFTER INSERT OR UPDATE OR DELETE ON model_facts
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION counts_a_change('routing');
CREATE CONSTRAINT TRIGGER provider_models_counts AFTER INSERT OR UPDATE OR DELETE ON provider_models
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION counts_a_change('routing');
CREATE CONSTRAINT TRIGGER synced_models_counts AFTER INSERT OR UPDATE OR DELETE ON synced_models
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION counts_a_change('routing');
CREATE CONSTRAINT TRIGGER api_keys_counts AFTER INSERT OR DELETE OR UPDATE OF id, name, secret_hash, prefix, last4, scopes, allowed_models, allowed_connections, is_active,
    expires_at, max_requests_per_minute, max_requests_per_day, max_sessions, no_log, extra, created_at, revoked_at ON api_keys
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION counts_a_change('keys');
