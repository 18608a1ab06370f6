package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"agentvault/api"
	"agentvault/vault"
)

// TestOpenedInvite: where an invite leads, and what is none.
func TestOpenedInvite(t *testing.T) {
	join, invite := vault.NewToken(vault.PrefixJoin), vault.NewToken(vault.PrefixInvite)
	const (
		own    = "http://own.test:1"
		noneIs = "this is no invite, or not the whole of it"
		other  = "this invite is of another kind"
	)
	for _, tt := range []struct{ name, flag, given, address, token, refused string }{
		{"a link", "", "https://vault.test/join/" + join, "https://vault.test", join, ""},
		{"a link with a port and a path", "", "http://vault.test:14321/a/b/join/" + join, "http://vault.test:14321/a/b", join, ""},
		{"what mail programs add", "", "https://vault.test/join/" + join + "/?from=mail#x", "https://vault.test", join, ""},
		{"the token alone", "", join, own, join, ""},
		{"--address before the link's server", "http://flag.test:2", "https://vault.test/join/" + join, "http://flag.test:2", join, ""},
		{"--address and the token", "http://flag.test:2/", join, "http://flag.test:2", join, ""},
		{"an agent's link", "", "https://vault.test/invite/" + invite, "", "", other},
		{"an agent's token", "", invite, "", "", other},
		{"an agent's session", "", vault.NewToken(vault.PrefixSession), "", "", noneIs},
		{"a token cut short", "", join[:len(join)-1], "", "", noneIs},
		{"a link cut short", "", "https://vault.test/join/", "", "", noneIs},
		{"a link of another shape", "", "https://vault.test/other/" + join, "", "", noneIs},
		{"a link without a path", "", "https://vault.test", "", "", noneIs},
		{"nothing", "", "", "", "", noneIs},
		{"another scheme", "", "ftp://vault.test/join/" + join, "", "", `"ftp://vault.test" is not the address of a server`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(addressVariable, own)
			c := newRoot(stdio{in: devNull(t)})
			if tt.flag != "" {
				if err := c.PersistentFlags().Set("address", tt.flag); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.ParseFlags(nil); err != nil { // makes persistent flags its own
				t.Fatal(err)
			}
			client, token, err := usersInvite.opened(c, tt.given)
			if tt.refused != "" {
				var usage *usageError
				if !errors.As(err, &usage) || err.Error() != tt.refused {
					t.Errorf("got %v, want %q", err, tt.refused)
				}
				return
			}
			if err != nil || token != tt.token || client.Address != tt.address || client.Token != "" {
				t.Errorf("got %v %q %v, want %q at %q", client, token, err, tt.token, tt.address)
			}
		})
	}
}

// TestExportsInAShell: whatever a server says, the shell only sets variables.
func TestExportsInAShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("sh is not installed, and CI runs every client")
		}
		t.Skip("needs sh, which is not installed")
	}
	for _, word := range []string{"", "plain", "a b", "'; echo broken; '", "$(echo broken)", "`echo broken`", `\`, `"`, "-n", "#", "é"} {
		var b bytes.Buffer
		if err := printExports(&b, api.RedeemResponse{Addr: word, Token: "t", MITMURL: "http://p.test:1", Vaults: []api.AgentVault{{VaultName: word}, {VaultName: "second"}}}, true); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(sh, "-eu", "-c", b.String()+`printf '%s|%s|%s|%s|%.9s' "$AGENT_VAULT_ADDR" "$AGENT_VAULT_SESSION_TOKEN" "$AGENT_VAULT_VAULT" "$AGENT_VAULT_PROXY" "$HTTPS_PROXY"`).CombinedOutput()
		if want := word + "|t|" + word + "|http://p.test:1|http://t:"; err != nil || string(out) != want {
			t.Errorf("%q: %v, got %q, want %q", word, err, out, want)
		}
	}
	for _, word := range []string{"a\nb", "a\x1b[2J", "a\x00", "a\u202eb"} {
		var b bytes.Buffer
		if err := printExports(&b, api.RedeemResponse{Addr: word, MITMURL: "http://p.test:1"}, false); err == nil || b.Len() > 0 {
			t.Errorf("%q was written: %q", word, &b)
		}
	}
}

func TestTwoLines(t *testing.T) {
	long := strings.Repeat("x", maxPasswordLine)
	for _, tt := range []struct{ in, want, refused string }{
		{"old\nnew\n", "old\nnew", ""},
		{"old\r\nnew", "old\nnew", ""},
		{"old\nnew\nmore\n", "old\nnew", ""},
		{long + "\n" + long + "\n", long + "\n" + long, ""},
		{"old\n", "", "standard input does not hold two passwords"},
		{"\nnew\n", "", "standard input does not hold two passwords"},
		{"", "", "standard input does not hold two passwords"},
		{long + "x\nnew\n", "", "the password on standard input is too long"},
		{"old\n" + long + "x\n", "", "the password on standard input is too long"},
	} {
		got, err := twoLines(strings.NewReader(tt.in))
		if string(got) != tt.want || tt.refused == "" && err != nil || tt.refused != "" && (err == nil || err.Error() != tt.refused) {
			t.Errorf("%.20q: got %.20q, %v; want %.20q, %s", tt.in, got, err, tt.want, tt.refused)
		}
	}
}

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 10 * time.Second: "10s", 5 * time.Minute: "5m", 10*time.Minute + 10*time.Second: "10m10s",
		168 * time.Hour: "168h", 10*time.Hour + 10*time.Minute: "10h10m",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("%v: got %s, want %s", int64(d), got, want)
		}
	}
}
