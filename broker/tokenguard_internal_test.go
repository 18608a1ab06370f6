package broker

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"agentvault/vault"
)

// cutText gives out a text in pieces of the lengths that cuts says, over and
// over; 0 is 1.
type cutText struct {
	text string
	cuts []byte
	at   int
}

func (p *cutText) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, io.EOF
	}
	n := len(p.text)
	if len(p.cuts) > 0 {
		n = max(1, int(p.cuts[p.at%len(p.cuts)]))
		p.at++
	}
	n = copy(b, p.text[:min(n, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

// firstToken is where a token stands in s, the slow way, or -1.
func firstToken(s string) int {
	for i := range len(s) {
		for _, prefix := range tokenPrefixes {
			if end := i + len(prefix) + tokenTail; end <= len(s) {
				if _, ok := vault.CheckToken(s[i:end]); ok {
					return i
				}
			}
		}
	}
	return -1
}

// holdGuard holds what the guard makes of a text against what it must make.
func holdGuard(t *testing.T, text string, cuts []byte, size int) {
	t.Helper()
	var g tokenGuard
	src := &cutText{text: text, cuts: cuts}
	var out []byte
	var err error
	buf := make([]byte, size)
	for err == nil {
		var n int
		n, err = g.read(src, buf)
		out = append(out, buf[:n]...)
		if at := len(text) - len(src.text); err == nil && len(g.ready) == 0 {
			held := text[len(out):at]
			if !strings.HasSuffix(text[:at], string(g.match.held())) || len(held) != len(g.match.held()) || len(held) >= tokenTail {
				t.Fatalf("%q in pieces of %v: %q was held back of %q", text, cuts, held, text[:at])
			}
		}
	}
	at := firstToken(text)
	switch {
	case at < 0 && (!errors.Is(err, io.EOF) || string(out) != text):
		t.Fatalf("%q in pieces of %v became %q, %v", text, cuts, out, err)
	case at >= 0 && !errors.Is(err, errToken):
		t.Fatalf("%q in pieces of %v passed: %q, %v", text, cuts, out, err)
	case at >= 0 && (len(out) > at+len("av_login_") || !strings.HasPrefix(text, string(out))):
		t.Fatalf("%q in pieces of %v: of its token went out %q", text, cuts, out)
	}
}

func TestTokenGuard(t *testing.T) {
	token, agent := vault.NewToken(vault.PrefixSession), vault.NewToken(vault.PrefixAgent)
	wrong := token[:len(token)-1] + string(base62Other(token[len(token)-1]))
	for _, text := range []string{
		"", "a", "av", "av_", "av_sess_", "banana", "no token here", token, agent, token[:len(token)-1], wrong, wrong + agent,
		"x" + token + "y", token + token, "av_" + token, "av_sess_" + token, "av_lea" + token, "av_sess_aaav" + token[2:],
		token[:40] + token, wrong[:30] + "_" + agent, strings.ToUpper(token), strings.Repeat("av_sess_", 50) + agent + "!", token[1:],
		"a document that says av_sess_… and av_agt_ABC", vault.NewToken(vault.PrefixLogin), vault.NewToken(vault.PrefixLease),
		vault.NewToken(vault.PrefixInvite), vault.NewToken(vault.PrefixJoin), vault.NewToken(vault.PrefixApprove),
	} {
		for cut := range 70 {
			for _, size := range []int{1, 2, 7, minGuarded - 1, minGuarded, 512} {
				holdGuard(t, text, []byte{byte(cut)}, size)
				holdGuard(t, text, []byte{byte(cut), 1, 255}, size)
			}
		}
	}
}

func base62Other(c byte) byte {
	if c == 'x' {
		return 'y'
	}
	return 'x'
}

// Random text of the parts that tokens are made of, in random pieces.
func TestTokenGuardOnRandomText(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 4))
	t.Logf("seed %d", seed)
	for range 20_000 {
		var b strings.Builder
		for range 1 + r.IntN(6) {
			token := vault.NewToken(tokenPrefixes[r.IntN(len(tokenPrefixes))])
			switch r.IntN(6) {
			case 0:
				b.WriteString(token)
			case 1:
				b.WriteString(token[:r.IntN(len(token))])
			case 2:
				b.WriteString(token[r.IntN(len(token)):])
			case 3:
				b.WriteString("av_ag a av_"[:r.IntN(12)])
			case 4:
				b.WriteString(tokenPrefixes[r.IntN(len(tokenPrefixes))])
			case 5:
				b.WriteString(strings.Repeat("a", r.IntN(50)))
			}
		}
		holdGuard(t, b.String(), []byte{byte(r.IntN(70)), byte(r.IntN(9))}, 1+r.IntN(300))
	}
}

// FuzzTokenGuard: a body passes byte for byte, or it holds a token and nothing
// behind the token's prefix passes.
func FuzzTokenGuard(f *testing.F) {
	token := vault.NewToken(vault.PrefixSession)
	f.Add("hello", []byte{1}, uint16(10))
	f.Add("x"+token, []byte{3, 60}, uint16(200))
	f.Add("av_sess_av_agt_"+token, []byte{8, 7, 49}, uint16(1))
	f.Fuzz(func(t *testing.T, text string, cuts []byte, size uint16) {
		holdGuard(t, text, cuts, 1+int(size))
	})
}

func TestTokenGuardPassesErrorsOn(t *testing.T) {
	var g tokenGuard
	token := vault.NewToken(vault.PrefixSession)
	src := io.MultiReader(strings.NewReader(token[:50]), iotest.ErrReader(io.ErrUnexpectedEOF))
	buf := make([]byte, 512)
	n, err := g.read(src, buf)
	if string(buf[:n]) != token[:8] || err != nil {
		t.Errorf("%q, %v", buf[:n], err)
	}
	if n, err := g.read(src, buf); n != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v: of a body that broke off, what could become a token must not go out", buf[:n], err)
	}
}

func TestTokenGuardAllocatesNothing(t *testing.T) {
	text := bytes.Repeat([]byte(`{"available":"a_v","av_sess_":7},`), 1000)
	src, buf := bytes.NewReader(text), make([]byte, 32<<10)
	var g tokenGuard
	if n := testing.AllocsPerRun(20, func() {
		src.Reset(text)
		g = tokenGuard{}
		for {
			if _, err := g.read(src, buf); err != nil {
				return
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTokenGuard(b *testing.B) {
	for name, unit := range map[string]string{
		"json":   `{"id":"ch_3Nq","amount":1999,"currency":"usd","available_on":1700000000,"customer":null},` + "\n",
		"zeros":  strings.Repeat("\x00", 97),
		"random": randomText(4099),
		"words":  "a man and a cat have a plan, and an average day awaits; ",
		"start":  "av_",
		"prefix": "av_sess_",
		"tails":  "av_sess_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM",
	} {
		b.Run(name, func(b *testing.B) {
			text := bytes.Repeat([]byte(unit), (1<<20)/len(unit))
			src, buf := bytes.NewReader(text), make([]byte, 32<<10)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				src.Reset(text)
				var g tokenGuard
				for {
					if _, err := g.read(src, buf); err != nil {
						break
					}
				}
			}
		})
	}
}

func randomText(n int) string {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	_, _ = r.Read(b) // never fails
	return string(b)
}
