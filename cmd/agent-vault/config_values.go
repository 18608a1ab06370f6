package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/viper"

	"agentvault/broker"
	"agentvault/policy"
)

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

// retention is a duration of at least an hour, or 0 to keep all.
func (r reader) retention(name string) (time.Duration, error) { return r.hours(name, "to keep all") }

// hours is a duration of at least an hour, or 0 for a purpose.
func (r reader) hours(name, zero string) (time.Duration, error) {
	spelled := fmt.Sprint(r.v.Get(inner(name))) // 0 may be written as a number
	d, err := time.ParseDuration(spelled)
	if err != nil || d != 0 && d < time.Hour {
		return 0, fmt.Errorf("it must be a duration of at least 1h, as in 720h, or 0 %s, not %q", zero, spelled)
	}
	return d, nil
}

// approvalWait is a duration that a client may hold a connection open for.
func (r reader) approvalWait(name string) (time.Duration, error) {
	spelled := fmt.Sprint(r.v.Get(inner(name)))
	d, err := time.ParseDuration(spelled)
	if err != nil || d < time.Second || d > 10*time.Minute {
		return 0, fmt.Errorf("it must be a duration from 1s to 10m, as in 90s, not %q", spelled)
	}
	return d, nil
}

// power reports whether records must survive a loss of power.
func (r reader) power(name string) (bool, error) {
	s, err := r.oneOf(name, "process", "power")
	return s == "power", err
}

// Bounds of a size in bytes.
const (
	minSize = 1 << 20
	maxSize = 1 << 40
)

// size is a number of bytes with its unit, as in 64MiB.
func (r reader) size(name string) (int64, error) {
	s, err := r.string(name)
	if err != nil {
		return 0, err
	}
	for unit, bytes := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30} {
		digits, ok := strings.CutSuffix(s, unit)
		if n, err := strconv.ParseInt(digits, 10, 32); ok && err == nil && n*bytes >= minSize && n*bytes <= maxSize {
			return n * bytes, nil
		}
	}
	return 0, fmt.Errorf("it must be a size from 1MiB to 1024GiB, as in 64MiB, not %q", s)
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
		if s, err = defaultDataDir(); err != nil {
			return "", err
		}
	}
	return filepath.Abs(s)
}

func defaultDataDir() (string, error) {
	base := os.Getenv("XDG_DATA_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", errors.New("there is no home folder; set it to a folder of its own")
		}
		base = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(base, "agent-vault"), nil
}

func (r reader) roots(name string) (path string, pool *x509.CertPool, err error) {
	path, err = r.string(name)
	if err != nil || path == "" {
		return "", nil, err
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	if pool, err = x509.SystemCertPool(); err != nil {
		pool = x509.NewCertPool() // a machine without roots of its own
	}
	if !pool.AppendCertsFromPEM(pem) {
		return "", nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return path, pool, nil
}

// socket is a path, below the data folder unless it is absolute.
func (r reader) socket(name, dataDir string) (string, error) {
	s, err := r.string(name)
	if err != nil || s == "" {
		return "", err
	}
	if !filepath.IsAbs(s) {
		s = filepath.Join(dataDir, s)
	}
	if len(s) > maxSocketPath {
		return "", fmt.Errorf("%s is longer than the %d bytes that a socket's path may have", s, maxSocketPath)
	}
	return s, nil
}

// maxSocketPath is what fits the shortest sockaddr_un, macOS's, with its zero.
const maxSocketPath = 103

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
	spelled, err := r.list(name, "networks", "a network")
	if err != nil {
		return nil, err
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

// list reads a list of texts; the words are for what is not one.
func (r reader) list(name, all, one string) ([]string, error) {
	switch l := r.v.Get(inner(name)).(type) {
	case nil:
		return nil, nil
	case []string:
		return l, nil
	case []any:
		texts := make([]string, len(l))
		for i, v := range l {
			s, ok := v.(string)
			if !ok {
				return nil, fmt.Errorf("%s must be text, not %v", one, v)
			}
			texts[i] = s
		}
		return texts, nil
	default:
		return nil, fmt.Errorf("it must be a list of %s, not %v", all, l)
	}
}
