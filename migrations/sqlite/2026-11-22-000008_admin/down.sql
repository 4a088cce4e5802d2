DROP TABLE sync_tokens;
ALTER TABLE sessions DROP COLUMN role;
ALTER TABLE sessions DROP COLUMN subject;
DROP INDEX audit_by_request;
DROP INDEX audit_by_resource;
DROP INDEX audit_by_status;
DROP INDEX audit_by_target;
DROP INDEX audit_by_actor;
DROP INDEX audit_by_action;
DROP INDEX audit_by_time;
DROP TRIGGER audit_refuses_delete;
DROP TABLE audit_anchors;
ALTER TABLE audit DROP COLUMN request_id;
ALTER TABLE audit DROP COLUMN resource_type;
ALTER TABLE audit DROP COLUMN status;
CREATE TRIGGER audit_refuses_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
