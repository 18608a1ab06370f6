package vault

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"agentvault/policy"
	"agentvault/policy/when"
)

// A Replay is what other services would have decided on recorded requests.
type Replay struct {
	Vault     string
	Requests  int64 // looked at
	Distinct  int   // that policy can tell apart
	Skipped   int64 // requests whose path is not in the log, or that policy was not asked about; and Unsure
	Unsure    int64 // requests of which a condition decides, about what is not in the log
	Flips     []Flip
	Truncated bool // there were more distinct requests, or flips, than are looked at
}

// A Flip is a request that would be decided otherwise.
type Flip struct {
	Method, Target, Path string
	Count                int64
	LastAt               time.Time
	Agents               []string // at most 20
	Before, After        Decided
}

// Decided is what services say of a request.
type Decided struct {
	Allowed bool
	Reason  string // policy.Reason's name
	Service string // "" when none covers it
}

// Bounds of a replay.
const (
	maxShapes = 100_000 // distinct requests
	maxFlips  = 10_000
)

// ReplayPolicy asks the services that a vault has, and those that it might have
// instead, about each request that was recorded since a time, and returns the
// decisions that differ, most frequent first. Nothing is changed.
func (r *Registry) ReplayPolicy(ctx context.Context, c Caller, vaultName string, since time.Time, services []Service) (Replay, error) {
	if err := r.allow(c, actSeeRecord, nil); err != nil {
		return Replay{}, err
	}
	proposed, err := r.checkServices(services)
	if err != nil {
		return Replay{}, err
	}
	proposed = Unexpired(proposed, r.now())
	after, err := compileServices(proposed)
	if err != nil {
		return Replay{}, err
	}
	var out Replay
	err = r.readRecord(ctx, c, actSeeRecord, func(tx Tx) error {
		v, err := r.wholeVault(tx, c, actSeeRecord, vaultName)
		if err != nil {
			return err
		}
		v.Services = Unexpired(v.Services, r.now())
		before, err := compileServices(v.Services)
		if err != nil {
			return &Error{Code: CodeUnavailable, Message: "the vault refuses everything until its services are mended", Err: err}
		}
		q := RequestQuery{VaultIDs: []string{v.ID}, Since: since, Limit: maxShapes + 1}
		out = Replay{Vault: v.Name}
		return tx.RequestShapes(q, func(s RequestShape) error {
			out.compare(s, side{before, v.Services}, side{after, proposed})
			return nil
		})
	})
	if err != nil {
		return Replay{}, err
	}
	slices.SortStableFunc(out.Flips, func(a, b Flip) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), b.LastAt.Compare(a.LastAt), cmp.Compare(a.Target+a.Path, b.Target+b.Path))
	})
	return out, nil
}

// A side is one of the two lists of services.
type side struct {
	set      *policy.Set
	services []Service
}

// decide decides, unless the outcome depends on a condition about what is not in the
// log.
func (s side) decide(q policy.Query) (out Decided, unsure bool) {
	d := s.set.Decide(q)
	out = Decided{Allowed: d.Verdict == policy.Allow, Reason: d.Reason.String()}
	if d.Service >= 0 {
		out.Service = s.services[d.Service].Name
	}
	if d.Verdict == policy.Allow { // a rule before that allows too would come to the same
		return out, false
	}
	return out, slices.ContainsFunc(s.set.Trace(q), func(step policy.Step) bool {
		return step.Finding == policy.Untold || step.Finding == policy.WantsBody
	})
}

func (r *Replay) compare(s RequestShape, before, after side) {
	if r.Distinct == maxShapes {
		r.Truncated = true
		return
	}
	r.Distinct++
	r.Requests += s.Count
	t, err := parseRecorded(s.Target)
	if err != nil || !replayable(s.Path) || policy.Malformed(s.Method, s.Path, "") != "" {
		r.Skipped += s.Count
		return
	}
	q := policy.Query{Scheme: t.Scheme, Host: t.Host, Port: t.Port, Method: s.Method, Path: s.Path}
	q.Input = &when.Input{Method: s.Method, Path: s.Path, Recorded: true}
	was, unsure := before.decide(q)
	would, unsureThen := after.decide(q)
	switch {
	case unsure || unsureThen:
		r.Skipped += s.Count
		r.Unsure += s.Count
	case was.Allowed == would.Allowed:
	case len(r.Flips) == maxFlips:
		r.Truncated = true
	default:
		r.Flips = append(r.Flips, Flip{
			Method: s.Method, Target: s.Target, Path: s.Path, Count: s.Count, LastAt: s.LastAt, Agents: s.Agents,
			Before: was, After: would,
		})
	}
}

// replayable reports whether a recorded path is the one that was sent: the log
// keeps none that held a token, and cuts what is too long.
func replayable(path string) bool {
	return (strings.HasPrefix(path, "/") || path == "*") && !strings.HasSuffix(path, "…") && !strings.ContainsRune(path, '\uFFFD')
}
