-- +goose Up
-- How far the audit log has been taken in: behind which record. It says too
-- which record was seen last, so that a log that was cut at its end is noticed.

DROP TABLE log_tails;
CREATE TABLE log_tail (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    segment INTEGER NOT NULL, -- number of the segment
    bytes   INTEGER NOT NULL, -- in it, behind the record
    seq     INTEGER NOT NULL, -- of the record
    mac     TEXT    NOT NULL  -- of the record, hex
);
