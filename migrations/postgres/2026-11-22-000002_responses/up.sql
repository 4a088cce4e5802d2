-- Answers of the Responses API that a client may go on from. The body is sealed: it holds prompts.
CREATE TABLE responses (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX responses_expires_at ON responses (expires_at);
