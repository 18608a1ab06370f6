package broker

import (
	"slices"
	"sync"
	"sync/atomic"

	"agentvault/broker/scrub"
	"agentvault/vault"
)

// keptTokens is how many tokens of one auth are looked for in answers: the current
// one, and those before it, for answers that come late.
const keptTokens = 8

// knownTokens are the tokens of a vault that must not come back to its agents.
type knownTokens struct {
	mu     sync.Mutex
	values map[vault.MintID][][]byte // the newest last
	set    *scrub.Set                // of them
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
func (k *knownTokens) learn(id vault.MintID, values ...[]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.values == nil {
		k.values = make(map[vault.MintID][][]byte)
	}
	for _, v := range values {
		if !slices.ContainsFunc(k.values[id], func(known []byte) bool { return string(known) == string(v) }) {
			k.values[id] = append(k.values[id], slices.Clone(v))
		}
	}
	if n := len(k.values[id]); n > keptTokens {
		k.values[id] = slices.Clone(k.values[id][n-keptTokens:])
	}
	var all [][]byte
	for _, of := range k.values {
		all = append(all, of...)
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
