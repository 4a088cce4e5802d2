ALTER TABLE connection_state DROP COLUMN learned;
