-- What models are tried with: cases with what is expected of their answers, as JSON.
CREATE TABLE eval_suites (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    cases TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- A suite tried on one target. Runs that were begun together share a group. While it is queued or running, run_until
-- says until when somebody surely works on it.
CREATE TABLE eval_runs (
    id TEXT NOT NULL PRIMARY KEY,
    group_id TEXT,
    suite_id TEXT NOT NULL,
    suite_name TEXT NOT NULL,
    target_type TEXT NOT NULL,
    target_id TEXT,
    key_id TEXT,
    status TEXT NOT NULL,
    run_until BIGINT NOT NULL,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL,
    passed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    cost_nano_usd BIGINT NOT NULL,
    latency_ms BIGINT NOT NULL,
    results TEXT NOT NULL,
    error TEXT,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT
);
CREATE INDEX eval_runs_created_at ON eval_runs (created_at);
CREATE INDEX eval_runs_group_id ON eval_runs (group_id);
CREATE INDEX eval_runs_status ON eval_runs (status, run_until);

-- What became of each model when it was last tried.
CREATE TABLE model_assessments (
    id TEXT NOT NULL PRIMARY KEY,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    status TEXT NOT NULL,
    categories TEXT NOT NULL,
    latency_ms BIGINT,
    message TEXT,
    run_id TEXT NOT NULL,
    assessed_at BIGINT NOT NULL
);
