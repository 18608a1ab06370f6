package api

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"agentvault/policy/inject"
	"agentvault/vault"
	"agentvault/vault/catalog"
)

// addCommand says how to add a host that was refused: by the catalog's entry
// that knows it, else as a service of its own.
func addCommand(known []catalog.Entry, h vault.RefusedHost) (entry, command string) {
	scheme, _, _ := strings.Cut(h.Target, "://")
	if scheme == "https" {
		for _, e := range known {
			if tenant, ok := knows(e, h.Host); ok {
				command = "agent-vault catalog add " + e.Name + " --vault " + h.Vault
				if tenant != "" {
					command += " --tenant " + tenant
				}
				return e.Name, command
			}
		}
	}
	host := h.Host
	if scheme == "http" {
		if strings.HasSuffix(h.Target, ":80") {
			host += ":80" // clear text needs a port that is named
		}
		host += " --scheme http"
	}
	return "", "agent-vault service add --vault " + h.Vault + " --host " + host + " --auth bearer --key " + keyFor(h.Host)
}

// knows reports whether one of the entry's services is of the host, and of
// whose.
func knows(e catalog.Entry, host string) (tenant string, ok bool) {
	for _, s := range e.Services {
		pattern, _, _ := strings.Cut(s.Host, "/")
		if e.Tenant.Placeholder == "" {
			if pattern == host {
				return "", true
			}
			continue
		}
		before, after, _ := strings.Cut(pattern, e.Tenant.Placeholder)
		rest, ok1 := strings.CutPrefix(host, before)
		label, ok2 := strings.CutSuffix(rest, after)
		if ok1 && ok2 && label != "" && !strings.ContainsAny(label, ".:") {
			return label, true
		}
	}
	return "", false
}

// keyFor makes up a credential's key from all of the host, and its port: agents
// choose the hosts, and no two of them may share a key that a person has set for
// one. So . becomes _, - becomes __ and what else there is becomes ___.
func keyFor(host string) string {
	var b strings.Builder
	if host == "" || host[0] < 'a' || host[0] > 'z' {
		b.WriteString("API_")
	}
	for _, c := range []byte(strings.Trim(strings.ToUpper(host), "[]")) {
		switch {
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			b.WriteByte(c)
		case c == '.', c == ':':
			b.WriteByte('_')
		case c == '-':
			b.WriteString("__")
		default:
			b.WriteString("___")
		}
	}
	b.WriteString("_KEY")
	if key := b.String(); inject.ValidKey(key) {
		return key
	}
	digest := sha256.Sum256([]byte(host))
	return fmt.Sprintf("API_%X_KEY", digest[:8]) // of one that is too long
}
