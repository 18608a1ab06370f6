-- +goose Up
-- The root of the proxy entrance that replaces the one in use. A root's number is
-- part of what its key is sealed under.
ALTER TABLE authority ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

CREATE TABLE next_root (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    certificate BLOB    NOT NULL,
    key_box     BLOB    NOT NULL,
    version     INTEGER NOT NULL,
    cross_cert  BLOB    NOT NULL, -- of the key in use, by this root
    started_at  INTEGER NOT NULL,
    ends_at     INTEGER NOT NULL
);
