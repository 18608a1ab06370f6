-- +goose Up
-- The token that an agent had before, while it is good beside the new one.
ALTER TABLE agents ADD COLUMN old_digest BLOB;
ALTER TABLE agents ADD COLUMN old_expires_at INTEGER NOT NULL DEFAULT 0; -- as it was; 0: never
ALTER TABLE agents ADD COLUMN old_ends_at INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX agents_by_old_digest ON agents (old_digest);
