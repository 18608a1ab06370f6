-- +goose Up
-- Requests that are held until a person has decided. What they and their answers
-- say is sealed, stands by itself, and is forgotten before the row is.

ALTER TABLE vaults ADD COLUMN last_held INTEGER NOT NULL DEFAULT 0;

CREATE TABLE held_requests (
    id          TEXT PRIMARY KEY,
    vault_id    TEXT    NOT NULL REFERENCES vaults (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    status      TEXT    NOT NULL,
    digest      BLOB    NOT NULL, -- keyed: it confirms no guess
    asker_kind  TEXT    NOT NULL,
    asker_id    TEXT    NOT NULL,
    asker_name  TEXT    NOT NULL,
    service     TEXT    NOT NULL,
    method      TEXT    NOT NULL,
    target      TEXT    NOT NULL,
    path        TEXT    NOT NULL,
    upgrade     TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    until       INTEGER NOT NULL,
    decided_at  INTEGER NOT NULL,
    decided_by  TEXT    NOT NULL,
    note        TEXT    NOT NULL,
    request     TEXT    NOT NULL, -- id of the request that was sent
    sent_at     INTEGER NOT NULL,
    beat_at     INTEGER NOT NULL,
    answered_at INTEGER NOT NULL,
    kept        INTEGER NOT NULL, -- 1: the answer is there
    UNIQUE (vault_id, number)
);
CREATE INDEX held_requests_by_digest ON held_requests (vault_id, digest, number);
CREATE INDEX held_requests_pending ON held_requests (vault_id) WHERE status = 'pending';
CREATE INDEX held_requests_by_until ON held_requests (until);

CREATE TABLE held_boxes (
    held_id TEXT NOT NULL REFERENCES held_requests (id) ON DELETE CASCADE,
    what    TEXT NOT NULL, -- request or answer
    box     BLOB NOT NULL,
    PRIMARY KEY (held_id, what)
);
