package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pressly/goose/v3"

	"agentvault/vault"
)

// carryRequests is the migration that puts the rows of the earlier request log
// into blocks. A row keeps its place and its change.
func carryRequests() *goose.Migration {
	return goose.NewGoMigration(7, &goose.GoFunc{RunTx: func(ctx context.Context, sqlTx *sql.Tx) error {
		t := &tx{ctx: ctx, sql: sqlTx}
		if err := t.carryRequests(); err != nil {
			return err
		}
		return t.exec(`DROP TABLE requests`)
	}}, nil)
}

func (t *tx) carryRequests() error {
	rows, err := t.sql.QueryContext(t.ctx, `SELECT n, change, id, seq, time, entrance, session, agent, agent_kind, vault_id, vault, service, target, host,
		method, path, credentials, status, fault, bytes_in, bytes_out, duration_micros, scrubbed FROM requests ORDER BY change`)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer rows.Close()
	var ended []vault.Request
	for rows.Next() {
		var r vault.Request
		if err := rows.Scan(&r.Row, &r.Change, &r.ID, &r.Seq, millis{&r.Time}, &r.Entrance, &r.SessionID, &r.Agent, &r.AgentKind, &r.VaultID, &r.Vault, &r.Service,
			&r.Target, &r.Host, &r.Method, &r.Path, asJSON{&r.Credentials}, &r.Status, &r.Fault, &r.BytesIn, &r.BytesOut, &r.Micros, &r.Scrubbed); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		if r.Status == nil {
			if err := t.putBlock([]vault.Request{r}); err != nil {
				return err
			}
			continue
		}
		if ended = append(ended, r); len(ended) == blockMost {
			if err := t.putBlock(ended); err != nil {
				return err
			}
			ended = ended[:0]
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if len(ended) == 0 {
		return nil
	}
	return t.putBlock(ended)
}
