package broker

import "agentvault/vault"

// LockMints takes every lock of what mints, and returns what lets go of them.
func (b *Broker) LockMints() (release func()) {
	b.mints.mu.Lock()
	for _, m := range b.mints.by {
		m.mu.Lock()
		m.known.mu.Lock()
	}
	return func() {
		for _, m := range b.mints.by {
			m.known.mu.Unlock()
			m.mu.Unlock()
		}
		b.mints.mu.Unlock()
	}
}

// MintIDs are those of the View.
func (b *Broker) MintIDs() (all []vault.MintID) {
	b.mints.mu.Lock()
	defer b.mints.mu.Unlock()
	for id := range b.mints.by {
		all = append(all, id)
	}
	return all
}
