package seal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"agentvault/vault/seal"
)

const value = "sk_live_do-not-print-me"

var home = seal.Context{Vault: "v1", Credential: "STRIPE_KEY", Field: "value", Version: 3}

func TestRoundTrip(t *testing.T) {
	key := seal.NewKey()
	for _, want := range []string{"", "x", value, strings.Repeat("long", 16<<10), "\x00\xff\n"} {
		box, err := key.Seal(home, seal.NewPlaintext([]byte(want)))
		if err != nil {
			t.Fatalf("Seal(%d bytes): %v", len(want), err)
		}
		got, err := key.Open(home, box)
		if err != nil {
			t.Fatalf("Open(%d bytes): %v", len(want), err)
		}
		if string(got.Bytes()) != want || got.Len() != len(want) {
			t.Errorf("round trip of %d bytes gave %d others", len(want), got.Len())
		}
		if len(want) > 8 && bytes.Contains(box, []byte(want)) {
			t.Errorf("the box holds its value in clear")
		}
	}
}

func TestSealingTwiceGivesDifferentBoxes(t *testing.T) {
	key := seal.NewKey()
	a, errA := key.Seal(home, seal.NewPlaintext([]byte(value)))
	b, errB := key.Seal(home, seal.NewPlaintext([]byte(value)))
	if errA != nil || errB != nil || bytes.Equal(a, b) {
		t.Errorf("two boxes of one value: %v, %v, equal %t; want different ones", errA, errB, bytes.Equal(a, b))
	}
}

func TestABoxOpensOnlyAtHome(t *testing.T) {
	key := seal.NewKey()
	box, err := key.ForVault("v1").Seal(home, seal.NewPlaintext([]byte(value)))
	if err != nil {
		t.Fatal(err)
	}
	// Lengths are part of what is bound: moving a byte between fields is a change.
	shifted := seal.Context{Vault: "v1S", Credential: "TRIPE_KEY", Field: "value", Version: 3}
	for name, open := range map[string]func() (seal.Plaintext, error){
		"another vault":      func() (seal.Plaintext, error) { c := home; c.Vault = "v2"; return key.ForVault("v1").Open(c, box) },
		"another credential": func() (seal.Plaintext, error) { c := home; c.Credential = "X"; return key.ForVault("v1").Open(c, box) },
		"another field":      func() (seal.Plaintext, error) { c := home; c.Field = "x"; return key.ForVault("v1").Open(c, box) },
		"another version":    func() (seal.Plaintext, error) { c := home; c.Version--; return key.ForVault("v1").Open(c, box) },
		"shifted fields":     func() (seal.Plaintext, error) { return key.ForVault("v1").Open(shifted, box) },
		"another vault key":  func() (seal.Plaintext, error) { return key.ForVault("v2").Open(home, box) },
		"the data key":       func() (seal.Plaintext, error) { return key.Open(home, box) },
		"another data key":   func() (seal.Plaintext, error) { return seal.NewKey().ForVault("v1").Open(home, box) },
		"the zero key":       func() (seal.Plaintext, error) { return seal.Key{}.Open(home, box) },
		"no box":             func() (seal.Plaintext, error) { return key.Open(home, nil) },
	} {
		got, err := open()
		var oe *seal.OpenError
		if !errors.As(err, &oe) || got.Len() != 0 {
			t.Errorf("%s: Open gave %d bytes, error %v; want an *OpenError", name, got.Len(), err)
		}
	}
}

func TestEveryBitOfABoxCounts(t *testing.T) {
	key := seal.NewKey()
	box, err := key.Seal(home, seal.NewPlaintext([]byte(value)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range box {
		changed := bytes.Clone(box)
		changed[i] ^= 1 << (i % 8)
		if _, err := key.Open(home, changed); err == nil {
			t.Errorf("a box with byte %d changed still opens", i)
		}
		if _, err := key.Open(home, box[:i]); err == nil {
			t.Errorf("a box cut to %d bytes still opens", i)
		}
	}
}

func TestTheZeroKeySealsNothing(t *testing.T) {
	if box, err := (seal.Key{}).Seal(home, seal.NewPlaintext([]byte(value))); err == nil {
		t.Errorf("the zero key sealed %d bytes", len(box))
	}
	if box, err := (seal.Key{}).ForVault("v1").Seal(home, seal.NewPlaintext(nil)); err == nil {
		t.Errorf("a key of the zero key sealed %d bytes", len(box))
	}
	var refused *seal.OpenError
	box, err := seal.NewKey().Seal(home, seal.NewPlaintext([]byte(value)))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []seal.Opener{{}, (seal.Key{}).Opener()} {
		if p, err := o.Open(home, box); !errors.As(err, &refused) {
			t.Errorf("no key opened %d bytes, %v", p.Len(), err)
		}
	}
	for _, b := range [][]byte{(seal.Key{}).ForAudit(), (seal.Key{}).ForCheckpoints()} {
		if b != nil {
			t.Errorf("the zero key derived %x", b)
		}
	}
}

func TestKeysAreSeparate(t *testing.T) {
	raw := bytes.Repeat([]byte{7}, seal.KeySize)
	key, err := seal.KeyFromBytes(raw)
	if err != nil {
		t.Fatal(err)
	}
	clear(raw) // the key has its own copy
	again, _ := seal.KeyFromBytes(bytes.Repeat([]byte{7}, seal.KeySize))
	if !bytes.Equal(key.ForAudit(), again.ForAudit()) {
		t.Errorf("one key derived two values")
	}
	if !bytes.Equal(key.ForCheckpoints(), again.ForCheckpoints()) || bytes.Equal(key.ForCheckpoints(), key.ForAudit()) {
		t.Errorf("the key of checkpoints is not one of its own")
	}
	if bytes.Equal(key.ForAudit(), key.ForVault("a").ForAudit()) || bytes.Equal(key.ForVault("a").ForAudit(), key.ForVault("b").ForAudit()) {
		t.Errorf("two purposes derived one value")
	}
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := seal.KeyFromBytes(make([]byte, n)); err == nil {
			t.Errorf("KeyFromBytes took %d bytes", n)
		}
	}
}

// R17: whatever prints a value or a key shows "redacted".
func TestNothingPrintsAValue(t *testing.T) {
	p := seal.NewPlaintext([]byte(value))
	key, err := seal.KeyFromBytes([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	type exported struct {
		P *seal.Plaintext
		Q seal.Plaintext
		K seal.Key
		O seal.Opener
	}
	type hidden struct {
		p seal.Plaintext
		k seal.Key
		o seal.Opener
	}
	o := key.Opener()
	var out strings.Builder
	for _, v := range []any{p, &p, key, &key, []seal.Plaintext{p}, map[string]seal.Plaintext{"k": p}, o, &o, exported{&p, p, key, o}, hidden{p, key, o}, &hidden{p, key, o}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%t", "% x", "%08.3v"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		fmt.Fprintln(&out, v)
		if j, err := json.Marshal(v); err == nil {
			out.Write(j)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	}
	fmt.Fprint(&out, p.String(), p.GoString(), p.LogValue(), key.String(), key.GoString(), key.LogValue())
	if text, err := p.MarshalText(); err != nil || string(text) != "redacted" {
		t.Errorf("MarshalText = %q, %v", text, err)
	}
	got := out.String()
	for _, leak := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value), fmt.Sprintf("% x", value),
		strings.Trim(fmt.Sprint([]byte(value)), "[]"), "c2tfbGl2ZV", "0123456789abcdef", "30313233", "48 49 50 51"} {
		if strings.Contains(got, leak) {
			t.Errorf("printing shows %q", leak)
		}
	}
	if !strings.Contains(got, "redacted") {
		t.Errorf("printing never says redacted")
	}
}

func TestClearReachesEveryCopy(t *testing.T) {
	raw := []byte(value)
	p := seal.NewPlaintext(raw)
	q := p
	p.Clear()
	if bytes.Contains(raw, []byte("sk")) || bytes.Contains(q.Bytes(), []byte("sk")) {
		t.Errorf("a value survived Clear")
	}
	seal.Plaintext{}.Clear() // of nothing: no panic
}

// What unlocked is cleared when it is not needed any more, and the key that it
// gave goes on.
func TestClearedMastersUnlockNothing(t *testing.T) {
	password, file := []byte("a master password"), bytes.Repeat([]byte{7}, seal.KeySize)
	for _, m := range []seal.Master{seal.Password(password), seal.KeyFile(file)} {
		ring, key, err := seal.NewKeyring(m)
		if err != nil {
			t.Fatal(err)
		}
		box, err := key.Seal(home, seal.NewPlaintext([]byte(value)))
		if err != nil {
			t.Fatal(err)
		}
		again, err := ring.Unlock(m)
		if err != nil {
			t.Fatal(err)
		}
		m.Clear()
		if _, err := ring.Unlock(m); !errors.Is(err, seal.ErrWrongMaster) {
			t.Errorf("%s: a cleared master: %v", ring.KDF, err)
		}
		if p, err := again.Open(home, box); err != nil || string(p.Bytes()) != value {
			t.Errorf("%s: %v", ring.KDF, err)
		}
		again.Clear()
		if _, err := again.Open(home, box); err == nil {
			t.Errorf("%s: a cleared key opens", ring.KDF)
		}
	}
	if !bytes.Equal(password, make([]byte, len(password))) || !bytes.Equal(file, make([]byte, len(file))) {
		t.Error("what was given is not overwritten")
	}
	seal.Key{}.Clear()
}

func TestOpenErrorSaysNothingOfTheValue(t *testing.T) {
	key := seal.NewKey()
	box, _ := key.Seal(home, seal.NewPlaintext([]byte(value)))
	_, err := seal.NewKey().Open(home, box)
	const want = `open credential "STRIPE_KEY" version 3: sealed under another key or context, or changed`
	if err == nil || err.Error() != want {
		t.Errorf("Open with another key: %v, want %s", err, want)
	}
}

func TestAllocations(t *testing.T) {
	key := seal.NewKey()
	box, _ := key.Seal(home, seal.NewPlaintext([]byte(value)))
	// Each exchange opens a box: context, value and its handle.
	const budget = 4
	opener := key.Opener()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := opener.Open(home, box); err != nil {
			t.Error(err)
		}
	}); n > budget {
		t.Errorf("Open allocates %v times, budget %d", n, budget)
	}
}

func FuzzOpen(f *testing.F) {
	key, _ := seal.KeyFromBytes(bytes.Repeat([]byte{1}, seal.KeySize))
	box, _ := key.Seal(home, seal.NewPlaintext([]byte(value)))
	f.Add(box, "v1", int64(3))
	f.Add(box[:10], "v1", int64(3))
	f.Add([]byte{}, "", int64(0))
	f.Fuzz(func(t *testing.T, b []byte, vault string, version int64) {
		c := home
		c.Vault, c.Version = vault, version
		p, err := key.Open(c, b)
		// Nobody without the key makes a box that opens elsewhere, or to
		// something else. (Another run of this target has the key.)
		if err == nil && (c != home || string(p.Bytes()) != value) {
			t.Errorf("Open(%+v, %x) gave %d bytes", c, b, p.Len())
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	key := seal.NewKey()
	box, _ := key.Seal(home, seal.NewPlaintext([]byte(value)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := key.Open(home, box); err != nil {
			b.Fatal(err)
		}
	}
}

func Example() {
	master := seal.KeyFile(bytes.Repeat([]byte{42}, seal.KeySize)) // usually from LoadOrCreateKeyFile
	keyring, _, err := seal.NewKeyring(master)
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := keyring.Unlock(master)
	if err != nil {
		fmt.Println(err)
		return
	}
	c := seal.Context{Vault: "a-vaults-id", Credential: "STRIPE_KEY", Field: "value", Version: 1}
	box, err := key.ForVault(c.Vault).Seal(c, seal.NewPlaintext([]byte("sk_live_1")))
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := key.ForVault(c.Vault).Open(c, box)
	fmt.Println(p, p.Len(), err)
	c.Version = 2
	_, err = key.ForVault(c.Vault).Open(c, box)
	fmt.Println(err)
	// Output:
	// redacted 9 <nil>
	// open credential "STRIPE_KEY" version 2: sealed under another key or context, or changed
}
