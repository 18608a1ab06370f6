-- +goose Up
-- Grants of one service that end: JSON; NULL: none.
ALTER TABLE grants ADD COLUMN ends TEXT;
