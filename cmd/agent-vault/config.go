package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"agentvault/broker"
	"agentvault/policy"
)

// A config is the server's configuration, checked. Keys are documented in
// docs/configuration.md; a test holds that and configs/sample.yaml against
// this list.
type config struct {
	ListenAPI, ListenProxy string // host:port
	BaseURL                string // "" means the API listener's own address
	DataDir                string
	TrustedNetwork         bool
	Development            bool
	Roots                  *x509.CertPool // nil: the system's
	Hosts                  map[string]broker.HostAddress
	Allow                  []netip.Prefix
	Limits                 broker.Limits
	LogLevel               slog.Level
	LogFormat              string // "text" or "json"
}

// A key is one configuration key: its default decides its type.
type key struct {
	name string
	def  any
	flag string // "" has none
	help string
}

var keys = []key{
	{"listen.api", "127.0.0.1:14321", "listen-api", "address of API, path entrance and metrics"},
	{"listen.proxy", "127.0.0.1:14322", "listen-proxy", "address of the proxy entrance"},
	{"base_url", "", "base-url", "URL under which agents and people reach the API (default: the listener's)"},
	{"data_dir", "", "data-dir", "folder of everything that is kept (default: $XDG_DATA_HOME/agent-vault)"},
	{"trusted_network", false, "trusted-network", "allow listening on other than loopback addresses in clear text"},
	{"upstream.ca_file", "", "", "PEM file of roots that are trusted besides the system's"},
	{"upstream.hosts", map[string]string{}, "", "names and where they are found, before DNS"},
	{"network.allow", []string{}, "", "networks (CIDR) that are not public and may be reached all the same"},
	{"development", false, "development", "let services name local hosts"},
	{"limits.session_rate", 200, "", "requests per second of one session; 0: no limit"},
	{"limits.session_burst", 1000, "", "requests at once after a pause"},
	{"limits.session_concurrent", 256, "", "exchanges of one session open at once; 0: no limit"},
	{"limits.session_tunnels", 1000, "", "tunnels of one session open at once; 0: no limit"},
	{"log.level", "info", "log-level", "debug, info, warn or error"},
	{"log.format", "text", "log-format", "text or json"},
}

// otherVariables begin with AGENT_VAULT_ as well and are not the server's.
var otherVariables = []string{
	"AGENT_VAULT_ADDR", "AGENT_VAULT_SESSION_TOKEN", "AGENT_VAULT_TOKEN", "AGENT_VAULT_VAULT",
	masterPasswordVariable, loginTokenVariable,
}

// delimiter parts keys inside viper. The usual "." stands in the names of
// upstream.hosts.
const delimiter = "::"

// addConfigFlags gives a command the flags of the keys that have one.
func addConfigFlags(f *pflag.FlagSet) {
	f.String("config", "", "configuration file (YAML, JSON or TOML)")
	for _, k := range keys {
		switch {
		case k.flag == "":
		case reflect.TypeOf(k.def).Kind() == reflect.Bool:
			f.Bool(k.flag, k.def.(bool), k.help)
		default:
			f.String(k.flag, k.def.(string), k.help)
		}
	}
}

// loadConfig reads defaults, file, environment and flags, each over the one
// before. Every error is one line that names the key.
func loadConfig(f *pflag.FlagSet) (*config, error) {
	v := viper.NewWithOptions(viper.KeyDelimiter(delimiter))
	for _, k := range keys {
		v.SetDefault(inner(k.name), k.def)
	}
	if path, err := f.GetString("config"); err != nil {
		return nil, err
	} else if path != "" {
		if err := readConfigFile(v, path); err != nil {
			return nil, err
		}
	}
	if err := readEnvironment(v); err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.flag != "" && f.Changed(k.flag) {
			v.Set(inner(k.name), f.Lookup(k.flag).Value.String())
		}
	}
	return checkConfig(reader{v})
}

func inner(name string) string { return strings.ReplaceAll(name, ".", delimiter) }

func readConfigFile(v *viper.Viper, path string) error {
	v.SetConfigFile(path)
	if err := v.ReadInConfig(); err != nil {
		var missing *fs.PathError
		if errors.As(err, &missing) {
			return fmt.Errorf("configuration %s: %w", path, missing.Err)
		}
		return fmt.Errorf("configuration %s: %s", path, strings.Join(strings.Fields(err.Error()), " "))
	}
	known := make(map[string]any, len(keys))
	for _, k := range keys {
		known[k.name] = k.def
	}
	for _, name := range slices.Sorted(slices.Values(v.AllKeys())) {
		name = strings.ReplaceAll(name, delimiter, ".")
		if _, ok := known[name]; ok || strings.HasPrefix(name, "upstream.hosts.") {
			continue
		}
		return unknownKey(path, name)
	}
	return nil
}

func unknownKey(where, name string) error {
	message := fmt.Sprintf("configuration %s: unknown key %s", where, name)
	best, distance := "", 4
	for _, k := range keys {
		if d := editDistance(name, k.name); d < distance {
			best, distance = k.name, d
		}
	}
	if best != "" {
		message += "; did you mean " + best + "?"
	}
	return errors.New(message)
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// readEnvironment takes AGENT_VAULT_LISTEN_API for listen.api and so on. Lists
// are parted by commas; maps are name=value, parted by commas.
func readEnvironment(v *viper.Viper) error {
	byVariable := make(map[string]key, len(keys))
	for _, k := range keys {
		byVariable["AGENT_VAULT_"+strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))] = k
	}
	for _, entry := range os.Environ() {
		variable, value, _ := strings.Cut(entry, "=")
		k, ok := byVariable[variable]
		if !ok {
			if err := checkVariable(variable, byVariable); err != nil {
				return err
			}
		}
		if !ok || value == "" {
			continue
		}
		switch k.def.(type) {
		case []string:
			v.Set(inner(k.name), strings.Split(value, ","))
		case map[string]string:
			m := make(map[string]string)
			for part := range strings.SplitSeq(value, ",") {
				name, to, ok := strings.Cut(part, "=")
				if !ok {
					return fmt.Errorf("configuration %s: %s: %q is not name=address", variable, k.name, part)
				}
				m[strings.TrimSpace(name)] = strings.TrimSpace(to)
			}
			v.Set(inner(k.name), m)
		default:
			v.Set(inner(k.name), value)
		}
	}
	return nil
}

// checkVariable refuses a variable that looks like a mistyped one of ours. What
// is far from all of them belongs to somebody else's script.
func checkVariable(variable string, known map[string]key) error {
	if !strings.HasPrefix(variable, "AGENT_VAULT_") || slices.Contains(otherVariables, variable) {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if editDistance(variable, name) <= 2 {
			return fmt.Errorf("configuration: unknown variable %s; did you mean %s?", variable, name)
		}
	}
	return nil
}

// checkConfig turns values into a config.
func checkConfig(r reader) (*config, error) {
	c := &config{}
	steps := []struct {
		key string
		set func(name string) error
	}{
		{"listen.api", func(n string) (err error) { c.ListenAPI, err = r.listener(n); return err }},
		{"listen.proxy", func(n string) (err error) { c.ListenProxy, err = r.listener(n); return err }},
		{"base_url", func(n string) (err error) { c.BaseURL, err = r.url(n); return err }},
		{"data_dir", func(n string) (err error) { c.DataDir, err = r.dataDir(n); return err }},
		{"trusted_network", func(n string) (err error) { c.TrustedNetwork, err = r.bool(n); return err }},
		{"upstream.ca_file", func(n string) (err error) { c.Roots, err = r.roots(n); return err }},
		{"upstream.hosts", func(n string) (err error) { c.Hosts, err = r.hosts(n); return err }},
		{"network.allow", func(n string) (err error) { c.Allow, err = r.prefixes(n); return err }},
		{"development", func(n string) (err error) { c.Development, err = r.bool(n); return err }},
		{"limits.session_rate", func(n string) (err error) { c.Limits.SessionRate, err = r.count(n); return err }},
		{"limits.session_burst", func(n string) (err error) { c.Limits.SessionBurst, err = r.count(n); return err }},
		{"limits.session_concurrent", func(n string) (err error) { c.Limits.SessionConcurrent, err = r.count(n); return err }},
		{"limits.session_tunnels", func(n string) (err error) { c.Limits.SessionTunnels, err = r.count(n); return err }},
		{"log.level", func(n string) (err error) { c.LogLevel, err = r.level(n); return err }},
		{"log.format", func(n string) (err error) { c.LogFormat, err = r.oneOf(n, "text", "json"); return err }},
	}
	for _, s := range steps {
		if err := s.set(s.key); err != nil {
			return nil, fmt.Errorf("configuration: %s: %w", s.key, err)
		}
	}
	if !c.TrustedNetwork {
		for name, addr := range map[string]string{"listen.api": c.ListenAPI, "listen.proxy": c.ListenProxy} {
			if ap, err := netip.ParseAddrPort(addr); err == nil && !ap.Addr().IsLoopback() {
				return nil, fmt.Errorf("configuration: %s: %s is not a loopback address, and tokens would cross the network in clear text; set trusted_network: true if nobody else is on it", name, addr)
			}
		}
	}
	return c, nil
}

// A reader reads values strictly: a number is not a string, a string not a
// list. Only text from flags and the environment is converted.
type reader struct{ v *viper.Viper }

func (r reader) string(name string) (string, error) {
	switch v := r.v.Get(inner(name)).(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	default:
		return "", fmt.Errorf("it must be text, not %v", v)
	}
}

func (r reader) bool(name string) (bool, error) {
	switch v := r.v.Get(inner(name)).(type) {
	case bool:
		return v, nil
	case string:
		switch v {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	}
	return false, fmt.Errorf("it must be true or false, not %v", r.v.Get(inner(name)))
}

const maxCount = 1_000_000

func (r reader) count(name string) (int, error) {
	n := -1
	switch v := r.v.Get(inner(name)).(type) {
	case int:
		n = v
	case int64:
		n = int(v)
	case float64: // JSON
		if v == float64(int(v)) {
			n = int(v)
		}
	case string:
		if _, err := fmt.Sscanf(v, "%d", &n); err != nil || fmt.Sprint(n) != v {
			n = -1
		}
	}
	if n < 0 || n > maxCount {
		return 0, fmt.Errorf("it must be a whole number from 0 to %d, not %v", maxCount, r.v.Get(inner(name)))
	}
	return n, nil
}

func (r reader) oneOf(name string, allowed ...string) (string, error) {
	s, err := r.string(name)
	if err == nil && !slices.Contains(allowed, s) {
		err = fmt.Errorf("it must be %s, not %q", strings.Join(allowed, " or "), s)
	}
	return s, err
}

func (r reader) level(name string) (slog.Level, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	s, err := r.oneOf(name, "debug", "info", "warn", "error")
	return levels[s], err
}

func (r reader) listener(name string) (string, error) {
	s, err := r.string(name)
	if err != nil {
		return "", err
	}
	ap, err := netip.ParseAddrPort(strings.Replace(s, "localhost:", "127.0.0.1:", 1))
	if err != nil {
		return "", fmt.Errorf("it must be address:port, as in 127.0.0.1:14321, not %q", s)
	}
	return ap.String(), nil
}

func (r reader) url(name string) (string, error) {
	s, err := r.string(name)
	if err != nil || s == "" {
		return "", err
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("it must be a URL such as https://vault.example.com, not %q", s)
	}
	return strings.TrimSuffix(s, "/"), nil
}

func (r reader) dataDir(name string) (string, error) {
	s, err := r.string(name)
	if err != nil {
		return "", err
	}
	if s == "" {
		base := os.Getenv("XDG_DATA_HOME")
		if base == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", errors.New("there is no home folder; set it to a folder of its own")
			}
			base = filepath.Join(home, ".local", "share")
		}
		s = filepath.Join(base, "agent-vault")
	}
	return filepath.Abs(s)
}

func (r reader) roots(name string) (*x509.CertPool, error) {
	path, err := r.string(name)
	if err != nil || path == "" {
		return nil, err
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without roots of its own
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return pool, nil
}

// hosts must read the map as a whole: names hold dots.
func (r reader) hosts(name string) (map[string]broker.HostAddress, error) {
	spelled := make(map[string]string)
	switch m := r.v.Get(inner(name)).(type) {
	case nil:
	case map[string]string:
		spelled = m
	case map[string]any:
		for host, v := range m {
			to, ok := v.(string)
			if !ok {
				return nil, fmt.Errorf("%s: the address must be text, not %v", host, v)
			}
			spelled[host] = to
		}
	default:
		return nil, fmt.Errorf("it must be a map of names to addresses, not %v", m)
	}
	hosts := make(map[string]broker.HostAddress, len(spelled))
	for _, host := range slices.Sorted(maps.Keys(spelled)) {
		t, err := policy.ParseTarget("https", host)
		if err != nil || t.Port != 443 {
			return nil, fmt.Errorf("%q is not a host name", host)
		}
		if hosts[t.Host], err = broker.ParseHostAddress(spelled[host]); err != nil {
			return nil, fmt.Errorf("%s: %w", host, err)
		}
	}
	return hosts, nil
}

func (r reader) prefixes(name string) ([]netip.Prefix, error) {
	var spelled []string
	switch l := r.v.Get(inner(name)).(type) {
	case nil:
	case []string:
		spelled = l
	case []any:
		for _, v := range l {
			s, ok := v.(string)
			if !ok {
				return nil, fmt.Errorf("a network must be text, not %v", v)
			}
			spelled = append(spelled, s)
		}
	default:
		return nil, fmt.Errorf("it must be a list of networks, not %v", l)
	}
	prefixes := make([]netip.Prefix, 0, len(spelled))
	for _, s := range spelled {
		p, err := netip.ParsePrefix(strings.TrimSpace(s))
		if err != nil {
			return nil, fmt.Errorf("%q is not a network such as 10.0.0.0/8", s)
		}
		prefixes = append(prefixes, p.Masked())
	}
	return prefixes, nil
}
