package vault

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"time"

	"agentvault/vault/seal"
)

// States of a held request. One is pending, then approved or denied by a person
// or expired; an approved one is sent, once, and then answered. There is no way
// back, but that an approved one of which nothing left the vault is approved still.
const (
	HeldPending  = "pending"
	HeldApproved = "approved"
	HeldDenied   = "denied"
	HeldExpired  = "expired"
	HeldSent     = "sent"
	HeldAnswered = "answered"

	// HeldUnknown is never stored: it was sent, and whoever sent it has gone
	// without saying what came of it.
	HeldUnknown = "unknown"
)

// Times and limits of held requests.
const (
	heldLife  = 10 * time.Minute // of a question, of a decision and of an answer
	heldAlive = 20 * time.Second // of a sender that says nothing
	heldKept  = 7 * 24 * time.Hour

	// HeldBeat is how often a sender must say that it is still there.
	HeldBeat = 5 * time.Second

	// MaxHeldBody bounds, in bytes, the body of a request that is held, and of an
	// answer that is kept.
	MaxHeldBody = 1 << 20

	maxHeld      = 20 // pending, of one vault
	maxHeldOfOne = 5  // of them, of one session or agent
	maxHeldNote  = 2_000
	boxRequest   = "request"
	boxAnswer    = "answer"
	fieldHeld    = "held " // field of seal.Context: which box, and the id follow
	purposeHeld  = "held request"
)

// A Held is a request that is held until a person decides whether it is sent.
type Held struct {
	ID      string
	VaultID string
	Number  int64 // counts per vault, from 1
	Status  string
	Digest  [32]byte // of all that the decision is about, keyed by the vault

	AskerKind string // KindSession or KindAgent
	AskerID   string
	AskerName string // the label or the name then
	Service   string
	Method    string
	Target    string // scheme://authority
	Path      string // escaped, without the query
	Upgrade   string // protocol to switch to, in lower case; "" for none

	CreatedAt time.Time
	Until     time.Time // when the state is over: the same request is a new question then
	DecidedAt time.Time // zero: not yet
	DecidedBy string    // email
	Note      string    // for who asked

	Request    string    // id of the exchange that sent it
	SentAt     time.Time // zero: not yet
	BeatAt     time.Time // when its sender was there last; zero: it has gone
	AnsweredAt time.Time // zero: not yet
	Kept       bool      // the answer is kept
}

// StatusAt is the status at a time.
func (h *Held) StatusAt(now time.Time) string {
	switch {
	case (h.Status == HeldPending || h.Status == HeldApproved) && !now.Before(h.Until):
		return HeldExpired
	case h.Status == HeldSent && now.Sub(h.BeatAt) > heldAlive:
		return HeldUnknown
	}
	return h.Status
}

// HeldContent is what a held request says.
type HeldContent struct {
	Query    string      `json:"query"` // as it was sent, without "?"
	HasQuery bool        `json:"has_query"`
	Header   []HeldField `json:"header"` // those that the decision is about, in order
	Body     []byte      `json:"body"`

	// Carries is how the service declares what credentials go with it. It is not
	// stored.
	Carries string `json:"-"`
}

// A HeldField is a line of a header.
type HeldField struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Hidden int    `json:"hidden,omitempty"` // bytes of a value that is not shown: it is a credential of the agent's own
}

// URL is where the request goes.
func (h *Held) URL(c HeldContent) string {
	u := h.Target + h.Path
	if c.HasQuery {
		u += "?" + c.Query
	}
	return u
}

// A HeldAnswer is an answer that is kept, as the agent got it.
type HeldAnswer struct {
	Status  int                 `json:"status"`
	Header  map[string][]string `json:"header"`
	Trailer map[string][]string `json:"trailer,omitempty"`
	Body    []byte              `json:"body"`
}

// digestHeld binds a decision: to the vault and who asked, the service and what of it
// goes with the request, the method, the URL byte for byte, the chosen header fields
// and the whole body. The key keeps whoever reads the store from trying bodies.
func digestHeld(key seal.Key, h Held, c HeldContent) [32]byte {
	sum := sha256.New()
	field := func(s string) { writeCounted(sum, s) }
	for _, s := range []string{h.VaultID, h.AskerKind, h.AskerID, h.Service, c.Carries, h.Method, h.Upgrade, h.URL(c)} {
		field(s)
	}
	field(fmt.Sprint(len(c.Header)))
	for _, f := range c.Header {
		field(f.Name)
		field(f.Value)
	}
	writeCounted(sum, string(c.Body))
	return key.ForVault(h.VaultID).MAC(purposeHeld, hex.EncodeToString(sum.Sum(nil)))
}

// writeCounted writes a string behind its length, so that no two lists of strings
// are written alike.
func writeCounted(w hash.Hash, s string) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(s)))
	w.Write(n[:])
	w.Write([]byte(s))
}

func (h *Held) sealContext(what string) seal.Context {
	return seal.Context{Vault: h.VaultID, Field: fieldHeld + what + " " + h.ID, Version: 1}
}

// sealHeld puts what is said into a box.
func sealHeld(tx Tx, key seal.Key, h Held, what string, said any) error {
	plain, err := json.Marshal(said)
	if err != nil {
		return err
	}
	p := seal.NewPlaintext(plain)
	defer p.Clear()
	box, err := key.ForVault(h.VaultID).Seal(h.sealContext(what), p)
	if err != nil {
		return err
	}
	return tx.PutHeldBox(h.ID, what, box)
}

// openHeld reads what is in a box, or returns ErrNotFound.
func openHeld(tx Tx, key seal.Key, h Held, what string, into any) error {
	box, err := tx.HeldBox(h.ID, what)
	if err != nil {
		return err
	}
	p, err := key.ForVault(h.VaultID).Open(h.sealContext(what), box)
	if err != nil {
		return err
	}
	defer p.Clear()
	return json.Unmarshal(p.Bytes(), into)
}
