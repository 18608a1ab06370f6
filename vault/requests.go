package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentvault/policy"
)

// A RequestFilter says which requests are meant. The zero filter means all.
type RequestFilter struct {
	Vault   string // name
	Agent   string // an agent's name or a session's label; or the id of either where nobody is called so
	Host    string // host, or host:port
	Service string // a service's name
	Status  string // a code ("404"), a class ("4xx"), "refused", why it was ("forbidden"), or "unknown"
	Since   time.Time
	Until   time.Time

	Before string // the Next of a page; what is older
	After  string // the Follow of a page; for FollowRequests only
	Limit  int    // rows of a page, 1 to MaxRequests; 0 means DefaultRequests
}

// Bounds of a page of requests.
const (
	DefaultRequests = 100
	MaxRequests     = 1000
)

// Values of a RequestFilter's Status besides codes and classes.
const (
	StatusRefused = "refused" // by the vault; it did not go out
	StatusUnknown = "unknown" // begun, and no end recorded (yet)
)

// A RequestPage is a part of the request log.
type RequestPage struct {
	Requests []Request
	Next     string // goes on with what is older; "" at the end
	Follow   string // goes on with what begins or ends after this page was read
}

// Requests returns what was recorded, newest first.
func (r *Registry) Requests(ctx context.Context, c Caller, f RequestFilter) (RequestPage, error) {
	if err := r.allow(c, actSeeRecord, nil); err != nil {
		return RequestPage{}, err
	}
	q, err := f.query()
	if err != nil {
		return RequestPage{}, err
	}
	if f.Before != "" {
		if q.BeforeTime, q.BeforeRow, err = parseBefore(f.Before); err != nil {
			return RequestPage{}, err
		}
	}
	var p RequestPage
	err = r.readRecord(ctx, c, actSeeRecord, func(tx Tx) error {
		if err := r.within(tx, c, f.Vault, &q); err != nil {
			return err
		}
		last, err := tx.LastChange()
		if err != nil {
			return err
		}
		p.Follow = strconv.FormatInt(last, 10)
		q.Limit++ // one more than asked for says that there is more
		p.Requests, err = tx.ListRequests(q)
		return err
	})
	if err != nil {
		return RequestPage{}, err
	}
	if n := q.Limit - 1; len(p.Requests) > n {
		p.Requests = p.Requests[:n]
		p.Next = fmt.Sprintf("%d-%d", p.Requests[n-1].Time.UnixMilli(), p.Requests[n-1].Row)
	}
	return p, nil
}

// FollowRequests returns what has begun or ended since the page that f.After is
// of, in that order, and waits for it when there is nothing yet. After wait, or
// when stop is closed, it returns an empty page. A request comes up twice when
// it was still open the first time.
func (r *Registry) FollowRequests(ctx context.Context, c Caller, f RequestFilter, wait time.Duration, stop <-chan struct{}) (RequestPage, error) {
	if err := r.allow(c, actSeeRecord, nil); err != nil {
		return RequestPage{}, err
	}
	q, err := f.query()
	if err != nil {
		return RequestPage{}, err
	}
	q.Follow = true
	if q.AfterChange, err = strconv.ParseInt(f.After, 10, 64); err != nil || q.AfterChange < 0 {
		return RequestPage{}, badRequest("after: it is none of the cursors that were given out")
	}
	leave, ok := r.waits.enter(c.id())
	if !ok {
		return RequestPage{}, &Error{Code: CodeRateLimited, Message: "too many calls wait for the request log; end one", Wait: 5 * time.Second}
	}
	defer leave()
	logged, unsubscribe := r.store.Logged() // before the first look, so that nothing falls in between
	defer unsubscribe()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		p, err := r.logged(ctx, c, f.Vault, &q)
		if err != nil || len(p.Requests) > 0 {
			return p, err
		}
		select {
		case <-logged:
		case <-timer.C:
			return p, nil
		case <-stop:
			return p, nil
		case <-ctx.Done():
			return RequestPage{}, ctx.Err()
		}
	}
}

// logged looks once, and moves the query behind what it has looked at: what
// does not match is not looked at again.
func (r *Registry) logged(ctx context.Context, c Caller, vaultName string, q *RequestQuery) (p RequestPage, err error) {
	err = r.store.Browse(ctx, func(tx Tx) error {
		if err := r.within(tx, c, vaultName, q); err != nil {
			return err
		}
		last, err := tx.LastChange()
		if err != nil {
			return err
		}
		p.Requests, err = tx.ListRequests(*q)
		if len(p.Requests) == q.Limit {
			last = p.Requests[q.Limit-1].Change
		}
		q.AfterChange, p.Follow = last, strconv.FormatInt(last, 10)
		return err
	})
	if err != nil {
		return RequestPage{}, err
	}
	return p, nil
}

// recordTime is how long a question to the request log waits for what was
// recorded before it.
const recordTime = 2 * time.Second

// readRecord is readAs for questions to the request log: what happened before a
// question is in its answer.
func (r *Registry) readRecord(ctx context.Context, c Caller, a *action, f func(Tx) error) error {
	if err := a.admits(c); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	r.recorded(wait)
	return r.store.Browse(ctx, f)
}

// maxHosts bounds the list of refused hosts.
const maxHosts = 1000

// RefusedHosts returns hosts that agents asked for and that no service names,
// most frequent first. The filter's Status does not matter here.
func (r *Registry) RefusedHosts(ctx context.Context, c Caller, f RequestFilter) ([]RefusedHost, error) {
	if err := r.allow(c, actSeeRecord, nil); err != nil {
		return nil, err
	}
	f.Status = ""
	q, err := f.query()
	if err != nil {
		return nil, err
	}
	if f.Limit == 0 {
		q.Limit = maxHosts
	}
	var hosts []RefusedHost
	err = r.readRecord(ctx, c, actSeeRecord, func(tx Tx) error {
		if err := r.within(tx, c, f.Vault, &q); err != nil {
			return err
		}
		if hosts, err = tx.RefusedHosts(q); err != nil {
			return err
		}
		return nameHosts(tx, hosts, r.now())
	})
	if err != nil {
		return nil, err
	}
	return hosts, nil
}

// nameHosts spells the hosts, and says which of them a service names by now.
func nameHosts(tx Tx, hosts []RefusedHost, at time.Time) error {
	type current struct {
		name string
		set  *policy.Set
	}
	vaults := make(map[string]current)
	for i := range hosts {
		h := &hosts[i]
		h.Host = h.Target
		t, err := parseRecorded(h.Target)
		if err != nil {
			continue
		}
		h.Host = t.Authority()
		now, ok := vaults[h.VaultID]
		if !ok {
			v, err := tx.VaultByID(h.VaultID)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			now.name = v.Name
			if now.set, err = compileServices(Unexpired(v.Services, at)); err != nil {
				now.set = nil // a vault that refuses everything covers nothing
			}
			vaults[h.VaultID] = now
		}
		h.Covered = now.set.Covers(t.Scheme, t.Host, t.Port)
		if now.name != "" { // it may have been renamed since
			h.Vault = now.name
		}
	}
	return nil
}

// CredentialUses returns when each credential of a vault was last put on a
// request, by key. Those that never were are not in it.
func (r *Registry) CredentialUses(ctx context.Context, c Caller, vaultName string) (map[string]time.Time, error) {
	var uses map[string]time.Time
	err := r.readRecord(ctx, c, actReadVault, func(tx Tx) error {
		v, err := r.wholeVault(tx, c, actReadVault, vaultName)
		if err != nil {
			return err
		}
		if uses, err = tx.CredentialUses(v.ID); err != nil {
			return err
		}
		for key, at := range uses {
			if cr, ok := v.Credentials[key]; !ok || at.Before(cr.CreatedAt) { // another one's of that name
				delete(uses, key)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return uses, nil
}

// within narrows a query to a vault. Only who sees the record of the whole
// instance may name none.
func (r *Registry) within(tx Tx, c Caller, vaultName string, q *RequestQuery) error {
	if vaultName == "" {
		if r.allow(c, actSeeInstance, nil) != nil {
			return refuse(CodeVaultRequired, "name the vault; only an owner sees all of them")
		}
		return nil
	}
	v, err := r.inVault(tx, c, actSeeRecord, vaultName)
	q.VaultIDs = []string{v.ID}
	return err
}

// query checks a filter, but for its vault and cursors.
func (f RequestFilter) query() (RequestQuery, error) {
	q := RequestQuery{Agent: f.Agent, Service: f.Service, Since: f.Since, Until: f.Until, Limit: f.Limit}
	if q.Limit == 0 {
		q.Limit = DefaultRequests
	}
	if q.Limit < 1 || q.Limit > MaxRequests {
		return q, badRequest("limit: it is from 1 to %d", MaxRequests)
	}
	if f.Host != "" {
		t, err := policy.ParseTarget("https", f.Host)
		if err != nil {
			return q, badRequest("host: %v", err)
		}
		if q.Host = t.Host; strings.HasSuffix(f.Host, ":"+strconv.Itoa(int(t.Port))) {
			q.Targets = []string{"https://" + t.Address(), "http://" + t.Address(), "tunnel://" + t.Address()}
		}
	}
	return q, q.status(f.Status)
}

func (q *RequestQuery) status(s string) error {
	n, err := strconv.Atoi(strings.TrimSuffix(s, "xx"))
	class := strings.HasSuffix(s, "xx")
	switch {
	case s == "":
	case s == StatusRefused:
		q.Faults = refusalCodes
	case slices.Contains(refusalCodes, s):
		q.Faults = []string{s}
	case s == StatusUnknown:
		q.Unknown = true
	case err == nil && class && len(s) == 3 && n >= 1 && n <= 9:
		q.From, q.To = n*100, n*100+99
	case err == nil && !class && len(s) == 3 && n >= 100 && n <= 999:
		q.From, q.To = n, n
	default:
		return badRequest("status: %q is none of a code such as 404, a class such as 4xx, refused, why it was, such as forbidden, and unknown", shorten(s))
	}
	return nil
}

func parseBefore(cursor string) (at time.Time, row int64, err error) {
	ms, n, _ := strings.Cut(cursor, "-")
	m, err1 := strconv.ParseInt(ms, 10, 64)
	row, err2 := strconv.ParseInt(n, 10, 64)
	if err1 != nil || err2 != nil || m < 0 || row < 0 {
		return time.Time{}, 0, badRequest("cursor: it is none of those that were given out")
	}
	return time.UnixMilli(m).UTC(), row, nil
}

// parseRecorded reads a target as it is recorded. It fails for blind tunnels.
func parseRecorded(target string) (policy.Target, error) {
	scheme, authority, _ := strings.Cut(target, "://")
	return policy.ParseTarget(scheme, authority)
}
