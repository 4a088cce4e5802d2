-- What routing knows beside connections and combos. JSON is text, times are milliseconds since the Unix epoch.

CREATE TABLE model_aliases (
    alias TEXT NOT NULL PRIMARY KEY,
    target TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- No foreign key: a mapping goes with its combo in the same transaction.
CREATE TABLE model_combo_mappings (
    id TEXT NOT NULL PRIMARY KEY,
    pattern TEXT NOT NULL,
    combo_id TEXT NOT NULL,
    priority INTEGER NOT NULL,
    enabled BOOLEAN NOT NULL,
    description TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX model_combo_mappings_combo_id ON model_combo_mappings (combo_id);

CREATE TABLE fallback_chains (
    model TEXT NOT NULL PRIMARY KEY,
    chain TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE policies (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    enabled BOOLEAN NOT NULL,
    priority INTEGER NOT NULL,
    effect TEXT NOT NULL CHECK (effect IN ('allow', 'deny', 'prefer', 'require')),
    data TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- What a combo's strategy must not forget over a restart: its turn, its last good target.
CREATE TABLE combo_states (
    combo TEXT NOT NULL PRIMARY KEY,
    data TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- What an operator knows better about models than the table that is compiled in.
CREATE TABLE model_facts (
    pattern TEXT NOT NULL PRIMARY KEY,
    data TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
