-- +goose Up
-- Times are unix milliseconds, UTC. Digests are SHA-256. Nothing here is a
-- credential or a token in clear.

CREATE TABLE revision (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    value INTEGER NOT NULL
);
INSERT INTO revision (id, value) VALUES (1, 1);

CREATE TABLE keyring (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    kdf         TEXT    NOT NULL,
    salt        BLOB,
    time        INTEGER NOT NULL,
    memory_kib  INTEGER NOT NULL,
    threads     INTEGER NOT NULL,
    wrapped_key BLOB    NOT NULL
);

CREATE TABLE authority (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    certificate BLOB NOT NULL,
    key_box     BLOB NOT NULL
);

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    email         TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    role          TEXT NOT NULL,
    created_at    INTEGER NOT NULL
);

CREATE TABLE logins (
    digest     BLOB PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE vaults (
    id              TEXT PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    unmatched_hosts TEXT NOT NULL,
    created_at      INTEGER NOT NULL
);

CREATE TABLE services (
    vault_id   TEXT    NOT NULL REFERENCES vaults (id) ON DELETE CASCADE,
    position   INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    definition TEXT    NOT NULL, -- JSON, as in the API
    PRIMARY KEY (vault_id, name)
) WITHOUT ROWID;

CREATE TABLE credentials (
    vault_id   TEXT    NOT NULL REFERENCES vaults (id) ON DELETE CASCADE,
    key        TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    box        BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (vault_id, key)
) WITHOUT ROWID;

CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    digest     BLOB NOT NULL UNIQUE,
    vault_id   TEXT NOT NULL REFERENCES vaults (id) ON DELETE CASCADE,
    label      TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE INDEX sessions_by_vault ON sessions (vault_id, created_at);
CREATE INDEX sessions_by_end ON sessions (expires_at);

CREATE TABLE agents (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    digest     BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
);

CREATE TABLE grants (
    agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    vault_id TEXT NOT NULL REFERENCES vaults (id) ON DELETE CASCADE,
    role     TEXT NOT NULL,
    PRIMARY KEY (agent_id, vault_id)
) WITHOUT ROWID;
