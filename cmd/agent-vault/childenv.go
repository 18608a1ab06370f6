package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"agentvault/api"
)

// childOf is what the environment of a child is made of.
type childOf struct {
	session api.SessionResponse
	vault   string
	caPEM   []byte
	environ []string          // the operator's
	dummies map[string]string // by variable, which is a credential's name
	agents  bool              // the token is an agent's own, and no session that we made
	hosts   []string          // patterns of the vault's services, as they are now
	say     func(line string) // to the operator; nil discards

	withholding withholding // from environ

	ownPort   string // URL of the port of --proxy-port; "": the proxy entrance itself, with credentials
	jvmPort   string // likewise, for JVMs alone; "": none
	ownSocket string // path of --proxy-socket

	isolation *isolation // nil: the child runs as any other program
}

// minted reports whether there is a session that ends with the child.
func (c childOf) minted() bool { return c.session.Token != "" && !c.agents }

func (c childOf) tell(line string) {
	if c.say != nil {
		c.say(line)
	}
}

// environment writes the certificates into dir and returns the child's
// variables.
func (c childOf) environment(dir string) ([]string, error) {
	c.withholding.own = c.session.Token
	vars, reasons := c.withholding.apply(c.environ)
	maps.Copy(vars, c.dummies)
	bundle, alone, err := c.writeRoots(dir, vars["SSL_CERT_FILE"])
	if err != nil {
		return nil, err
	}
	proxy, err := c.proxyURL()
	if err != nil {
		return nil, err
	}
	maps.Copy(vars, map[string]string{
		"AGENT_VAULT_ADDR":          c.session.Addr,
		"AGENT_VAULT_SESSION_TOKEN": c.session.Token,
		"AGENT_VAULT_TOKEN":         c.session.Token,
		"AGENT_VAULT_VAULT":         c.vault,
	})
	setAll(vars, proxyVariables, proxy)
	setAll(vars, bundleVariables, bundle)
	setAll(vars, aloneVariables, alone)
	delete(vars, socketVariable) // of a vault run around this one
	if c.ownSocket != "" {
		vars[socketVariable] = c.ownSocket
	}
	none, left := mergeNoProxy(vars["NO_PROXY"], vars["no_proxy"], c.session.Addr, c.hosts)
	vars["NO_PROXY"], vars["no_proxy"] = none, none
	if len(left) > 0 {
		c.tell("left out of NO_PROXY, since hosts of the vault would not reach it: " + strings.Join(left, ", "))
	}

	if err := c.addRuntimes(vars, dir, bundle); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		if _, ours := vars[name]; !ours {
			c.tell(name + " is not passed on: " + reasons[name])
		}
	}
	return inOrder(vars), nil
}

// alone returns the variables of a program that knows of the vault no more than
// where its proxy is.
func (c childOf) alone() ([]string, error) {
	c.withholding.own = c.session.Token
	vars, _ := c.withholding.apply(c.environ)
	proxy, err := c.proxyURL()
	if err != nil {
		return nil, err
	}
	setAll(vars, proxyVariables, proxy)
	none, _ := mergeNoProxy(vars["NO_PROXY"], vars["no_proxy"], c.session.Addr, c.hosts)
	vars["NO_PROXY"], vars["no_proxy"] = none, none
	return inOrder(vars), nil
}

// inOrder spells variables as exec takes them.
func inOrder(vars map[string]string) []string {
	env := make([]string, 0, len(vars))
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, name+"="+vars[name])
	}
	return env
}

func setAll(vars map[string]string, names []string, value string) {
	for _, name := range names {
		vars[name] = value
	}
}

// proxyURL is the proxy entrance's, with the session in it. Some clients drop
// "user:" without a password, so there always is one. A port of the child's own
// needs none.
func (c childOf) proxyURL() (string, error) {
	if c.ownPort != "" {
		return c.ownPort, nil
	}
	u, err := url.Parse(c.session.MITMURL)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("the server gave no usable proxy address: %q", c.session.MITMURL)
	}
	u.User = url.UserPassword(c.session.Token, c.vault)
	return u.String(), nil
}

// systemRoots are where distributions keep the system's certificates, as
// crypto/x509 looks for them.
var systemRoots = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem", "/etc/pki/tls/cacert.pem",
}

// writeRoots writes the bundle of the system's roots and the vault's, and the
// vault's alone. Roots that the operator named take the system's place.
func (c childOf) writeRoots(dir, operators string) (bundle, alone string, err error) {
	base := []byte(nil)
	candidates := systemRoots
	if operators != "" {
		candidates = []string{operators}
	}
	for _, path := range candidates {
		b, err := os.ReadFile(path)
		if err == nil {
			base = b
			break
		}
		if operators != "" {
			return "", "", fmt.Errorf("SSL_CERT_FILE: %w", err)
		}
	}
	all := append(bytes.TrimRight(base, "\n"), '\n')
	all = append(all, c.caPEM...)
	bundle, alone = filepath.Join(dir, "bundle.pem"), filepath.Join(dir, "ca.pem")
	return bundle, alone, errors.Join(os.WriteFile(bundle, all, 0o600), os.WriteFile(alone, c.caPEM, 0o600))
}
