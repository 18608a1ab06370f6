package scrub_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"agentvault/broker/scrub"
)

// The truth checked: whatever the value, the spelling, the coding and the reads,
// the spelling is overwritten with as many fillers, and nothing else changes.
func TestEverySpellingIsMasked(t *testing.T) {
	runs := 20_000
	if raceEnabled {
		runs = 1_000 // ten times slower there
	}
	for i := range runs {
		seed := uint64(i)
		r := rand.New(rand.NewPCG(seed, 7))
		value := randomValue(r)
		enc := encodings[i%len(encodings)]
		if enc.text && strings.ToValidUTF8(string(value), "") != string(value) {
			continue
		}
		spelled, front, back := enc.encode(r, value)
		before, after := noise(r), noise(r)
		text := bytes.Join([][]byte{before, spelled, after}, nil)
		want := bytes.Clone(text)
		for j := len(before) + front; j < len(before)+len(spelled)-back; j++ {
			want[j] = '*'
		}
		cod := codings[r.IntN(len(codings))]
		lens := []int{1 + r.IntN(8), 1 + r.IntN(200), 1 + r.IntN(5000)}[r.IntN(3):]

		src, err := scrub.Decode(&pieces{b: cod.encode(text), lens: lens}, scrub.Codings([]string{cod.name}))
		if err != nil {
			t.Fatal(err)
		}
		reader := scrub.Compile([][]byte{[]byte("another-value-of-the-vault"), value}).Reader(src)
		got, err := io.ReadAll(reader)
		if err != nil || !bytes.Equal(got, want) || reader.Places() < 1 {
			t.Fatalf("run %d: %s of %q, coding %q, reads of %v:\n got %q\nwant %q\n%d places, %v", i, enc.name, value, cod.name, lens, got, want, reader.Places(), err)
		}
	}
}

// A scan passes several places at a time: whatever stands before a value, and
// wherever in it there is an escape or a line break, it is found.
func TestFoundAtEveryPlace(t *testing.T) {
	for _, value := range []string{"sk_live_", "sk_live_4", "sk_live_4eC39HqLyjWD", "xoxb-2048-abcdefghijklmnopqrstuvwxyz0123456789ABCDEF"} {
		set := scrub.Compile([][]byte{[]byte(value)})
		masked := func(text string, from, to int) {
			t.Helper()
			got, err := io.ReadAll(set.Reader(strings.NewReader(text)))
			if want := text[:from] + strings.Repeat("*", to-from) + text[to:]; err != nil || string(got) != want {
				t.Errorf("%q:\n got %q\nwant %q, %v", text, got, want, err)
			}
		}
		for before := range 24 {
			pad := strings.Repeat(".", before)
			for at := range value {
				c := value[at]
				for _, escape := range []string{string(c), fmt.Sprintf("%%%02X", c), fmt.Sprintf(`\u%04x`, c), fmt.Sprintf("&#%d;", c)} {
					spelled := value[:at] + escape + value[at+1:]
					masked(pad+spelled+"|", before, before+len(spelled))
					masked("%4a"+pad+spelled+"%4b|", 3+before, 3+before+len(spelled))
					if at > 0 {
						masked(`\`+spelled+pad, 0, 1+len(spelled)) // the first letter is escaped, too
					}
				}
			}
			for _, digits := range []string{hex.EncodeToString([]byte(value)), strings.ToUpper(hex.EncodeToString([]byte(value)))} {
				masked(pad+digits+"|", before, before+len(digits))
			}
			encoded := base64.RawStdEncoding.EncodeToString([]byte(value))[:len(value)*8/6]
			line := strings.Repeat("A", 48+before)
			for at := 1; at < len(encoded); at++ {
				for _, end := range []string{"\n", "\r\n", "\r"} {
					from := len(line)
					if at < 4 {
						from += at + len(end) // what is left of it is found
					}
					text := line + encoded[:at] + end + encoded[at:]
					masked(text+"|", from, len(text))
				}
			}
		}
	}
}

// noise is text around a value, of the kinds that begin escapes.
func noise(r *rand.Rand) []byte {
	b := []byte("| ")
	for range r.IntN(40) {
		b = append(b, [...]string{"{\"a\":", "\\u00", "%4", "&amp", "\n", "\r\n", " ", "<p>", "word", "\x00", "&#3", "漢", "\\\""}[r.IntN(13)]...)
	}
	return append(b, " |"...)
}

// At every split point, in every spelling.
func TestEverySplit(t *testing.T) {
	value := []byte(`sk-live_3f9a77c1"&</+é`)
	set := scrub.Compile([][]byte{value})
	for _, enc := range encodings {
		spelled, front, back := enc.encode(rand.New(rand.NewPCG(1, 2)), value)
		text := append(append([]byte("<"), spelled...), '>')
		want := bytes.Clone(text)
		for j := 1 + front; j < 1+len(spelled)-back; j++ {
			want[j] = '*'
		}
		whole := bytes.Clone(text)
		if n := set.Mask(whole, nil); n < 1 || !bytes.Equal(whole, want) {
			t.Errorf("%s in one piece: %q, want %q, %d places", enc.name, whole, want, n)
		}
		if field, n := set.Field(string(text)); n < 1 || field != string(want) {
			t.Errorf("%s in a header field: %q, want %q, %d places", enc.name, field, want, n)
		}
		for at := 1; at < len(text); at++ {
			got, err := io.ReadAll(set.Reader(io.MultiReader(bytes.NewReader(text[:at]), bytes.NewReader(text[at:]))))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s split at %d: got %q, want %q, %v", enc.name, at, got, want, err)
			}
		}
	}
}

// A value that is part of another, or overlaps it, hides it nowhere, and places
// that touch count once.
func TestUnion(t *testing.T) {
	set := scrub.Compile([][]byte{[]byte("sk-prefix-0001"), []byte("sk-prefix-0001-and-a-tail"), []byte("tail-of-another")})
	for text, want := range map[string]struct {
		text   string
		places int
	}{
		"sk-prefix-0001!":                       {"**************!", 1},
		"sk-prefix-0001-and-a-tail!":            {"*************************!", 1},
		"sk-prefix-0001-and-a-tail-of-another!": {"************************************!", 1},
		"sk-prefix-0001-and-a-tai!":             {"**************-and-a-tai!", 1},
		"sk-prefix-000!":                        {"sk-prefix-000!", 0},
		"sk-prefix-0001 sk-prefix-0001":         {"************** **************", 2},
	} {
		for n := 1; n <= len(text); n++ {
			r := set.Reader(&pieces{b: []byte(text), lens: []int{n}})
			got, err := io.ReadAll(r)
			if err != nil || string(got) != want.text || r.Places() != want.places {
				t.Errorf("%q in pieces of %d: %q, %d places, %v; want %+v", text, n, got, r.Places(), err, want)
			}
		}
		if got, places := set.Field(text); got != want.text || places != want.places {
			t.Errorf("%q in a field: %q, %d; want %+v", text, got, places, want)
		}
	}
}

// firstRead is what comes at once of a text behind which nothing follows yet.
func firstRead(t *testing.T, set *scrub.Set, text string) string {
	t.Helper()
	pr, pw := io.Pipe()
	defer pr.Close() // always nil
	go func() {
		_, _ = pw.Write([]byte(text))
		_ = pw.Close() // always nil
	}()
	buf := make([]byte, 4096)
	n, err := set.Reader(pr).Read(buf)
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// A line is not held back: an event arrives when it is sent.
func TestHoldsNoLineBack(t *testing.T) {
	set := scrub.Compile([][]byte{[]byte("sk-live-3f9a77c1")})
	for _, event := range []string{"data: event\n\n", "{\"a\":\"b\\n\"}\n", "data: sk-live\n\n", "data: c2stbGl2\r\n\r\n", "x\n", `{"done":true}`} {
		if got := firstRead(t, set, event); got != event {
			t.Errorf("%q came as %q", event, got)
		}
	}
}

// What is held back tells nothing of the values: what begins one, in any
// spelling, is held as what does not.
func TestHoldTellsNothing(t *testing.T) {
	value := "sk-live-3f9a77c1e2d4"
	set := scrub.Compile([][]byte{[]byte(value)})
	for _, enc := range encodings {
		spelled, _, _ := enc.encode(rand.New(rand.NewPCG(3, 4)), []byte(value))
		for n := 1; n < len(spelled); n++ {
			right := "| " + string(spelled[:n])
			wrong := []byte(right)
			if c := wrong[len(wrong)-1]; 'a' <= c && c < 'z' || 'A' <= c && c < 'Z' || '0' <= c && c < '9' {
				wrong[len(wrong)-1]++
			}
			r, w := firstRead(t, set, right), firstRead(t, set, string(wrong))
			if len(r) != len(w) {
				t.Fatalf("%s: of %q came %d bytes at once, of %q %d", enc.name, right, len(r), wrong, len(w))
			}
		}
	}
}

func TestNames(t *testing.T) {
	set := scrub.Compile([][]byte{[]byte("sk-live-3f9a77c1")})
	for name, want := range map[string]bool{
		"X-Sk-Live-3f9A77C1": true, "x-sk-live-3f9a77c1-x": true, "X-C2stbgl2zs0zzjlhnzdjmq": true,
		"X-Sk-Live-3f9A77C": false, "Content-Type": false, "X": false,
		"X-736B2D6C6976652D33663961373763 31": false, "X-736b2d6c6976652d3366396137376331": true,
	} {
		if got := set.Name(name); got != want {
			t.Errorf("%s: %t, want %t", name, got, want)
		}
	}
}

func TestEmpty(t *testing.T) {
	for _, set := range []*scrub.Set{nil, {}, scrub.Compile(nil), scrub.Compile([][]byte{[]byte("seven77"), nil})} {
		if got, n := set.Field("seven77 and more"); !set.Empty() || got != "seven77 and more" || n != 0 || set.Name("seven77-and-more") {
			t.Errorf("a set of nothing found something: %q, %d", got, n)
		}
	}
}

func TestFieldsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("needs a build without the race detector, which allocates")
	}
	set := scrub.Compile([][]byte{[]byte("sk-live-3f9a77c1")})
	if n := testing.AllocsPerRun(100, func() { set.Field("application/json; charset=utf-8"); set.Name("X-Content-Type-Options") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("xxsecretsecretxx"), []byte("secretsecret"), 3)
	f.Add([]byte("aaaaaaaaaaaaaaaaaaab"), []byte("aaaaaaab"), 1)
	f.Add([]byte(`%73ecret\u0073ecret&#115;`), []byte("secretsecrets"), 2)
	f.Add([]byte("c2Vj\\ncmV0c2VjcmV0"), []byte("secretsecret"), 5)
	f.Fuzz(func(t *testing.T, text, value []byte, n int) {
		value = bytes.Trim(value, " \t")
		if n < 1 || len(text) > 1<<12 || len(value) > 1<<10 || bytes.Contains(value, []byte("*")) {
			return
		}
		set := scrub.Compile([][]byte{value})
		if set.Empty() {
			return
		}
		got, err := io.ReadAll(set.Reader(&pieces{b: text, lens: []int{n}}))
		if err != nil || len(got) != len(text) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(text), err)
		}
		whole, err := io.ReadAll(set.Reader(bytes.NewReader(text)))
		if err != nil || !bytes.Equal(whole, got) {
			t.Fatalf("in reads of %d: %q; in one: %q, %v", n, got, whole, err)
		}
		if field, _ := set.Field(string(text)); len(text) >= scrub.MinLength && field != string(got) {
			t.Fatalf("as a field: %q; as a body: %q", field, got)
		}
		if bytes.Contains(got, value) {
			t.Fatalf("%q came through in %q", value, got)
		}
		for i := range text {
			if got[i] != text[i] && got[i] != '*' {
				t.Fatalf("byte %d became %q", i, got[i])
			}
		}
	})
}

// Whatever an event holds, it leaves with the read that ends it.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("data: {\"a\": 1}\n\ndata: secret\n\n"), []byte("secretsecret"))
	f.Fuzz(func(t *testing.T, stream, value []byte) {
		set := scrub.Compile([][]byte{value})
		if set.Empty() || len(stream) > 1<<12 || len(value) > 1<<10 || bytes.ContainsFunc(value, unicode.IsControl) {
			return
		}
		events := bytes.SplitAfter(stream, []byte("\n\n"))
		r := set.Reader(&eventSource{events: events})
		buf := make([]byte, 8192)
		for _, e := range events {
			if !bytes.HasSuffix(e, []byte("\n\n")) {
				return
			}
			if n, err := r.Read(buf); err != nil || n != len(e) {
				t.Fatalf("%d bytes of an event of %d, %v", n, len(e), err)
			}
		}
	})
}

// An eventSource brings an event a read.
type eventSource struct{ events [][]byte }

func (s *eventSource) Read(p []byte) (int, error) {
	for len(s.events) > 0 && len(s.events[0]) == 0 {
		s.events = s.events[1:]
	}
	if len(s.events) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.events[0])
	s.events[0] = s.events[0][n:]
	return n, nil
}

// 64 credentials, as they are met: one by one in a vault that holds them all.
func benchmarkSet() *scrub.Set {
	r := rand.New(rand.NewPCG(64, 64))
	values := make([][]byte, 64)
	for i := range values {
		values[i] = append([]byte([...]string{"sk_live_", "ghp_", "xoxb-", ""}[i%4]), make([]byte, 36)...)
		for j := len(values[i]) - 36; j < len(values[i]); j++ {
			values[i][j] = tokenLetters[r.IntN(len(tokenLetters))]
		}
	}
	return scrub.Compile(values)
}

// BenchmarkReader tells MB/s of one core, by kind of text.
func BenchmarkReader(b *testing.B) {
	set := benchmarkSet()
	r := rand.New(rand.NewPCG(1, 1))
	random := make([]byte, 1<<20)
	letters := make([]byte, 1<<20)
	for i := range random {
		random[i], letters[i] = byte(r.Uint32()), tokenLetters[r.IntN(64)]
	}
	object := `{"id":"ch_3MmlLrLkdIwHu7ix0snN0B15","object":"charge","amount":1099,"url":"https:\/\/api.example.com\/v1?a=%20b&c=d","text":"he said \"no\" & left\n"}` + "\n"
	for name, text := range map[string][]byte{
		"random": random, "letters": letters,
		"json":    bytes.Repeat([]byte(object), len(random)/len(object)),
		"prefix":  bytes.Repeat([]byte("sk_live_"), len(random)/8),
		"percent": bytes.Repeat([]byte("%73%6B"), len(random)/6),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			buf := make([]byte, 32<<10)
			for b.Loop() {
				r := set.Reader(bytes.NewReader(text))
				for {
					if _, err := r.Read(buf); err != nil {
						break
					}
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{64, 10_000} { // the most that a vault holds
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			values := make([][]byte, n)
			for i := range values {
				values[i] = fmt.Appendf(nil, "sk_live_%x%x%x", r.Uint64(), r.Uint64(), r.Uint64())
			}
			for b.Loop() {
				scrub.Compile(values)
			}
		})
	}
}

func BenchmarkField(b *testing.B) {
	set := benchmarkSet()
	for b.Loop() {
		set.Field("application/json; charset=utf-8")
	}
}

// What was joined finds what either does, from the beginning on or as it comes
// along, and forgets nothing of the beginning.
func TestJoin(t *testing.T) {
	one, two, three := scrub.Compile([][]byte{[]byte("first-value-1")}), scrub.Compile([][]byte{[]byte("second-value-2")}), scrub.Compile([][]byte{[]byte("third-value-3")})
	both := one.Join(two)
	const text = "first-value-1 second-value-2 third-value-3"
	if got, n := both.Field(text); got != "************* ************** third-value-3" || n != 2 {
		t.Errorf("Field: %q, %d places", got, n)
	}
	for name, want := range map[string]bool{"X-First-Value-1": true, "X-Second-Value-2": true, "X-Third-Value-3": false} {
		if both.Name(name) != want {
			t.Errorf("Name(%s) is %v", name, !want)
		}
	}
	if one.Join(nil) != one || (&scrub.Set{}).Join(one) != one || one.Join(&scrub.Set{}) != one {
		t.Error("joined with nothing it is another Set")
	}
	latest := both
	r := one.Reader(io.MultiReader(strings.NewReader(text+"\n"), strings.NewReader(text+"\n")))
	r.Follow(func() *scrub.Set { return latest })
	buf := make([]byte, 100)
	var got strings.Builder
	for {
		n, err := r.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			break
		}
		latest = three
	}
	want := "************* ************** third-value-3\n************* second-value-2 *************\n"
	if got.String() != want {
		t.Errorf("read %q, want %q", got.String(), want)
	}
}
