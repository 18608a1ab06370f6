package broker

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"agentvault/broker/scrub"
	"agentvault/vault"
)

// Tokens of one auth that are looked for in answers: all that may still be good, and
// the newest, whatever they are, for answers that come late. One that is asked for
// every youngToken fills an hour.
const (
	keptTokens = 8
	mostTokens = 128
)

// A knownToken is a minted token, or what was rotated with it.
type knownToken struct {
	value []byte
	until time.Time // zero: it was not said
}

// knownTokens are the tokens of a vault that must not come back to its agents.
type knownTokens struct {
	mu     sync.Mutex
	values map[vault.MintID][]knownToken // the newest last
	set    *scrub.Set                    // of them
	joined atomic.Pointer[joinedSet]
}

// A joinedSet is what is looked for in answers: the vault's stored values, and the
// minted ones.
type joinedSet struct {
	stored *scrub.Set
	all    *scrub.Set
}

// learn is called before a token is used the first time. Of what was rotated with
// it no View may know yet.
func (k *knownTokens) learn(id vault.MintID, now, until time.Time, values ...[]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.values == nil {
		k.values = make(map[vault.MintID][]knownToken)
	}
	known := k.values[id]
	for _, v := range values {
		if !slices.ContainsFunc(known, func(t knownToken) bool { return string(t.value) == string(v) }) {
			known = append(known, knownToken{slices.Clone(v), until})
		}
	}
	newest := max(0, len(known)-keptTokens)
	kept := slices.DeleteFunc(slices.Clone(known[:newest]), func(t knownToken) bool { return !t.until.IsZero() && now.After(t.until) })
	kept = append(kept, known[newest:]...)
	k.values[id] = kept[max(0, len(kept)-mostTokens):]
	var all [][]byte
	for _, of := range k.values {
		for _, t := range of {
			all = append(all, t.value)
		}
	}
	k.set = scrub.Compile(all)
	k.joined.Store(nil)
}

// with returns what is looked for where stored values are.
func (k *knownTokens) with(stored *scrub.Set) *scrub.Set {
	if k == nil {
		return stored
	}
	if j := k.joined.Load(); j != nil && j.stored == stored {
		return j.all
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	j := &joinedSet{stored, stored.Join(k.set)}
	k.joined.Store(j)
	return j.all
}
