-- +goose Up
-- The request log is filled from the audit log, and may be emptied: what the
-- audit log still holds comes back. Rows outlive vaults, agents and sessions, so
-- these stand here by the names that they had.

CREATE TABLE requests (
    n               INTEGER PRIMARY KEY,
    change          INTEGER NOT NULL, -- grows with each beginning and end
    id              TEXT    NOT NULL UNIQUE,
    seq             INTEGER NOT NULL,
    time            INTEGER NOT NULL,
    entrance        TEXT    NOT NULL,
    session         TEXT    NOT NULL,
    agent           TEXT    NOT NULL,
    agent_kind      TEXT    NOT NULL,
    vault_id        TEXT    NOT NULL,
    vault           TEXT    NOT NULL, -- its name then
    service         TEXT    NOT NULL,
    target          TEXT    NOT NULL,
    host            TEXT    NOT NULL,
    method          TEXT    NOT NULL,
    path            TEXT    NOT NULL,
    credentials     TEXT    NOT NULL, -- JSON array of keys
    status          INTEGER,          -- NULL: unknown
    fault           TEXT    NOT NULL,
    bytes_in        INTEGER NOT NULL,
    bytes_out       INTEGER NOT NULL,
    duration_micros INTEGER NOT NULL,
    scrubbed        INTEGER NOT NULL
);
CREATE INDEX requests_by_time ON requests (time);
CREATE INDEX requests_by_change ON requests (change);
CREATE INDEX requests_by_vault ON requests (vault_id, time);
CREATE INDEX requests_by_agent ON requests (agent, time);
CREATE INDEX requests_by_host ON requests (host, time);
CREATE INDEX requests_by_fault ON requests (fault, time) WHERE fault <> '';
CREATE INDEX requests_unknown ON requests (time) WHERE status IS NULL;

-- The last change that was given out, which outlives its row.
CREATE TABLE request_changes (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    value INTEGER NOT NULL
);
INSERT INTO request_changes (id, value) VALUES (1, 0);

CREATE TABLE log_tails (
    file   TEXT PRIMARY KEY,
    seq    INTEGER NOT NULL, -- of the last record that was taken in
    bytes  INTEGER NOT NULL  -- behind that record
) WITHOUT ROWID;

CREATE TABLE credential_uses (
    vault_id  TEXT    NOT NULL,
    key       TEXT    NOT NULL,
    last_used INTEGER NOT NULL,
    PRIMARY KEY (vault_id, key)
) WITHOUT ROWID;
