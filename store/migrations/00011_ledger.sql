-- +goose Up
-- What was used up of budgets and of numbers of uses. An account's total is what
-- is in its entries and, of uses, what was in entries that are settled. An entry
-- counts from a time on for as long as a window is.

CREATE TABLE ledger_accounts (
    id       INTEGER PRIMARY KEY,
    vault_id TEXT    NOT NULL REFERENCES vaults (id) ON DELETE CASCADE,
    service  TEXT    NOT NULL,
    name     TEXT    NOT NULL, -- of the limit
    subject  TEXT    NOT NULL, -- an agent or a session; '': all together
    total    INTEGER NOT NULL,
    used_at  INTEGER NOT NULL,
    UNIQUE (vault_id, service, name, subject)
);

CREATE TABLE ledger_entries (
    account INTEGER NOT NULL REFERENCES ledger_accounts (id) ON DELETE CASCADE,
    request TEXT    NOT NULL,
    amount  INTEGER NOT NULL,
    since   INTEGER NOT NULL,
    PRIMARY KEY (account, request)
) WITHOUT ROWID;
CREATE INDEX ledger_entries_by_time ON ledger_entries (account, since, amount);
