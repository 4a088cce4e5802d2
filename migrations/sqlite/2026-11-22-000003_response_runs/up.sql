-- An answer that is made in the background: how far it is, and until when somebody surely works on it. Neither for others.
ALTER TABLE responses ADD COLUMN run_status TEXT;
ALTER TABLE responses ADD COLUMN run_until BIGINT;
CREATE INDEX responses_run_until ON responses (run_until);

-- In which kept answers an item stands that a client may refer to.
CREATE TABLE response_items (
    owner TEXT NOT NULL,
    item_id TEXT NOT NULL,
    response_id TEXT NOT NULL REFERENCES responses (id) ON DELETE CASCADE,
    PRIMARY KEY (owner, item_id, response_id)
);
CREATE INDEX response_items_response_id ON response_items (response_id);
