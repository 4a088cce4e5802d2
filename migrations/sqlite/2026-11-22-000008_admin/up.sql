-- What the log is asked for by, beside its particulars.
ALTER TABLE audit ADD COLUMN status TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN resource_type TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN request_id TEXT NOT NULL DEFAULT '';

-- Points of the chain that are known under the instances' own key: where the keyed part begins, up to where rows were
-- cut away, which row is the newest.
CREATE TABLE audit_anchors (
    kind TEXT NOT NULL PRIMARY KEY,
    id BIGINT NOT NULL,
    hash TEXT NOT NULL,
    at BIGINT NOT NULL,
    mac TEXT NOT NULL
);

DROP TRIGGER audit_refuses_update;
DROP TRIGGER audit_refuses_delete;
UPDATE audit SET
    status = COALESCE(json_extract(detail, '$.status'), 'success'),
    resource_type = COALESCE(json_extract(detail, '$.resourceType'), ''),
    request_id = COALESCE(json_extract(detail, '$.requestId'), '');
CREATE TRIGGER audit_refuses_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_refuses_delete BEFORE DELETE ON audit
WHEN OLD.id > COALESCE((SELECT id FROM audit_anchors WHERE kind = 'cut'), 0)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE INDEX audit_by_time ON audit (at, id);
CREATE INDEX audit_by_action ON audit (action, id);
CREATE INDEX audit_by_actor ON audit (actor, id);
CREATE INDEX audit_by_target ON audit (target, id);
CREATE INDEX audit_by_status ON audit (status, id);
CREATE INDEX audit_by_resource ON audit (resource_type, id);
CREATE INDEX audit_by_request ON audit (request_id, id);

-- Who signed in, and what they may do.
ALTER TABLE sessions ADD COLUMN subject TEXT NOT NULL DEFAULT 'admin';
ALTER TABLE sessions ADD COLUMN role TEXT NOT NULL DEFAULT 'admin';

CREATE TABLE sync_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    secret_hash TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    last_used_at BIGINT,
    revoked_at BIGINT
);
