package broker

import (
	"net/url"
	"strings"
	"testing"

	"agentvault/vault"
)

func TestHoldsToken(t *testing.T) {
	token := vault.NewToken(vault.PrefixSession)
	for s, want := range map[string]bool{
		token: true, "/path/" + token: true, "a=b&t=" + token: true, "Bearer " + token: true,
		vault.NewToken(vault.PrefixAgent): true, vault.NewToken(vault.PrefixLogin): true,
		"av_inv_x": true, "av_appr_x": true, "aav_sess_": true, "av_av_sess_": true,
		strings.Replace(token, "_", "%5F", 2): true, strings.Replace(token, "av", "%61%76", 1): true,
		"%zz%5f&t=av%5fsess_x": true, // also beside what cannot be decoded
		"av%255fsess_":         false, "": false, "a": false, "%": false, "%6": false, "av_": false, "av_sess": false,
		"AV_SESS_": false, "java_session": false, "available": false, "%61%76": false,
	} {
		if got := holdsToken(s); got != want {
			t.Errorf("holdsToken(%q) = %v, want %v", s, got, want)
		}
	}
	if !nameHoldsToken("X-Av_sess_abc") || nameHoldsToken("X-Available_session") || nameHoldsToken("Accept-Language") {
		t.Error("nameHoldsToken")
	}
}

func TestHoldsTokenAllocatesNothing(t *testing.T) {
	s := strings.Repeat("%25", maxTarget/3) + "a%76" // what would be decoded over and over
	if n := testing.AllocsPerRun(10, func() { holdsToken(s); nameHoldsToken("Accept-Encoding") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzHoldsToken: what a reader that decodes once would find is found.
func FuzzHoldsToken(f *testing.F) {
	f.Add("/x?t=av_sess_abc")
	f.Add("%61v%5Fagt_")
	f.Add("%25av_login")
	f.Fuzz(func(t *testing.T, s string) {
		want := false
		decoded, err := url.PathUnescape(s)
		for _, p := range tokenPrefixes {
			want = want || strings.Contains(s, p) || err == nil && strings.Contains(decoded, p)
		}
		if want && !holdsToken(s) {
			t.Errorf("%q holds a token", s)
		}
	})
}
