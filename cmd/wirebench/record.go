package main

import (
	"bufio"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// A record is all of a run, as -json writes it.
type record struct {
	Date      string           `json:"date"` // of its begin, in UTC
	Machine   machine          `json:"machine"`
	Turns     int              `json:"turns"`
	Quick     bool             `json:"quick,omitempty"` // a tenth of the requests
	Requests  int              `json:"requests,omitempty"`
	Programs  []program        `json:"programs"`
	Scenarios []recordScenario `json:"scenarios"`
}

// A machine is where a run took place.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	System string `json:"system"`
	Go     string `json:"go"`
}

// A program is what a target is, and of which version.
type program struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type recordScenario struct {
	Name     string         `json:"name"`
	Title    string         `json:"title"`
	Requests int            `json:"requests_per_turn"`
	Targets  []recordTarget `json:"targets"`
}

type recordTarget struct {
	Name     string                   `json:"name"`
	Measures map[string]recordMeasure `json:"measures"`
}

// A recordMeasure is one figure: each turn's, and over all turns.
type recordMeasure struct {
	Unit     string    `json:"unit,omitempty"`
	Turns    []float64 `json:"turns"`
	Over     spread    `json:"over"`
	Against  string    `json:"against,omitempty"` // a target
	Compared *spread   `json:"compared,omitempty"`
}

// record collects the run.
func (b *bench) record() record {
	rec := record{
		Date: b.began.UTC().Format(time.DateTime), Machine: thisMachine(), Turns: b.turns, Quick: b.quick,
		Requests: b.requests, Programs: b.programs,
	}
	for _, r := range b.results {
		s := recordScenario{Name: r.scenario.name, Title: r.scenario.title, Requests: b.count(r.scenario)}
		for _, t := range r.targets {
			s.Targets = append(s.Targets, recordTarget{t.name, r.measures(t)})
		}
		rec.Scenarios = append(rec.Scenarios, s)
	}
	return rec
}

func (r *result) measures(t *target) map[string]recordMeasure {
	all := make(map[string]recordMeasure)
	for _, m := range r.scenario.measures {
		values := r.values[t.name][m.name]
		if len(values) == 0 || !m.of(t) {
			continue
		}
		one := recordMeasure{Unit: m.unit, Turns: values, Over: spreadOf(values)}
		if c, ok := r.comparison(t, m); ok {
			one.Against, one.Compared = r.base(t, m), &c
		}
		all[m.name] = one
	}
	return all
}

func (b *bench) writeJSON(path string) error {
	text, err := json.MarshalIndent(b.record(), "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func thisMachine() machine {
	system := field("/etc/os-release", "PRETTY_NAME", "=")
	if raw, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel, _, _ := strings.Cut(strings.TrimSpace(string(raw)), "-")
		system += ", Linux " + kernel
	}
	memory := field("/proc/meminfo", "MemTotal", ":")
	var kib int
	if _, err := fmt.Sscanf(memory, "%d kB", &kib); err == nil {
		memory = fmt.Sprintf("%.0f GiB", float64(kib)/(1<<20))
	}
	return machine{CPU: field("/proc/cpuinfo", "model name", ":"), Cores: runtime.NumCPU(), Memory: memory, System: system, Go: runtime.Version()}
}

// field is the first value of a name in a file of such lines, "" without one.
func field(path, name, between string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if before, after, ok := strings.Cut(lines.Text(), between); ok && strings.TrimSpace(before) == name {
			return strings.Trim(strings.TrimSpace(after), `"`)
		}
	}
	return ""
}

// ownPrograms are the targets that this program is itself.
func ownPrograms() []program {
	list := []program{{"reference", "net/http/httputil.ReverseProxy of " + runtime.Version()}}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/elazarl/goproxy" {
				list = append(list, program{"goproxy", d.Version})
			}
		}
	}
	return list
}

// vaultProgram is what a binary says of how it was built.
func vaultProgram(v build) program {
	p := program{Name: v.name}
	info, err := buildinfo.ReadFile(v.path)
	if err != nil {
		return p
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	p.Version = info.GoVersion
	if commit := settings["vcs.revision"]; commit != "" {
		p.Version = fmt.Sprintf("commit %.10s, %s", commit, p.Version)
	}
	if settings["vcs.modified"] == "true" {
		p.Version += ", with changes"
	}
	if settings["-pgo"] != "" {
		p.Version += ", with its profile"
	}
	return p
}
