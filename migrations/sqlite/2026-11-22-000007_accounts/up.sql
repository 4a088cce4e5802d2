-- Accounts that are signed in by OAuth, and models beside those of the catalogue. JSON is text, times are milliseconds since
-- the Unix epoch.

-- What an account's server gave last. No foreign key: it goes with its connection in the same transaction.
CREATE TABLE oauth_tokens (
    connection_id TEXT NOT NULL PRIMARY KEY,
    -- which sign-in it descends from; the connection names the same one
    grant_id TEXT NOT NULL,
    -- sealed
    secrets TEXT NOT NULL,
    about TEXT NOT NULL,
    version BIGINT NOT NULL,
    obtained_at BIGINT NOT NULL,
    expires_at BIGINT,
    renewable BOOLEAN NOT NULL,
    failure TEXT,
    failed_at BIGINT,
    -- who renews it now, and until when nobody else does
    lease_owner TEXT,
    lease_until BIGINT
);

-- Sign-ins on their way: known by the hash of what the caller holds.
CREATE TABLE oauth_logins (
    id_hash TEXT NOT NULL PRIMARY KEY,
    provider TEXT NOT NULL,
    caller TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- sealed
    particulars TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    ask_after BIGINT NOT NULL,
    ask_every_ms BIGINT NOT NULL
);
CREATE INDEX oauth_logins_expires_at ON oauth_logins (expires_at);

-- Models that an operator added or changed.
CREATE TABLE provider_models (
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    data TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (provider, model)
);

-- The models that a connection's provider told last.
CREATE TABLE synced_models (
    connection_id TEXT NOT NULL PRIMARY KEY,
    models TEXT NOT NULL,
    synced_at BIGINT NOT NULL
);
