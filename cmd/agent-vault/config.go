package main

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"agentvault/broker"
	"agentvault/broker/audit"
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
	RootsFile              string         // "" has none
	Roots                  *x509.CertPool // nil: the system's
	Hosts                  map[string]broker.HostAddress
	Allow                  []netip.Prefix
	Egress                 *broker.Egress // nil: none
	EgressPasswordFile     string         // "" has none
	Limits                 broker.Limits
	AgentRate              int // requests per second of one agent's token to the server itself
	AgentConcurrent        int
	ApprovalWait           time.Duration
	LogLevel               slog.Level
	LogFormat              string        // "text" or "json"
	Retention              time.Duration // of the request log
	EventRetention         time.Duration // of the record of changes
	Audit                  audit.Options // what is configured of it
	PprofSocket            string        // "" for none
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
	{"egress.proxy", "", "", "proxy that upstreams are reached through: http, https or socks5://[user@]host:port"},
	{"egress.password", "", "", "where the password of its user is: env:NAME or file:PATH"},
	{"egress.resolve", "vault", "", "who resolves names of upstreams then: vault or proxy"},
	{"egress.direct", []string{}, "", "hosts and networks (CIDR) that are reached without it"},
	{"development", false, "development", "let services name local hosts"},
	{"limits.session_rate", 200, "", "requests per second of one session; 0: no limit"},
	{"limits.session_burst", 1000, "", "requests at once after a pause"},
	{"limits.session_concurrent", 256, "", "exchanges of one session open at once; 0: no limit"},
	{"limits.session_tunnels", 1000, "", "tunnels of one session open at once; 0: no limit"},
	{"limits.failed_attempts", 20, "", "tokens that are not valid per minute of one address; 0: no limit"},
	{"limits.connections", 10000, "", "connections of all agents together; 0: no limit"},
	{"limits.agent_api_rate", 20, "", "requests per second of one agent's token to the server itself; 0: no limit"},
	{"limits.agent_api_concurrent", 16, "", "requests of one agent's token to the server itself open at once; 0: no limit"},
	{"approvals.wait", "90s", "", "how long a request waits for a person before it is refused; sent again, it waits on"},
	{"log.level", "info", "log-level", "debug, info, warn or error"},
	{"log.format", "text", "log-format", "text or json"},
	{"log.retention", "720h", "", "how long the request log keeps a request; 0: for good"},
	{"log.event_retention", "8760h", "", "how long the record of changes keeps an event; 0: for good"},
	{"audit.sync", "process", "", "what audit records survive: the end of the process, or power (loss of)"},
	{"audit.segment_size", "64MiB", "", "how large a segment of the audit log becomes"},
	{"audit.segment_age", "168h", "", "how old a segment becomes before another begins; 0: any age"},
	{"audit.retention", "0", "", "how long the audit log keeps a record; 0: for good"},
	{"debug.pprof_socket", "", "", "unix socket that gives profiles of the running server (default: none)"},
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
func loadConfig(f *pflag.FlagSet, environ []string) (*config, error) {
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
	if err := readEnvironment(v, environ); err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.flag != "" && f.Changed(k.flag) {
			v.Set(inner(k.name), f.Lookup(k.flag).Value.String())
		}
	}
	return checkConfig(reader{v})
}

// checkConfigFile refuses a file that others could change: it says where hosts
// are found, and what is reached. It holds nothing that they may not read.
func checkConfigFile(f *pflag.FlagSet) error {
	path, err := f.GetString("config")
	if err != nil || path == "" {
		return err
	}
	if err := checkWay(path); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return nil
}

func inner(name string) string { return strings.ReplaceAll(name, ".", delimiter) }

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
		{"upstream.ca_file", func(n string) (err error) { c.RootsFile, c.Roots, err = r.roots(n); return err }},
		{"upstream.hosts", func(n string) (err error) { c.Hosts, err = r.hosts(n); return err }},
		{"network.allow", func(n string) (err error) { c.Allow, err = r.prefixes(n); return err }},
		{"egress.proxy", func(n string) (err error) { c.Egress, err = r.egress(n); return err }},
		{"egress.password", func(n string) (err error) { c.EgressPasswordFile, err = r.egressPassword(n, c.Egress); return err }},
		{"egress.resolve", func(n string) error { return r.egressResolve(n, c.Egress) }},
		{"egress.direct", func(n string) error { return r.egressDirect(n, c.Egress) }},
		{"development", func(n string) (err error) { c.Development, err = r.bool(n); return err }},
		{"limits.session_rate", func(n string) (err error) { c.Limits.SessionRate, err = r.count(n); return err }},
		{"limits.session_burst", func(n string) (err error) { c.Limits.SessionBurst, err = r.count(n); return err }},
		{"limits.session_concurrent", func(n string) (err error) { c.Limits.SessionConcurrent, err = r.count(n); return err }},
		{"limits.session_tunnels", func(n string) (err error) { c.Limits.SessionTunnels, err = r.count(n); return err }},
		{"limits.failed_attempts", func(n string) (err error) { c.Limits.FailedAttempts, err = r.count(n); return err }},
		{"limits.connections", func(n string) (err error) { c.Limits.Connections, err = r.count(n); return err }},
		{"limits.agent_api_rate", func(n string) (err error) { c.AgentRate, err = r.count(n); return err }},
		{"limits.agent_api_concurrent", func(n string) (err error) { c.AgentConcurrent, err = r.count(n); return err }},
		{"approvals.wait", func(n string) (err error) { c.ApprovalWait, err = r.approvalWait(n); return err }},
		{"log.level", func(n string) (err error) { c.LogLevel, err = r.level(n); return err }},
		{"log.format", func(n string) (err error) { c.LogFormat, err = r.oneOf(n, "text", "json"); return err }},
		{"log.retention", func(n string) (err error) { c.Retention, err = r.retention(n); return err }},
		{"log.event_retention", func(n string) (err error) { c.EventRetention, err = r.retention(n); return err }},
		{"audit.sync", func(n string) (err error) { c.Audit.Power, err = r.power(n); return err }},
		{"audit.segment_size", func(n string) (err error) { c.Audit.SegmentSize, err = r.size(n); return err }},
		{"audit.segment_age", func(n string) (err error) { c.Audit.SegmentAge, err = r.hours(n, "for any age"); return err }},
		{"audit.retention", func(n string) (err error) { c.Audit.Retention, err = r.retention(n); return err }},
		{"debug.pprof_socket", func(n string) (err error) { c.PprofSocket, err = r.socket(n, c.DataDir); return err }},
	}
	for _, s := range steps {
		if err := s.set(s.key); err != nil {
			return nil, fmt.Errorf("configuration: %s: %s", s.key, oneLine(err.Error()))
		}
	}
	if err := c.checkListeners(); err != nil {
		return c, err
	}
	if c.Egress != nil {
		c.Egress.Roots = c.Roots
	}
	return c, c.checkEgress()
}

// checkListeners holds the two addresses against each other and against
// trusted_network.
func (c *config) checkListeners() error {
	for _, l := range []struct{ name, addr string }{{"listen.api", c.ListenAPI}, {"listen.proxy", c.ListenProxy}} {
		if ap, err := netip.ParseAddrPort(l.addr); err == nil && !ap.Addr().IsLoopback() && !c.TrustedNetwork {
			return fmt.Errorf("configuration: %s: %s is not a loopback address, and tokens would cross the network in clear text; set trusted_network: true if nobody else is on it", l.name, l.addr)
		}
	}
	if c.ListenProxy == c.ListenAPI && !strings.HasSuffix(c.ListenAPI, ":0") {
		return fmt.Errorf("configuration: listen.proxy: %s is listen.api already; each needs a port of its own", c.ListenProxy)
	}
	return nil
}
