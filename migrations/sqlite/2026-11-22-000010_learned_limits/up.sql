-- What providers say about their own limits, so that a restart does not have to learn it by being refused.
ALTER TABLE connection_state ADD COLUMN learned TEXT;
