package main

import (
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"agentvault/vault"
)

func TestWithheld(t *testing.T) {
	const master = "correct horse/battery"
	login, other, own := vault.NewToken(vault.PrefixLogin), vault.NewToken(vault.PrefixAgent), vault.NewToken(vault.PrefixSession)
	w := withholding{secrets: []string{master, login, "short"}, credentials: []string{"API_KEY", "KEPT_KEY", "PATH"}, keep: []string{"KEPT_KEY", "KEPT_TOKEN", "KEPT_LOGIN"}, own: own}
	vars, reasons := w.apply([]string{
		"PATH=/bin:/usr/bin", "HOME=/home/short", "EMPTY=", "no-equals-sign", "SHORT_IN=a short one", "BROKEN=" + other[:len(other)-1], "OWN=" + own, "PREFIX=av_sess_ is how they begin",
		masterPasswordVariable + "=" + master, loginTokenVariable + "=" + login,
		"AGENT_VAULT_EGRESS_PASSWORD=env:CORP_PASSWORD", "CORP_PASSWORD=of the proxy",
		"MASTER=" + master, "MASTER_IN=--password=" + master + " --verbose", "MASTER_64=" + base64.StdEncoding.EncodeToString([]byte("x"+master+"y")), "MASTER_URL=" + url.QueryEscape(master), "SHORT=short",
		"LOGIN=Bearer " + login, "KEPT_LOGIN=" + login, "TOKEN=" + other, "TOKEN_IN=http://" + other + ":x@host", "LC_TOKEN=" + other, "TOKEN_BEHIND=" + own + other + "_x", "KEPT_TOKEN=" + other,
		"API_KEY=sk-live", "KEPT_KEY=sk-kept",
	})
	got := slices.Sorted(maps.Keys(vars))
	if want := []string{"AGENT_VAULT_EGRESS_PASSWORD", "BROKEN", "EMPTY", "HOME", "KEPT_KEY", "KEPT_TOKEN", "OWN", "PATH", "PREFIX", "SHORT_IN"}; !slices.Equal(got, want) {
		t.Errorf("passed on: %q\nwant: %q", got, want)
	}
	const ofOperator, token = "it holds a login or the master password", "it holds a token of the vault"
	want := map[string]string{
		"MASTER": ofOperator, "MASTER_IN": ofOperator, "MASTER_64": ofOperator, "MASTER_URL": ofOperator, "SHORT": ofOperator, "LOGIN": ofOperator, "KEPT_LOGIN": ofOperator,
		"TOKEN": token, "TOKEN_IN": token, "LC_TOKEN": token, "TOKEN_BEHIND": token,
		"API_KEY": "the vault has a credential of that name, which --dummies gives a dummy",
	}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Error(diff)
	}
}

// TestWithheldIsTold: but not of what the child has under the same name anyway.
func TestWithheldIsTold(t *testing.T) {
	c := child("API_KEY=sk-live", "DUMMY_KEY=sk-other", "HTTPS_PROXY=http://"+vault.NewToken(vault.PrefixSession)+":x@outer.test:14322")
	c.withholding.credentials, c.dummies = []string{"API_KEY", "DUMMY_KEY"}, map[string]string{"DUMMY_KEY": "a dummy"}
	var said []string
	c.say = func(line string) { said = append(said, line) }
	vars := environment(t, c)
	if _, ok := vars["API_KEY"]; ok || vars["DUMMY_KEY"] != "a dummy" {
		t.Errorf("%q", vars)
	}
	if len(said) != 1 || !strings.HasPrefix(said[0], "API_KEY is not passed on: ") {
		t.Errorf("said %q", said)
	}
}
