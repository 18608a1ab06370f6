-- +goose Up
-- The request log in blocks: stretches of requests, packed (block.go). What one
-- request cost in a table of requests, with its indexes, a thousand do here.
-- The next migration carries over what the old table has.

CREATE TABLE request_blocks (
    last     INTEGER PRIMARY KEY, -- the newest change in it
    first    INTEGER NOT NULL,    -- the oldest
    requests INTEGER NOT NULL,    -- how many
    oldest   INTEGER NOT NULL,    -- when they began
    newest   INTEGER NOT NULL,
    low_seq  INTEGER NOT NULL,    -- of their records in the audit log
    top_seq  INTEGER NOT NULL,
    open     TEXT,                -- id of the one request in it that has not ended; NULL: all have
    classes  BLOB    NOT NULL,    -- stands before what is large and read seldom
    entries  BLOB    NOT NULL
);
CREATE INDEX request_blocks_by_newest ON request_blocks (newest);
CREATE UNIQUE INDEX request_blocks_open ON request_blocks (open) WHERE open IS NOT NULL;

CREATE TABLE request_log (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    change INTEGER NOT NULL, -- the last that was given out, which outlives its row
    again  INTEGER NOT NULL  -- 1: what is taken in next may be there already
);
INSERT INTO request_log (id, change, again) SELECT id, value, 0 FROM request_changes;
DROP TABLE request_changes;
