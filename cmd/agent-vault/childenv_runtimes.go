package main

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Variables that name the proxy. Ruby takes HTTP_PROXY for https:// too; aiohttp
// looks for one of each scheme, and there are no others for its WebSockets.
var proxyVariables = []string{
	"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy",
	"WSS_PROXY", "wss_proxy", "WS_PROXY", "ws_proxy",
}

// Variables that replace what a program trusts, so they get the whole bundle.
// docs/run.md says whose each is.
var bundleVariables = []string{
	"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE",
	"PIP_CERT", "CARGO_HTTP_CAINFO", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "npm_config_cafile",
	"HTTPLIB2_CA_CERTS", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", "NIX_SSL_CERT_FILE", "PERL_LWP_SSL_CA_FILE",
	"CONDA_SSL_VERIFY", "HEX_CACERTS_PATH", "JULIA_SSL_CA_ROOTS_PATH",
}

// Variables that add to it.
var aloneVariables = []string{"NODE_EXTRA_CA_CERTS", "DENO_CERT"}

// addRuntimes sets what programs need that have no variable for a proxy or a
// bundle: files of theirs in dir, and the variables that name them. What the
// operator has in the same variables stays, in front of ours.
func (c childOf) addRuntimes(vars map[string]string, dir, bundle string) error {
	vars["NODE_USE_ENV_PROXY"] = "1"
	vars["PERL_LWP_ENV_PROXY"] = "1"
	return errors.Join(addNode(vars, dir), addWget(vars, dir, bundle), addPHP(vars, dir, bundle), c.addJVM(vars, dir, bundle))
}

// addWget: GnuTLS looks at no variable, and wget at its own file only.
func addWget(vars map[string]string, dir, bundle string) error {
	var operators []byte
	if path := cmp.Or(vars["WGETRC"], filepath.Join(vars["HOME"], ".wgetrc")); filepath.IsAbs(path) {
		operators, _ = os.ReadFile(path) // wget itself says what is wrong with it, or nothing
	}
	vars["WGETRC"] = filepath.Join(dir, "wgetrc")
	return os.WriteFile(vars["WGETRC"], fmt.Appendf(operators, "\nca_certificate = %s\n", bundle), 0o600)
}

// addPHP: ext/curl has roots of its own. An empty part of the list of folders is
// the one that PHP was built with.
func addPHP(vars map[string]string, dir, bundle string) error {
	folder := filepath.Join(dir, "php")
	vars["PHP_INI_SCAN_DIR"] += string(os.PathListSeparator) + folder
	ini := fmt.Sprintf("curl.cainfo=%q\nopenssl.cafile=%[1]q\n", bundle)
	return errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(filepath.Join(folder, "agent-vault.ini"), []byte(ini), 0o600))
}

//go:embed childenv_node.cjs
var nodePreload string

// addNode: NODE_USE_ENV_PROXY is nothing to an older Node.
func addNode(vars map[string]string, dir string) error {
	path := filepath.Join(dir, "node.cjs")
	vars["NODE_OPTIONS"] = appended(vars["NODE_OPTIONS"], "--require="+quoted(path))
	return os.WriteFile(path, []byte(nodePreload), 0o600)
}

// quoted keeps a path with blanks one word, as Node and JVMs read their options.
func quoted(s string) string {
	if strings.ContainsAny(s, " \t") {
		return `"` + s + `"`
	}
	return s
}

// appended joins words to what a variable holds.
func appended(value string, words ...string) string {
	return strings.TrimSpace(value + " " + strings.Join(words, " "))
}
