package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"agentvault/broker"
	"agentvault/policy"
	"agentvault/vault/seal"
)

// egress reads the proxy's URL. What it says of one that is wrong repeats
// nothing of it, since people write passwords there.
func (r reader) egress(name string) (*broker.Egress, error) {
	s, err := r.string(name)
	if err != nil || s == "" {
		if err != nil {
			err = errors.New("it must be text")
		}
		return nil, err
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return nil, errors.New("it must be a URL with a port, such as http://proxy.example.com:3128")
	}
	switch u.Scheme {
	case "http", "https", "socks5":
	case "socks5h":
		return nil, errors.New("socks5h leaves names to the proxy; write socks5, and set egress.resolve: proxy if that is meant")
	default:
		return nil, errors.New("its scheme must be http, https or socks5")
	}
	if _, ok := u.User.Password(); ok {
		return nil, errors.New("a password does not belong into it; egress.password says where that is: env:NAME or file:PATH")
	}
	if u.Port() == "" {
		return nil, errors.New("it lacks the proxy's port, as in http://proxy.example.com:3128")
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("nothing may stand behind its port")
	}
	t, err := policy.ParseTarget("https", u.Host)
	if err != nil {
		return nil, errors.New("its host must be a name or an address, and its port a number from 1 to 65535")
	}
	user := u.User.Username()
	if u.Scheme != "socks5" && strings.Contains(user, ":") { // RFC 7617 §2
		return nil, errors.New("the user's name must not hold a colon")
	}
	return &broker.Egress{Scheme: u.Scheme, Host: t.Host, Port: t.Port, User: user}, checkEgressLogin(u.Scheme, user)
}

// checkEgressLogin holds a name or a password against what RFC 1929 takes.
func checkEgressLogin(scheme, s string) error {
	if scheme == "socks5" && len(s) > 255 {
		return errors.New("SOCKS5 takes no more than 255 bytes of a user's name, or of a password")
	}
	return nil
}

// egressPassword reads the password of the proxy's user, and returns the file
// that it was in, or "".
func (r reader) egressPassword(name string, e *broker.Egress) (path string, err error) {
	spec, err := r.string(name)
	if err == nil && spec == "" {
		return "", nil
	}
	kind, rest, _ := strings.Cut(spec, ":")
	if err != nil || kind != "env" && kind != "file" || rest == "" {
		return "", errors.New("it must say where the password is, as env:NAME or file:PATH, and never be the password itself")
	}
	if e == nil || e.User == "" {
		return "", errors.New("there is no user in egress.proxy that a password could be for, as in http://user@proxy.example.com:3128")
	}
	value, err := valueFrom(spec)
	if err != nil {
		return "", err
	}
	if kind == "file" {
		path = rest
	}
	e.Password = seal.NewPlaintext([]byte(value))
	return path, checkEgressLogin(e.Scheme, value)
}

// errNoEgress is of a key that means nothing without a proxy: whoever sets it
// believes that there is one.
var errNoEgress = errors.New("there is no egress.proxy that it could be for")

// egressResolve reads who resolves names.
func (r reader) egressResolve(name string, e *broker.Egress) error {
	who, err := r.oneOf(name, "vault", "proxy")
	switch {
	case err != nil || who == "vault":
		return err
	case e == nil:
		return errNoEgress
	}
	e.ByName = true
	return nil
}

// egressDirect reads what is reached without the proxy.
func (r reader) egressDirect(name string, e *broker.Egress) error {
	spelled, err := r.list(name, "hosts and networks", "a host or network")
	if err != nil {
		return err
	}
	var hosts []string
	var nets []netip.Prefix
	for _, s := range spelled {
		s = strings.TrimSpace(s)
		if p, err := netip.ParsePrefix(s); err == nil {
			nets = append(nets, p.Masked())
			continue
		}
		name, wild := strings.CutPrefix(s, "*.")
		t, err := policy.ParseTarget("https", name)
		if err != nil || t.IsIP() || strings.Contains(s, ":") {
			return fmt.Errorf("%q is neither a host, nor *.host, nor a network such as 10.0.0.0/8", s)
		}
		if wild {
			t.Host = "*." + t.Host
		}
		hosts = append(hosts, t.Host)
	}
	if e == nil {
		if len(spelled) > 0 {
			return errNoEgress
		}
		return nil
	}
	e.DirectHosts, e.DirectNets = hosts, nets
	return nil
}

// checkEgress holds the egress proxy against the listeners: through itself the
// vault reaches nothing.
func (c *config) checkEgress() error {
	if c.Egress == nil {
		return nil
	}
	for _, l := range []struct{ name, addr string }{{"listen.api", c.ListenAPI}, {"listen.proxy", c.ListenProxy}} {
		if c.Egress.Address() == l.addr {
			return fmt.Errorf("configuration: egress.proxy: %s is %s, the vault's own", l.addr, l.name)
		}
	}
	return nil
}

// checkPasswordFile refuses a file that another user could read or change. A
// group may read it, which is how a container's secrets are given to it.
func checkPasswordFile(path string) error {
	if err := checkWay(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o004 != 0 {
		return hint(fmt.Errorf("%s can be read by others (mode %04o)", path, info.Mode().Perm()), "run: chmod o= %s", path)
	}
	return nil
}
