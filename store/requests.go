package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"agentvault/vault"
)

// Logged returns a channel that gets a signal after each growth of the request
// log by this process. Signals fold into one. The function ends them.
func (db *DB) Logged() (<-chan struct{}, func()) { return db.logged.subscribe() }

// LogTail returns how far the audit log has been taken in, and whether the
// request log has any rows.
func (db *DB) LogTail(ctx context.Context) (tail vault.LogTail, rows bool, err error) {
	err = read(ctx, db.readers, func(t *tx) error {
		if err := t.one(`SELECT EXISTS (SELECT 1 FROM requests)`, nil, &rows); err != nil {
			return err
		}
		tail, err = t.logTail()
		return err
	})
	return tail, rows, err
}

// logTail is the zero one when nothing has been taken in yet.
func (t *tx) logTail() (tail vault.LogTail, err error) {
	err = t.one(`SELECT segment, bytes, seq, mac FROM log_tail`, nil, &tail.Segment, &tail.Offset, &tail.Seq, &tail.MAC)
	if errors.Is(err, vault.ErrNotFound) {
		err = nil
	}
	return tail, err
}

// CountRequests returns how many rows the request log has.
func (db *DB) CountRequests(ctx context.Context) (n int, err error) {
	err = read(ctx, db.browse, func(t *tx) error { return t.one(`SELECT count(*) FROM requests`, nil, &n) })
	return n, err
}

// AppendRequests takes in what a stretch of an audit log says. No decision
// depends on it, so the revision stays, and only Logged signals. A row without
// a status gets its outcome; one that has it stays as it is.
func (db *DB) AppendRequests(ctx context.Context, b vault.RequestBatch) error {
	if _, err := db.write(ctx, func(t *tx) error { return t.appendRequests(b) }); err != nil {
		return err
	}
	db.logged.ring()
	return nil
}

const insertRequest = `INSERT INTO requests (change, id, seq, time, entrance, session, agent, agent_kind, vault_id, vault, service,
		target, host, method, path, credentials, status, fault, bytes_in, bytes_out, duration_micros, scrubbed)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT (id) DO UPDATE SET change = excluded.change, seq = excluded.seq, status = excluded.status, fault = excluded.fault,
		bytes_in = excluded.bytes_in, bytes_out = excluded.bytes_out, duration_micros = excluded.duration_micros, scrubbed = excluded.scrubbed
	WHERE requests.status IS NULL AND excluded.status IS NOT NULL`

func (t *tx) appendRequests(b vault.RequestBatch) error {
	change, err := t.LastChange()
	if err != nil {
		return err
	}
	insert, err := t.sql.PrepareContext(t.ctx, insertRequest)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer insert.Close()
	for _, r := range b.Requests {
		keys := asJSON{slices.Concat([]string{}, r.Credentials)} // [], not null, for none
		change++
		if _, err := insert.ExecContext(t.ctx, change, r.ID, r.Seq, ms(r.Time), r.Entrance, r.SessionID, r.Agent, r.AgentKind, r.VaultID, r.Vault, r.Service,
			r.Target, r.Host, r.Method, r.Path, keys, r.Status, r.Fault, r.BytesIn, r.BytesOut, r.Micros, r.Scrubbed); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	for use, at := range b.Uses {
		if err := t.exec(`INSERT INTO credential_uses (vault_id, key, last_used) VALUES (?, ?, ?)
			ON CONFLICT (vault_id, key) DO UPDATE SET last_used = max(last_used, excluded.last_used)`, use.VaultID, use.Key, ms(at)); err != nil {
			return err
		}
	}
	return errors.Join(
		t.exec(`UPDATE request_changes SET value = ?`, change),
		t.exec(`INSERT INTO log_tail (id, segment, bytes, seq, mac) VALUES (1, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
			segment = excluded.segment, bytes = excluded.bytes, seq = excluded.seq, mac = excluded.mac`,
			b.Tail.Segment, b.Tail.Offset, b.Tail.Seq, b.Tail.MAC),
	)
}

// ForgetRequests deletes rows that began before a time, limit of them at most,
// and returns how many.
func (db *DB) ForgetRequests(ctx context.Context, before time.Time, limit int) (n int64, err error) {
	_, err = db.write(ctx, func(t *tx) error {
		res, err := t.sql.ExecContext(t.ctx, `DELETE FROM requests WHERE n IN (SELECT n FROM requests WHERE time < ? ORDER BY time LIMIT ?)`, ms(before), limit)
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}

// filter is what all queries of the log have in common.
func (t *tx) filter(q vault.RequestQuery) (*where, error) {
	w := new(where)
	if q.Agent != "" {
		column := "agent"
		if err := t.one(`SELECT 1 FROM requests WHERE agent = ? LIMIT 1`, []any{q.Agent}, new(int)); errors.Is(err, vault.ErrNotFound) {
			column = "session"
		} else if err != nil {
			return nil, err
		}
		w.and(column+" = ?", q.Agent)
	}
	w.in("vault_id", q.VaultIDs)
	w.in("target", q.Targets)
	if q.Faults != nil {
		w.and("fault <> ''") // so that the index can be used
		w.in("fault", q.Faults)
	}
	if q.Host != "" {
		w.and("host = ?", q.Host)
	}
	if q.From != 0 || q.To != 0 {
		w.and("status BETWEEN ? AND ?", q.From, q.To)
	}
	if q.Unknown {
		w.and("status IS NULL")
	}
	if !q.Since.IsZero() {
		w.and("time >= ?", ms(q.Since))
	}
	if !q.Until.IsZero() {
		w.and("time < ?", ms(q.Until))
	}
	return w, nil
}

const selectRequests = `SELECT n, change, id, seq, time, entrance, session, agent, agent_kind, vault_id, vault, service, target, host,
	method, path, credentials, status, fault, bytes_in, bytes_out, duration_micros, scrubbed FROM requests`

func scanRequest(rows *sql.Rows, r *vault.Request) error {
	return rows.Scan(&r.Row, &r.Change, &r.ID, &r.Seq, millis{&r.Time}, &r.Entrance, &r.SessionID, &r.Agent, &r.AgentKind, &r.VaultID, &r.Vault, &r.Service, &r.Target, &r.Host,
		&r.Method, &r.Path, asJSON{&r.Credentials}, &r.Status, &r.Fault, &r.BytesIn, &r.BytesOut, &r.Micros, &r.Scrubbed)
}

func (t *tx) ListRequests(q vault.RequestQuery) ([]vault.Request, error) {
	w, err := t.filter(q)
	if err != nil {
		return nil, err
	}
	from, order := "", " ORDER BY time DESC, n DESC"
	switch {
	case q.Follow:
		w.and("change > ?", q.AfterChange)
		// Few rows are newer, and no other index says which.
		from, order = " INDEXED BY requests_by_change", " ORDER BY change"
	case !q.BeforeTime.IsZero():
		w.and("(time, n) < (?, ?)", ms(q.BeforeTime), q.BeforeRow)
	}
	if q.Unknown && !q.Follow {
		from = " INDEXED BY requests_unknown" // likewise
	}
	return list(t, scanRequest, selectRequests+from+w.String()+order+" LIMIT ?", append(w.args, q.Limit)...)
}

func (t *tx) LastChange() (n int64, err error) {
	return n, t.one(`SELECT value FROM request_changes`, nil, &n)
}

// most is how many names of agents or methods an aggregate keeps.
const most = 20

func (t *tx) RefusedHosts(q vault.RequestQuery) ([]vault.RefusedHost, error) {
	w, err := t.filter(q)
	if err != nil {
		return nil, err
	}
	// A stream that was cut when its service went has the fault too, but not the
	// status.
	w.and("fault <> '' AND fault = 'forbidden' AND status = 403")
	return list(t, func(rows *sql.Rows, h *vault.RefusedHost) error {
		return rows.Scan(&h.VaultID, &h.Vault, &h.Target, &h.Count, millis{&h.LastAt}, jsonSet{&h.Agents}, jsonSet{&h.Methods})
	}, `SELECT vault_id, max(vault), target, count(*) AS times, max(time) AS last, json_group_array(DISTINCT agent), json_group_array(DISTINCT method)
		FROM requests`+w.String()+` GROUP BY vault_id, target ORDER BY times DESC, last DESC, target LIMIT ?`, append(w.args, q.Limit)...)
}

func (t *tx) RequestShapes(q vault.RequestQuery, f func(vault.RequestShape) error) error {
	w, err := t.filter(q)
	if err != nil {
		return err
	}
	rows, err := t.sql.QueryContext(t.ctx, `SELECT target, method, path, count(*), max(time), json_group_array(DISTINCT agent)
		FROM requests`+w.String()+` GROUP BY target, method, path LIMIT ?`, append(w.args, q.Limit)...)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var s vault.RequestShape
		if err := rows.Scan(&s.Target, &s.Method, &s.Path, &s.Count, millis{&s.LastAt}, jsonSet{&s.Agents}); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		if err := f(s); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

func (t *tx) CredentialUses(vaultID string) (map[string]time.Time, error) {
	type use struct {
		key string
		at  time.Time
	}
	all, err := list(t, func(rows *sql.Rows, u *use) error { return rows.Scan(&u.key, millis{&u.at}) },
		`SELECT key, last_used FROM credential_uses WHERE vault_id = ?`, vaultID)
	uses := make(map[string]time.Time, len(all))
	for _, u := range all {
		uses[u.key] = u.at
	}
	return uses, err
}

// jsonSet is an aggregate of texts: those that are not empty, sorted, and no
// more than most.
type jsonSet struct{ l *[]string }

func (j jsonSet) Scan(v any) error {
	if err := (asJSON{j.l}).Scan(v); err != nil {
		return err
	}
	set := slices.DeleteFunc(*j.l, func(s string) bool { return s == "" })
	slices.Sort(set)
	*j.l = set[:min(len(set), most)]
	return nil
}
