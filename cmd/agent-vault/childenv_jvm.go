package main

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"agentvault/ca"
)

// trustStoreVariable names the JVM's store, for programs that take no notice of
// JAVA_TOOL_OPTIONS.
const trustStoreVariable = "AGENT_VAULT_TRUSTSTORE"

// addJVM writes the bundle as a JVM reads it, which replaces the JVM's own
// roots, and says by system properties where it and the proxy are. JVMs send a
// proxy no credentials, so they get a port that needs none where there is one.
func (c childOf) addJVM(vars map[string]string, dir, bundle string) error {
	roots, err := os.ReadFile(bundle)
	if err != nil {
		return err
	}
	store, err := ca.TrustStorePKCS12(ca.Certificates(roots), ca.TrustStorePassword)
	if err != nil {
		return fmt.Errorf("the JVM's trust store: %w", err)
	}
	path := filepath.Join(dir, "trust.p12")
	if err := os.WriteFile(path, store, 0o600); err != nil {
		return err
	}
	options := []string{
		"-Djavax.net.ssl.trustStore=" + path,
		"-Djavax.net.ssl.trustStoreType=PKCS12",
		"-Djavax.net.ssl.trustStorePassword=" + ca.TrustStorePassword,
	}
	options = append(options, c.jvmProxy(vars["NO_PROXY"])...)
	for i, o := range options {
		options[i] = quoted(o)
	}
	vars[trustStoreVariable] = path
	vars["JAVA_TOOL_OPTIONS"] = appended(vars["JAVA_TOOL_OPTIONS"], options...)
	return nil
}

// jvmProxy returns the properties that name the proxy. Without a port of its own
// a JVM is refused there (407), unless the program brings an Authenticator,
// rather than led past the vault.
func (c childOf) jvmProxy(noProxy string) []string {
	way := c.jvmPort
	if way == "" {
		way = c.session.MITMURL
	}
	u, err := url.Parse(way)
	if err != nil || u.Scheme != "http" || u.Port() == "" {
		return nil // JVMs know no TLS to a proxy
	}
	return []string{
		"-Dhttp.proxyHost=" + u.Hostname(), "-Dhttp.proxyPort=" + u.Port(),
		"-Dhttps.proxyHost=" + u.Hostname(), "-Dhttps.proxyPort=" + u.Port(),
		"-Dhttp.nonProxyHosts=" + nonProxyHosts(noProxy),
		"-Djdk.http.auth.tunneling.disabledSchemes=", // else Basic is never sent to a proxy for https
	}
}

// nonProxyHosts spells NO_PROXY as the JVM reads it: whole names, with a star at
// one end. It knows no networks and no ports.
func nonProxyHosts(noProxy string) string {
	var hosts []string
	for e := range strings.SplitSeq(noProxy, ",") {
		if _, err := netip.ParsePrefix(e); err == nil || strings.ContainsAny(e, `|"'`) {
			continue
		}
		e = withoutPort(e)
		if a, err := netip.ParseAddr(e); err == nil {
			if a.Is6() {
				e = "[" + e + "]"
			}
			hosts = append(hosts, e)
			continue
		}
		name := strings.TrimLeft(e, "*.")
		if name == "" || strings.Contains(name, "*") {
			continue
		}
		if name == e {
			hosts = append(hosts, name)
		}
		hosts = append(hosts, "*."+name)
	}
	return strings.Join(hosts, "|")
}
