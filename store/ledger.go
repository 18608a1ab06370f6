package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"agentvault/vault"
)

// ledgerBatch is how many entries that are over are put away at once.
const ledgerBatch = 1000

// Reserve enters a request's charges into their accounts: all of them, or none.
// It returns the index of the first that would go beyond what its account may
// hold, and what is left there; -1 when they were entered. They are on disk then,
// and no other process has counted without them.
func (db *DB) Reserve(ctx context.Context, request string, now time.Time, charges []vault.Charge) (refused int, left int64, err error) {
	_, err = db.write(ctx, func(t *tx) error {
		refused = -1
		for i, c := range charges {
			if c.Amount < 0 || c.Most < 0 || c.Most >= vault.MaxSpent {
				return fmt.Errorf("store: a charge of %d of %d", c.Amount, c.Most)
			}
			if left, err = t.room(now, c); err != nil {
				return err
			}
			if left < c.Amount {
				refused = i
				return nil // what was put away stays so
			}
		}
		for _, c := range charges {
			if err := t.enter(request, now, c); err != nil {
				return err
			}
		}
		return nil
	})
	return refused, left, err
}

// room is how much a charge's account can still take.
func (t *tx) room(now time.Time, c vault.Charge) (int64, error) {
	id, total, err := t.account(c.Account)
	if errors.Is(err, vault.ErrNotFound) {
		return c.Most, nil
	}
	if err != nil {
		return 0, err
	}
	for n := int64(ledgerBatch); c.Window > 0 && n == ledgerBatch; {
		var sum int64
		if n, sum, err = t.expire(id, now.Add(-c.Window)); err != nil {
			return 0, err
		}
		if total -= sum; total <= c.Most-c.Amount {
			break // the others have time
		}
	}
	return max(0, c.Most-total), nil
}

func (t *tx) enter(request string, now time.Time, c vault.Charge) error {
	var id int64
	since := now
	if c.Window > 0 {
		since = now.Add(vault.ReservedFor)
	}
	if err := t.one(`INSERT INTO ledger_accounts (vault_id, service, name, subject, total, used_at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (vault_id, service, name, subject) DO UPDATE SET total = total + excluded.total, used_at = excluded.used_at RETURNING id`,
		[]any{c.VaultID, c.Service, c.Name, c.Subject, c.Amount, ms(now)}, &id); err != nil {
		return err
	}
	return t.exec(`INSERT INTO ledger_entries (account, request, amount, since) VALUES (?, ?, ?, ?)`, id, request, c.Amount, ms(since))
}

func (t *tx) account(a vault.Account) (id, total int64, err error) {
	err = t.one(`SELECT id, total FROM ledger_accounts WHERE vault_id = ? AND service = ? AND name = ? AND subject = ?`,
		[]any{a.VaultID, a.Service, a.Name, a.Subject}, &id, &total)
	return id, total, err
}

// expire puts away entries that have counted since a time or longer, the oldest
// first, and returns how many and what was in them.
func (t *tx) expire(account int64, since time.Time) (n, sum int64, err error) {
	const oldest = ` FROM ledger_entries WHERE account = ? AND since <= ? ORDER BY since, request LIMIT ?`
	args := []any{account, ms(since), ledgerBatch}
	if err := t.one(`SELECT count(*), coalesce(sum(amount), 0) FROM (SELECT amount`+oldest+`)`, args, &n, &sum); err != nil || n == 0 {
		return n, sum, err
	}
	return n, sum, errors.Join(
		t.exec(`DELETE FROM ledger_entries WHERE account = ? AND request IN (SELECT request`+oldest+`)`, append([]any{account}, args...)...),
		t.exec(`UPDATE ledger_accounts SET total = total - ? WHERE id = ?`, sum, account))
}

// Settle puts what a request came to in the place of what was reserved for it,
// from now on: its charges, each with what it was. With 0 it is as if it had
// never been. An account that goes beyond what it may hold by that does, and
// nothing more is reserved in it until it is below again. What is over
// stays so.
func (db *DB) Settle(ctx context.Context, request string, now time.Time, charges []vault.Charge) error {
	_, err := db.write(ctx, func(t *tx) error {
		for _, c := range charges {
			if err := t.settle(request, now, c); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func (t *tx) settle(request string, now time.Time, c vault.Charge) error {
	if c.Amount < 0 {
		return fmt.Errorf("store: a charge of %d", c.Amount)
	}
	var id, total, reserved int64
	err := t.one(`SELECT a.id, a.total, e.amount FROM ledger_accounts a JOIN ledger_entries e ON e.account = a.id AND e.request = ?
		WHERE a.vault_id = ? AND a.service = ? AND a.name = ? AND a.subject = ?`,
		[]any{request, c.VaultID, c.Service, c.Name, c.Subject}, &id, &total, &reserved)
	if errors.Is(err, vault.ErrNotFound) { // perhaps with its service
		return nil
	}
	if err != nil {
		return err
	}
	total -= reserved
	amount := min(c.Amount, vault.MaxSpent-total)
	if err := t.exec(`UPDATE ledger_accounts SET total = ?, used_at = ? WHERE id = ?`, total+amount, ms(now), id); err != nil {
		return err
	}
	if amount == 0 || c.Window == 0 { // what is there for good stands in the total
		return t.exec(`DELETE FROM ledger_entries WHERE account = ? AND request = ?`, id, request)
	}
	return t.exec(`INSERT INTO ledger_entries (account, request, amount, since) VALUES (?, ?, ?, ?)
		ON CONFLICT (account, request) DO UPDATE SET amount = excluded.amount, since = excluded.since`, id, request, amount, ms(now))
}

// Spent returns what the accounts of a vault's service hold, of which each counts
// for a window by its name; 0, or none given: for good.
func (t *tx) Spent(vaultID, service string, now time.Time, windows map[string]time.Duration) ([]vault.Spent, error) {
	type row struct {
		id int64
		vault.Spent
	}
	rows, err := list(t, func(r *sql.Rows, s *row) error { return r.Scan(&s.id, &s.Name, &s.Subject, &s.Total) },
		`SELECT id, name, subject, total FROM ledger_accounts WHERE vault_id = ? AND service = ? ORDER BY name, subject`, vaultID, service)
	if err != nil {
		return nil, err
	}
	all := make([]vault.Spent, len(rows))
	for i, s := range rows {
		if window := windows[s.Name]; window > 0 {
			var over int64
			if err := t.one(`SELECT coalesce(sum(amount), 0) FROM ledger_entries WHERE account = ? AND since <= ?`, []any{s.id, ms(now.Add(-window))}, &over); err != nil {
				return nil, err
			}
			s.Total -= over
		}
		s.VaultID, s.Service = vaultID, service
		all[i] = s.Spent
	}
	return all, nil
}

// ForgetSpent closes the accounts of a service.
func (t *tx) ForgetSpent(vaultID, service string) error {
	return t.exec(`DELETE FROM ledger_accounts WHERE vault_id = ? AND service = ?`, vaultID, service)
}
