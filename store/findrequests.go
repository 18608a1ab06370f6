package store

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"agentvault/vault"
)

func (t *tx) LastChange() (n int64, err error) {
	return n, t.one(`SELECT change FROM request_log`, nil, &n)
}

// A sieve lets through what a query means, first by what requests have in
// common.
type sieve struct {
	q                       vault.RequestQuery
	bySession               bool // nobody is called q.Agent
	since, until            int64
	beforeTime              int64
	wholePages              bool // no page is gone on with
	vaults, targets, faults map[string]bool
}

func (t *tx) sieve(q vault.RequestQuery) (*sieve, error) {
	s := &sieve{q: q, since: math.MinInt64, until: math.MaxInt64, beforeTime: math.MaxInt64, vaults: set(q.VaultIDs), targets: set(q.Targets), faults: set(q.Faults)}
	if !q.Since.IsZero() {
		s.since = ms(q.Since)
	}
	if !q.Until.IsZero() {
		s.until = ms(q.Until)
	}
	if s.wholePages = q.Follow || q.BeforeTime.IsZero(); !s.wholePages {
		s.beforeTime = ms(q.BeforeTime)
	}
	if q.Agent == "" {
		return s, nil
	}
	s.bySession = true
	err := t.eachBlock("", newestFirst, nil, func(b *block) error {
		if !mayHave(b.classes, q.Agent) {
			return nil
		}
		classes, err := unpackClasses(nil, b.classes)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(classes, func(c class) bool { return c.agent == q.Agent }) {
			s.bySession = false
			return errEnough
		}
		return nil
	})
	return s, err
}

// set is nil for nil, which is every value.
func set(values []string) map[string]bool {
	if values == nil {
		return nil
	}
	s := make(map[string]bool, len(values))
	for _, v := range values {
		s[v] = true
	}
	return s
}

func (s *sieve) class(c *class) bool {
	who := c.agent
	if s.bySession {
		who = c.session
	}
	return (s.q.Agent == "" || who == s.q.Agent) &&
		(s.vaults == nil || s.vaults[c.vaultID]) &&
		(s.targets == nil || s.targets[c.target]) &&
		(s.faults == nil || c.fault != "" && s.faults[c.fault]) &&
		(s.q.Host == "" || c.host == s.q.Host) &&
		(s.q.Service == "" || c.service == s.q.Service) &&
		(s.q.From == 0 && s.q.To == 0 || c.status != unended && c.status >= s.q.From && c.status <= s.q.To) &&
		(!s.q.Unknown || c.status == unended)
}

// none reports whether a block can be passed over for the texts that it has not.
func (s *sieve) none(classes []byte) bool {
	return s.q.Host != "" && !mayHave(classes, s.q.Host) || s.q.Service != "" && !mayHave(classes, s.q.Service) || s.q.Agent != "" && !mayHave(classes, s.q.Agent) ||
		s.q.VaultIDs != nil && !mayHave(classes, s.q.VaultIDs...) || s.q.Targets != nil && !mayHave(classes, s.q.Targets...) ||
		s.q.Faults != nil && !mayHave(classes, s.q.Faults...)
}

func (s *sieve) entry(e *entry) bool {
	switch {
	case e.time < s.since || e.time >= s.until:
		return false
	case s.q.Follow:
		return e.change > s.q.AfterChange
	}
	return s.wholePages || e.time < s.beforeTime || e.time == s.beforeTime && e.row < s.q.BeforeRow
}

// where leaves out blocks that hold nothing of what the query means.
func (s *sieve) where() *where {
	w := new(where)
	w.and("newest >= ? AND oldest < ? AND oldest <= ?", s.since, s.until, s.beforeTime)
	if s.q.Unknown {
		w.and("open IS NOT NULL")
	}
	if s.q.Follow {
		w.and("last > ?", s.q.AfterChange)
	}
	return w
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// eachBlock calls f with blocks, without their entries, until it returns an
// error. It returns that, unless it is errEnough.
func (t *tx) eachBlock(where, order string, args []any, f func(*block) error) error {
	rows, err := t.sql.QueryContext(t.ctx, `SELECT last, first, newest, classes FROM request_blocks`+where+order, args...)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var b block
		if err := rows.Scan(&b.last, &b.first, &b.newest, &b.classes); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		err := f(&b)
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return damaged(b.last, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// sift calls f with all that a query means, block by block, and ends before the
// first block that is not wanted.
func (t *tx) sift(s *sieve, order string, wanted func(*block) bool, f func(*class, *entry) error) error {
	read, err := t.sql.PrepareContext(t.ctx, `SELECT entries FROM request_blocks WHERE last = ?`)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer read.Close()
	w := s.where()
	var classes []class
	var meant []bool
	return t.eachBlock(w.String(), order, w.args, func(b *block) (err error) {
		if !wanted(b) {
			return errEnough
		}
		if s.none(b.classes) {
			return nil
		}
		if classes, err = unpackClasses(classes[:0], b.classes); err != nil {
			return err
		}
		meant = meant[:0]
		for i := range classes {
			meant = append(meant, s.class(&classes[i]))
		}
		if !slices.Contains(meant, true) {
			return nil
		}
		if err := read.QueryRowContext(t.ctx, b.last).Scan(&b.entries); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		return eachEntry(b.entries, len(classes), func(e *entry) error {
			if !meant[e.class] || !s.entry(e) {
				return nil
			}
			return f(&classes[e.class], e)
		})
	})
}

// newestFirst is the order in which blocks are read where any would do.
const newestFirst = " ORDER BY newest DESC"

func every(*block) bool { return true }

// ListRequests reads blocks until none that is left has anything for the page.
func (t *tx) ListRequests(q vault.RequestQuery) ([]vault.Request, error) {
	s, err := t.sieve(q)
	if err != nil {
		return nil, err
	}
	order, compare := newestFirst, func(a, b vault.Request) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.Row, a.Row))
	}
	beyond := func(b *block, last *vault.Request) bool { return b.newest < ms(last.Time) }
	if q.Follow {
		order, compare = " ORDER BY first", func(a, b vault.Request) int { return cmp.Compare(a.Change, b.Change) }
		beyond = func(b *block, last *vault.Request) bool { return b.first > last.Change }
	}
	page := []vault.Request{}
	cut := func() {
		slices.SortFunc(page, compare)
		page = page[:min(len(page), q.Limit)]
	}
	err = t.sift(s, order, func(b *block) bool {
		if len(page) < q.Limit {
			return true
		}
		cut()
		return !beyond(b, &page[q.Limit-1])
	}, func(c *class, e *entry) error {
		r, err := e.request(c)
		page = append(page, r)
		return err
	})
	cut()
	return page, err
}

// Bounds of aggregates.
const (
	most      = 20      // names of agents or methods of one
	mostHosts = 100_000 // told apart; those that were refused last
)

func (t *tx) RefusedHosts(q vault.RequestQuery) ([]vault.RefusedHost, error) {
	// A stream that was cut when its service went has the fault too, but not the
	// status.
	q.Faults, q.From, q.To, q.Unknown = []string{"forbidden"}, 403, 403, false
	s, err := t.sieve(q)
	if err != nil {
		return nil, err
	}
	type key struct{ vaultID, target string }
	hosts := make(map[key]*vault.RefusedHost)
	err = t.sift(s, newestFirst, every, func(c *class, e *entry) error {
		h := hosts[key{c.vaultID, c.target}]
		if h == nil {
			if len(hosts) == mostHosts {
				return nil
			}
			h = &vault.RefusedHost{VaultID: c.vaultID, Target: c.target}
			hosts[key{c.vaultID, c.target}] = h
		}
		h.Vault = max(h.Vault, c.vault)
		h.Count++
		h.LastAt = latest(h.LastAt, e.time)
		h.Agents, h.Methods = include(h.Agents, c.agent), include(h.Methods, c.method)
		return nil
	})
	all := make([]vault.RefusedHost, 0, len(hosts))
	for _, h := range hosts {
		all = append(all, *h)
	}
	slices.SortFunc(all, func(a, b vault.RefusedHost) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), b.LastAt.Compare(a.LastAt), strings.Compare(a.Target, b.Target), strings.Compare(a.VaultID, b.VaultID))
	})
	return all[:min(len(all), q.Limit)], err
}

// RequestShapes keeps those that came last, where there are more than asked for.
func (t *tx) RequestShapes(q vault.RequestQuery, f func(vault.RequestShape) error) error {
	s, err := t.sieve(q)
	if err != nil {
		return err
	}
	type where struct{ target, method string }
	shapes := make(map[where]map[string]*vault.RequestShape)
	distinct := 0
	err = t.sift(s, newestFirst, every, func(c *class, e *entry) error {
		paths := shapes[where{c.target, c.method}]
		if paths == nil {
			paths = make(map[string]*vault.RequestShape)
			shapes[where{c.target, c.method}] = paths
		}
		r := paths[string(e.path)]
		if r == nil {
			if distinct == q.Limit {
				return nil
			}
			distinct++
			r = &vault.RequestShape{Target: c.target, Method: c.method, Path: string(e.path)}
			paths[r.Path] = r
		}
		r.Count++
		r.LastAt = latest(r.LastAt, e.time)
		r.Agents = include(r.Agents, c.agent)
		return nil
	})
	if err != nil {
		return err
	}
	for _, at := range slices.SortedFunc(maps.Keys(shapes), func(a, b where) int {
		return cmp.Or(strings.Compare(a.target, b.target), strings.Compare(a.method, b.method))
	}) {
		for _, path := range slices.Sorted(maps.Keys(shapes[at])) {
			if err := f(*shapes[at][path]); err != nil {
				return err
			}
		}
	}
	return nil
}

func latest(t time.Time, millis int64) time.Time {
	if !t.IsZero() && ms(t) >= millis {
		return t
	}
	return time.UnixMilli(millis).UTC()
}

// include adds a text to a sorted set of those that come first, unless it is
// empty.
func include(l []string, s string) []string {
	at, there := slices.BinarySearch(l, s)
	if s == "" || there || at == most {
		return l
	}
	l = slices.Insert(l, at, s)
	return l[:min(len(l), most)]
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

// ServiceUses reads entries only of blocks that may hold a later use than the
// one found.
func (t *tx) ServiceUses(vaultID string) (map[string]time.Time, error) {
	read, err := t.sql.PrepareContext(t.ctx, `SELECT entries FROM request_blocks WHERE last = ?`)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer read.Close()
	uses := make(map[string]time.Time)
	var classes []class
	return uses, t.eachBlock("", newestFirst, nil, func(b *block) (err error) {
		if !mayHave(b.classes, vaultID) {
			return nil
		}
		if classes, err = unpackClasses(classes[:0], b.classes); err != nil {
			return err
		}
		used := func(c *class) bool { return c.vaultID == vaultID && c.service != "" && c.fault == "" }
		if !slices.ContainsFunc(classes, func(c class) bool { return used(&c) && before(uses[c.service], b.newest) }) {
			return nil
		}
		if err := read.QueryRowContext(t.ctx, b.last).Scan(&b.entries); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		return eachEntry(b.entries, len(classes), func(e *entry) error {
			if c := &classes[e.class]; used(c) {
				uses[c.service] = latest(uses[c.service], e.time)
			}
			return nil
		})
	})
}

func before(t time.Time, millis int64) bool { return t.IsZero() || ms(t) < millis }
