package audit_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"agentvault/broker/audit"
)

// segmented is a log of four segments, closed, with what is in them.
func segmented(t *testing.T) (*kit, map[string][]byte, audit.KnownRecord) {
	t.Helper()
	k := newKit(t, audit.Options{SegmentSize: 700})
	for len(k.files()) < 4 {
		k.append("r")
	}
	k.append("r")
	r := k.verify()
	if r.Bad != nil || r.Segments != 4 {
		t.Fatalf("%+v %v", r, r.Bad)
	}
	if err := k.log.Close(); err != nil {
		t.Fatal(err)
	}
	return k, k.all(), audit.KnownRecord{Head: audit.Head{Seq: r.LastSeq, MAC: r.LastMAC}, By: "the store", MayBeLost: true}
}

// Any bit that is not as it was written is found, and the record named that it
// stands in.
func TestVerifyFindsEveryBit(t *testing.T) {
	k, was, head := segmented(t)
	for _, name := range k.files() {
		raw := was[name]
		for at := range raw {
			line := bytes.Count(raw[:at], []byte("\n")) + 1
			bad := bytes.Clone(raw)
			bad[at] ^= 1 << rand.IntN(8) // the others are the fuzz target's
			k.write(name, bad)
			r := k.verify(head)
			if r.Bad == nil {
				t.Fatalf("%s byte %d: %q for %q was not found", name, at, bad[at], raw[at])
			}
			if r.Bad.Segment != name || r.Bad.Line != line {
				t.Fatalf("%s byte %d (line %d), %q for %q: found at %v", name, at, line, bad[at], raw[at], r.Bad)
			}
		}
		k.write(name, raw)
	}
}

// lines are those of a segment, each with its end.
func lines(raw []byte) [][]byte {
	all := bytes.SplitAfter(raw, []byte("\n"))
	return all[:len(all)-1]
}

func TestVerifyNamesTheFirstBadRecord(t *testing.T) {
	k, was, head := segmented(t)
	names := k.files()
	seqOf := func(segment, line int) uint64 { // line from 0
		n := line + 1
		for _, name := range names[:segment] {
			n += len(lines(was[name]))
		}
		return uint64(n)
	}
	check := func(what string, segment, line int, problem string) {
		t.Helper()
		r := k.verify(head)
		if r.Bad == nil {
			t.Fatalf("%s: not found", what)
		}
		offset := 0
		if all := lines(k.read(names[segment])); line <= len(all) {
			for _, l := range all[:line] {
				offset += len(l)
			}
		}
		if r.Bad.Segment != names[segment] || r.Bad.Line != line+1 || r.Bad.Problem != problem || r.Bad.Seq != seqOf(segment, line) || r.Bad.Offset != int64(offset) {
			t.Errorf("%s: %v; want %s line %d, byte %d, record %d: %s", what, r.Bad, names[segment], line+1, offset, seqOf(segment, line), problem)
		}
		k.mend(was)
	}
	for s, name := range names {
		all := lines(was[name])
		join := func(parts ...[][]byte) []byte {
			var b []byte
			for _, p := range parts {
				b = append(b, bytes.Join(p, nil)...)
			}
			return b
		}
		for i := range all {
			last := i == len(all)-1
			k.write(name, join(all[:i], all[i+1:]))
			switch {
			case !last:
				check("a line removed", s, i, audit.Missing)
			case s < len(names)-1: // the next one's header says so
				check("the last line removed", s, i, audit.Cut)
				k.write(name, join(all[:i-1]))
				check("the last lines removed", s, i-1, audit.Cut)
			default: // only the store knows
				if r := k.verify(); r.Bad != nil {
					t.Errorf("a chain without its last record is whole: %v", r.Bad)
				}
				check("the last line of all removed", s, i, audit.Cut)
			}
			if !last {
				k.write(name, join(all[:i], all[i+1:i+2], all[i:i+1], all[i+2:]))
				check("two lines in each other's place", s, i, audit.Moved)
				k.write(name, join(all[:i+1], all[i:]))
				check("a line twice", s, i+1, audit.Moved)
			}
			changed := bytes.Replace(all[i], []byte(`"time":"2026`), []byte(`"time":"2027`), 1)
			k.write(name, join(all[:i], [][]byte{changed}, all[i+1:]))
			check("a year changed", s, i, audit.Changed)
		}
		for cut := range was[name] {
			if cut%11 != 0 {
				continue
			}
			k.write(name, was[name][:cut])
			if r := k.verify(head); r.Bad == nil {
				t.Errorf("%s cut at %d: not found", name, cut)
			}
		}
		k.mend(was)
		if s < len(names)-1 {
			if err := os.Remove(filepath.Join(k.dir, name)); err != nil {
				t.Fatal(err)
			}
			if r := k.verify(head); r.Bad == nil || r.Bad.Problem != audit.NoSegment || r.Bad.Segment != name || r.Bad.Seq != seqOf(s, 0) {
				t.Errorf("without %s: %v", name, r.Bad)
			}
			k.mend(was)
			k.write(names[s], was[names[s+1]])
			k.write(names[s+1], was[names[s]])
			if r := k.verify(head); r.Bad == nil {
				t.Errorf("%s and the next in each other's place: not found", name)
			}
			k.mend(was)
		}
	}
	if err := os.Remove(k.path); err != nil {
		t.Fatal(err)
	}
	if r := k.verify(head); r.Bad == nil || r.Bad.Problem != audit.Cut || r.Bad.Segment != names[2] {
		t.Errorf("without the newest: %v", r.Bad)
	}
	k.mend(was)
	r, err := audit.Verify(t.Context(), audit.VerifyOptions{Path: k.path, Key: make([]byte, 32)})
	if err != nil || r.Bad == nil || r.Records != 0 {
		t.Errorf("with another key: %+v %v", r, err)
	}
	anew := head
	anew.Seq, anew.MAC = 5, head.MAC
	if r := k.verify(anew); r.Bad == nil || r.Bad.Seq != 5 || r.Bad.Problem != audit.Changed {
		t.Errorf("a log that was written anew: %v", r.Bad)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := audit.Verify(ended, audit.VerifyOptions{Path: k.path, Key: key}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A running server goes on writing, and a log may be verified meanwhile.
func TestVerifyWhileItGrows(t *testing.T) {
	k := newKit(t, audit.Options{SegmentSize: 5000, SegmentAge: time.Hour, Retention: 2 * time.Hour})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3000 {
			if err := k.log.Append(rec("r")); err != nil {
				t.Error(err)
			}
		}
	}()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		if r := k.verify(); r.Bad != nil {
			t.Fatal(r.Bad)
		}
	}
}

// Whatever stands in the files: what is not as it was written is found, and
// nothing that is.
func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "audit.log")
	full := filepath.Join(dir, "audit.0000000001.log")
	l, err := audit.Open(audit.Options{Path: path, Key: key, SegmentSize: 600, Now: func() time.Time { return epoch }})
	if err != nil {
		f.Fatal(err)
	}
	for range 4 {
		if err := l.Append(rec("r")); err != nil {
			f.Fatal(err)
		}
	}
	l.Close()
	first, err1 := os.ReadFile(full)
	newest, err2 := os.ReadFile(path)
	if err := errors.Join(err1, err2); err != nil {
		f.Fatal(err)
	}
	whole, err := audit.Verify(context.Background(), audit.VerifyOptions{Path: path, Key: key})
	if err != nil || whole.Bad != nil {
		f.Fatal(whole, err)
	}
	head := audit.KnownRecord{Head: audit.Head{Seq: whole.LastSeq, MAC: whole.LastMAC}, By: "the store"}
	f.Add(first, newest)
	f.Add(newest, first)
	f.Add(first[:len(first)-1], newest)
	f.Add(first, newest[:len(newest)-40])
	f.Add([]byte(nil), newest)
	f.Add(first, append(bytes.Clone(newest), `{"seq":7`...))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if err := errors.Join(os.WriteFile(full, a, 0o600), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
		r, err := audit.Verify(t.Context(), audit.VerifyOptions{Path: path, Key: key, Known: []audit.KnownRecord{head}})
		if err != nil {
			t.Fatal(err)
		}
		rest, grown := bytes.CutPrefix(b, newest)
		same := bytes.Equal(a, first) && grown && int64(len(rest)) == r.Torn
		if (r.Bad == nil) != same {
			t.Errorf("bad %v, and the files are the same: %v", r.Bad, same)
		}
	})
}

func TestExport(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	k := newKit(t, audit.Options{SegmentSize: 700})
	k.append("a", "b", "c")
	other := rec("d")
	other.VaultID, other.Vault, other.Time = "v-2", "other", epoch.Add(time.Hour)
	if err := k.log.Append(other); err != nil {
		t.Fatal(err)
	}
	export := func(o audit.ExportOptions) (string, []byte) {
		t.Helper()
		var b bytes.Buffer
		o.Verify, o.Sign, o.Now = audit.VerifyOptions{Path: k.path, Key: key}, private, k.clock.Now
		checkpoint, r, err := audit.Export(t.Context(), &b, o)
		if err != nil || r.Bad != nil {
			t.Fatal(r.Bad, err)
		}
		return b.String(), checkpoint
	}
	all, checkpoint := export(audit.ExportOptions{})
	var want []byte
	for _, name := range k.files() {
		want = append(want, k.read(name)...)
	}
	if all != string(want) {
		t.Errorf("%s\nwant\n%s", all, want)
	}
	for _, tt := range []struct {
		o    audit.ExportOptions
		want int
	}{
		{audit.ExportOptions{Vault: "main"}, 3}, {audit.ExportOptions{Vault: "v-2"}, 1}, {audit.ExportOptions{Vault: "none"}, 0},
		{audit.ExportOptions{Vault: "other", Since: epoch.Add(time.Hour)}, 1}, {audit.ExportOptions{Vault: "other", Until: epoch.Add(time.Hour)}, 0},
	} {
		text, sign := export(tt.o)
		if n := bytes.Count([]byte(text), []byte("\n")); n != tt.want {
			t.Errorf("%+v: %d records, want %d", tt.o, n, tt.want)
		}
		if c, err := audit.VerifyExport(bytes.NewReader([]byte(text)), sign, public); err != nil || c.LastSeq != k.verify().LastSeq || c.Vault != tt.o.Vault {
			t.Errorf("%+v: %+v, %v", tt.o, c, err)
		}
	}

	valid := func(export, checkpoint []byte) error {
		_, err := audit.VerifyExport(bytes.NewReader(export), checkpoint, public)
		return err
	}
	signed := append([]byte(all), checkpoint...)
	if err := errors.Join(valid([]byte(all), checkpoint), valid(signed, nil)); err != nil {
		t.Error(err)
	}
	for at := range signed {
		bad := bytes.Clone(signed)
		bad[at] ^= 1 << rand.IntN(8)
		if valid(bad, nil) == nil {
			t.Fatalf("byte %d: %q for %q was not found", at, bad[at], signed[at])
		}
		if valid(signed[:at], nil) == nil {
			t.Fatalf("cut at byte %d: not found", at)
		}
	}
	rows := lines([]byte(all))
	for what, bad := range map[string][]byte{
		"a line removed": bytes.Join(rows[1:], nil), "swapped": bytes.Join([][]byte{rows[1], rows[0]}, nil), "nothing": nil,
		"a line behind it": append(bytes.Clone(signed), rows[0]...), "two checkpoints": append(bytes.Clone(signed), checkpoint...),
	} {
		if valid(bad, checkpoint) == nil {
			t.Errorf("%s: not found", what)
		}
	}
	if _, err := audit.VerifyExport(bytes.NewReader(signed), nil, make([]byte, 32)); err == nil {
		t.Error("another key's signature was taken")
	}
	if k2, err := audit.ParsePublicKey(audit.SpellPublicKey(public)); err != nil || !bytes.Equal(k2, public) {
		t.Errorf("%v", err)
	}
	for _, s := range []string{"", "x", "AAAA", audit.SpellPublicKey(public) + "\n"} {
		if _, err := audit.ParsePublicKey(s); err == nil {
			t.Errorf("%q is a public key", s)
		}
	}

	// A checkpoint makes a cut at the end visible.
	c, err := audit.ParseCheckpoint(checkpoint, public)
	if err != nil {
		t.Fatal(err)
	}
	known := audit.KnownRecord{Head: c.Head(), By: "a checkpoint"}
	if r := k.verify(known); r.Bad != nil {
		t.Error(r.Bad)
	}
	k.log.Close()
	newest := k.read("audit.log")
	k.write("audit.log", newest[:bytes.LastIndexByte(newest[:len(newest)-1], '\n')+1])
	if r := k.verify(known); r.Bad == nil || r.Bad.Problem != audit.Cut || r.Bad.Seq != c.LastSeq {
		t.Errorf("%v", r.Bad)
	}

	// Nothing is signed of a log that is not whole.
	k.write("audit.0000000001.log", bytes.Replace(k.read("audit.0000000001.log"), []byte("main"), []byte("niam"), 1))
	var b bytes.Buffer
	checkpoint, r, err := audit.Export(t.Context(), &b, audit.ExportOptions{Verify: audit.VerifyOptions{Path: k.path, Key: key}, Sign: private})
	if err != nil || r.Bad == nil || checkpoint != nil || b.Len() != 0 {
		t.Errorf("%s %+v %v", checkpoint, r, err)
	}
}
