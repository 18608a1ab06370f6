-- +goose Up
-- Tokens that were minted with stored credentials, sealed, and which node mints the
-- next one.

CREATE TABLE minted_tokens (
    vault_id   TEXT    NOT NULL REFERENCES vaults (id) ON DELETE CASCADE,
    auth       BLOB    NOT NULL, -- SHA-256 of the service's auth
    serial     INTEGER NOT NULL, -- grows with each token
    versions   TEXT    NOT NULL, -- JSON: of the credentials that it was obtained with, by key
    box        BLOB    NOT NULL, -- empty: none was obtained yet
    minted_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, -- 0: it was not said
    holder     TEXT    NOT NULL, -- who mints the next one; '': nobody
    held_until INTEGER NOT NULL,
    PRIMARY KEY (vault_id, auth)
) WITHOUT ROWID;
