ALTER TABLE sessions DROP COLUMN checked_at;
ALTER TABLE sessions DROP COLUMN confirmed_at;
ALTER TABLE sessions DROP COLUMN token_until;
ALTER TABLE sessions DROP COLUMN refresh_token;
ALTER TABLE sessions DROP COLUMN role_values;
