-- What a session of somebody else's account was let in for, and how that is asked again.
ALTER TABLE sessions ADD COLUMN role_values TEXT;
ALTER TABLE sessions ADD COLUMN refresh_token TEXT;
ALTER TABLE sessions ADD COLUMN token_until BIGINT;
ALTER TABLE sessions ADD COLUMN confirmed_at BIGINT;
ALTER TABLE sessions ADD COLUMN checked_at BIGINT;
