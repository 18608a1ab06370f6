package main

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestEgressConfig(t *testing.T) {
	password := t.TempDir() + "/password"
	if err := os.WriteFile(password, []byte("of the proxy\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CORP_PROXY_PASSWORD", "of the proxy")
	t.Setenv("AGENT_VAULT_EGRESS_DIRECT", "API.example.com, *.corp.example, 10.1.2.3/16")
	for proxy, want := range map[string]string{
		"http://proxy.example.com:3128":         "http://proxy.example.com:3128 ",
		"http://Proxy.Example.com:3128/":        "http://proxy.example.com:3128 ",
		"https://vault@10.0.0.1:443":            "https://10.0.0.1:443 vault",
		"socks5://corp%5Cvault@[fd00::1]:1080":  `socks5://[fd00::1]:1080 corp\vault`,
		"socks5://a%3Ab@proxy.example.com:1080": "socks5://proxy.example.com:1080 a:b",
	} {
		for _, spec := range []string{"env:CORP_PROXY_PASSWORD", "file:" + password} {
			t.Setenv("AGENT_VAULT_EGRESS_PROXY", proxy)
			t.Setenv("AGENT_VAULT_EGRESS_PASSWORD", "")
			if strings.Contains(proxy, "@") {
				t.Setenv("AGENT_VAULT_EGRESS_PASSWORD", spec)
			}
			t.Setenv("AGENT_VAULT_EGRESS_RESOLVE", "proxy")
			c, err := load(t)
			if err != nil {
				t.Errorf("%s: %v", proxy, err)
				continue
			}
			e := c.Egress
			if got := fmt.Sprint(e, " ", e.User); got != want || !e.ByName ||
				!reflect.DeepEqual(e.DirectHosts, []string{"api.example.com", "*.corp.example"}) || fmt.Sprint(e.DirectNets) != "[10.1.0.0/16]" {
				t.Errorf("%s: %s %+v, want %s", proxy, got, e, want)
			}
			if e.User != "" && string(e.Password.Bytes()) != "of the proxy" || strings.Contains(fmt.Sprintf("%+v %+v", c, *e), "of the proxy") {
				t.Errorf("%s: %+v", proxy, *e)
			}
		}
	}
}

// What is said of a proxy that is not there shows a mistake.
func TestEgressConfigWithoutProxy(t *testing.T) {
	for key, value := range map[string]string{"RESOLVE": "proxy", "DIRECT": "api.example.com"} {
		t.Run(key, func(t *testing.T) {
			t.Setenv("AGENT_VAULT_EGRESS_"+key, value)
			want := "configuration: egress." + strings.ToLower(key) + ": there is no egress.proxy"
			if _, err := load(t); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}

// No word of a proxy's URL that is wrong comes back: it may be a password.
func TestEgressConfigRepeatsNothing(t *testing.T) {
	for _, proxy := range []string{
		"http://vault:hunter22@proxy.example.com:3128", "hunter22", "vault:hunter22@proxy.example.com:3128", "http://vault:hunter22%zz@proxy:1",
		"hunter22://proxy:1", "http://hunter22", "http://proxy:hunter22", "http://proxy:1/hunter22", "http://hunter_22:1", "socks5://hunter22:@proxy:1", "\x00hunter22",
	} {
		t.Setenv("AGENT_VAULT_EGRESS_PASSWORD", "hunter22")
		for range 2 { // the password's place as well, and alone
			t.Setenv("AGENT_VAULT_EGRESS_PROXY", strings.Trim(proxy, "\x00"))
			if _, err := load(t); err == nil || strings.Contains(err.Error(), "hunter") || !strings.HasPrefix(err.Error(), "configuration: egress.") {
				t.Errorf("%q: %v", proxy, err)
			}
			proxy = "http://vault@proxy.example.com:3128"
		}
	}
}

func TestEgressPasswordFile(t *testing.T) {
	path := t.TempDir() + "/password"
	for mode, want := range map[os.FileMode]string{0o600: "", 0o640: "", 0o644: "can be read by others (mode 0644)", 0o602: "can be changed by others"} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := checkPasswordFile(path); err == nil != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%04o: %v, want %q", mode, err, want)
		}
	}
}
