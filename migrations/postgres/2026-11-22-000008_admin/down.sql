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
DROP TRIGGER audit_refuses_delete ON audit;
DROP FUNCTION audit_keeps_what_is_not_cut();
DROP TABLE audit_anchors;
ALTER TABLE audit DROP COLUMN request_id;
ALTER TABLE audit DROP COLUMN resource_type;
ALTER TABLE audit DROP COLUMN status;
CREATE TRIGGER audit_refuses_delete BEFORE DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
