-- +goose Up
-- Lists that are only ever read whole (grants of an invite, services of a
-- grant) are JSON. A time of 0 is none.

CREATE TABLE new_logins (
    digest           BLOB PRIMARY KEY,
    id               TEXT NOT NULL UNIQUE,
    user_id          TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client           TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    authenticated_at INTEGER NOT NULL,
    seen_at          INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO new_logins
    SELECT digest, lower(hex(randomblob(13))), user_id, '', created_at, created_at, created_at, expires_at FROM logins;
DROP TABLE logins;
ALTER TABLE new_logins RENAME TO logins;
CREATE INDEX logins_by_user ON logins (user_id, created_at);

CREATE TABLE members (
    user_id  TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    vault_id TEXT NOT NULL REFERENCES vaults (id) ON DELETE CASCADE,
    role     TEXT NOT NULL,
    PRIMARY KEY (user_id, vault_id)
) WITHOUT ROWID;

ALTER TABLE vaults ADD COLUMN last_proposal INTEGER NOT NULL DEFAULT 0;

-- The last version that a key ever had. It outlives the credential, so that a
-- box of a deleted one never fits again.
CREATE TABLE credential_counters (
    vault_id TEXT    NOT NULL REFERENCES vaults (id) ON DELETE CASCADE,
    key      TEXT    NOT NULL,
    last     INTEGER NOT NULL,
    PRIMARY KEY (vault_id, key)
) WITHOUT ROWID;
INSERT INTO credential_counters SELECT vault_id, key, version FROM credentials;

CREATE TABLE credential_versions (
    vault_id   TEXT    NOT NULL REFERENCES vaults (id) ON DELETE CASCADE,
    key        TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    box        BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER NOT NULL,
    PRIMARY KEY (vault_id, key, version)
) WITHOUT ROWID;

ALTER TABLE sessions ADD COLUMN lease_digest BLOB; -- NULL: no lease
CREATE UNIQUE INDEX sessions_by_lease ON sessions (lease_digest) WHERE lease_digest IS NOT NULL;

ALTER TABLE agents ADD COLUMN token_ttl INTEGER NOT NULL DEFAULT 0; -- seconds; 0: no end
ALTER TABLE agents ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE agents ADD COLUMN revoked_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE grants ADD COLUMN services TEXT; -- JSON; NULL: all

CREATE TABLE invites (
    id          TEXT PRIMARY KEY,
    kind        TEXT    NOT NULL,
    digest      BLOB    NOT NULL UNIQUE,
    name        TEXT    NOT NULL,
    role        TEXT    NOT NULL,
    vaults      TEXT    NOT NULL, -- JSON: grants by vault ID
    token_ttl   INTEGER NOT NULL, -- seconds
    created_by  TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    redeemed_at INTEGER NOT NULL,
    revoked_at  INTEGER NOT NULL
);
CREATE INDEX invites_by_kind ON invites (kind, created_at);

CREATE TABLE proposals (
    id           TEXT PRIMARY KEY,
    vault_id     TEXT    NOT NULL REFERENCES vaults (id) ON DELETE CASCADE,
    number       INTEGER NOT NULL,
    status       TEXT    NOT NULL,
    services     TEXT    NOT NULL, -- JSON, as in the API
    credentials  TEXT    NOT NULL, -- JSON, as in the API; no values
    message      TEXT    NOT NULL,
    user_message TEXT    NOT NULL,
    asker_kind   TEXT    NOT NULL,
    asker_name   TEXT    NOT NULL,
    link_digest  BLOB    NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    reviewed_at  INTEGER NOT NULL,
    reviewed_by  TEXT    NOT NULL,
    review_note  TEXT    NOT NULL,
    UNIQUE (vault_id, number)
);
CREATE INDEX proposals_pending ON proposals (expires_at) WHERE status = 'pending';

CREATE TABLE proposal_askers (
    proposal_id TEXT    NOT NULL REFERENCES proposals (id) ON DELETE CASCADE,
    asker_id    TEXT    NOT NULL,
    position    INTEGER NOT NULL,
    PRIMARY KEY (proposal_id, asker_id)
) WITHOUT ROWID;
CREATE INDEX proposals_by_asker ON proposal_askers (asker_id);

CREATE TABLE proposal_values (
    proposal_id TEXT NOT NULL REFERENCES proposals (id) ON DELETE CASCADE,
    key         TEXT NOT NULL,
    box         BLOB NOT NULL,
    PRIMARY KEY (proposal_id, key)
) WITHOUT ROWID;

CREATE TABLE events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    time       INTEGER NOT NULL,
    actor_kind TEXT    NOT NULL,
    actor_id   TEXT    NOT NULL,
    actor_name TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    vault_id   TEXT    NOT NULL,
    vault      TEXT    NOT NULL,
    object     TEXT    NOT NULL
);
CREATE INDEX events_by_vault ON events (vault_id, id);
