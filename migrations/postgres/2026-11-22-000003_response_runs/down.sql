DROP TABLE response_items;
DROP INDEX responses_run_until;
ALTER TABLE responses DROP COLUMN run_until;
ALTER TABLE responses DROP COLUMN run_status;
