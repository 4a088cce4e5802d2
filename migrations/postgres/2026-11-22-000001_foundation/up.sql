-- Times are milliseconds since the Unix epoch, ids and JSON are text: both engines hold the same types.

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE connections (
    id TEXT NOT NULL PRIMARY KEY,
    provider TEXT NOT NULL,
    name TEXT NOT NULL,
    auth_type TEXT NOT NULL,
    -- sealed; the row's id is part of what it was sealed with
    credential TEXT,
    priority INTEGER NOT NULL,
    global_priority INTEGER,
    is_active BOOLEAN NOT NULL,
    default_model TEXT,
    max_concurrent INTEGER,
    rate_limit_protection BOOLEAN NOT NULL,
    group_name TEXT,
    provider_specific_data TEXT NOT NULL,
    test_status TEXT NOT NULL,
    last_tested BIGINT,
    last_error TEXT,
    last_error_type TEXT,
    last_error_source TEXT,
    last_error_at BIGINT,
    error_code TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX connections_provider_priority ON connections (provider, priority);

-- No foreign key: connections that come from the environment have state but no row of their own.
CREATE TABLE connection_state (
    connection_id TEXT NOT NULL PRIMARY KEY,
    breaker TEXT NOT NULL CHECK (breaker IN ('closed', 'degraded', 'open', 'half_open')),
    open_until BIGINT,
    open_cycles INTEGER NOT NULL,
    cooldown_until BIGINT,
    cooldown_reason TEXT,
    backoff_level INTEGER NOT NULL,
    terminal TEXT,
    since BIGINT NOT NULL,
    reason TEXT,
    last_error TEXT,
    lockouts TEXT NOT NULL,
    generation BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE nodes (
    id TEXT NOT NULL PRIMARY KEY,
    type TEXT NOT NULL,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL UNIQUE,
    api_type TEXT,
    base_url TEXT NOT NULL,
    chat_path TEXT,
    models_path TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE combos (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    strategy TEXT NOT NULL,
    is_active BOOLEAN NOT NULL,
    sort_order INTEGER NOT NULL,
    data TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    secret_hash TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    last4 TEXT NOT NULL,
    scopes TEXT NOT NULL,
    allowed_models TEXT NOT NULL,
    allowed_connections TEXT NOT NULL,
    is_active BOOLEAN NOT NULL,
    expires_at BIGINT,
    max_requests_per_minute INTEGER,
    max_requests_per_day INTEGER,
    max_sessions INTEGER,
    no_log BOOLEAN NOT NULL,
    extra TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE sessions (
    id_hash TEXT NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    client_ip TEXT,
    user_agent TEXT
);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

CREATE TABLE settings (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    version BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE audit (
    id BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL
);

CREATE TABLE usage_records (
    request_id TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    key_id TEXT,
    connection_id TEXT,
    provider TEXT,
    model TEXT,
    requested_model TEXT NOT NULL,
    combo TEXT,
    status INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    streamed BOOLEAN NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    estimated BOOLEAN NOT NULL,
    ttft_ms BIGINT,
    total_ms BIGINT NOT NULL,
    attempts TEXT NOT NULL
);
CREATE INDEX usage_records_at ON usage_records (at);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
CREATE TRIGGER audit_refuses_update BEFORE UPDATE ON audit
FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_refuses_delete BEFORE DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_refuses_truncate BEFORE TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
