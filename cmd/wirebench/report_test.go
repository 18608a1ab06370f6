package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// finished is a run with known figures.
func finished() *bench {
	direct := &target{name: "direct", entrance: entranceDirect}
	reference := &target{name: "mitm/reference", entrance: entranceMITM, pid: 1}
	ours := &target{name: "mitm/agent-vault", entrance: entranceMITM, pid: 2}
	few := &target{name: "mitm/agent-vault, 10 services", entrance: entranceMITM, base: "mitm/agent-vault, 10 services"}
	many := &target{name: "mitm/agent-vault, 1,000 services", entrance: entranceMITM, base: few.name}
	measures := []measure{cpu("CPU per request", "µs", "1.1×"), added50, throughput}
	return &bench{
		options: options{turns: 3, vaults: []build{{"agent-vault", "x"}}}, began: time.Unix(0, 0),
		programs: []program{{"nginx", "1.2"}},
		results: []result{
			{scenario{name: "kept", title: "Kept", requests: 9, measures: measures}, []*target{direct, reference, ours}, map[string]map[string][]float64{
				"direct":           {"cpu": {0, 0, 0}, "p50": {10, 20, 30}, "rate": {1, 2, 3}},
				"mitm/reference":   {"cpu": {100, 200, 100}, "p50": {20, 40, 60}, "rate": {1, 2, 3}},
				"mitm/agent-vault": {"cpu": {110, 240, 100}, "p50": {15, 21, 40}, "rate": {1, 2, 3}},
			}},
			{scenario{name: "more", title: "More", requests: 9, noun: "events", measures: measures[:1], variants: []variant{{"10 services", 10, 1}, {"1,000 services", 1000, 1}}},
				[]*target{few, many}, map[string]map[string][]float64{few.name: {"cpu": {100, 100, 100}}, many.name: {"cpu": {105, 100, 110}}}},
		},
	}
}

func TestPrint(t *testing.T) {
	var out bytes.Buffer
	if err := finished().results[0].print(&out); err != nil {
		t.Fatal(err)
	}
	want := "\nKept (kept)\n" +
		"target            CPU per request, µs  × reference          p50, µs  more than direct     requests, /s\n" +
		"direct                                                      20.0     0.00                 2.00\n" +
		"mitm/reference    100                  1.00                 40.0     20.0 (10.0 to 30.0)  2.00\n" +
		"mitm/agent-vault  110                  1.10 (1.00 to 1.20)  21.0     5.00 (1.00 to 10.0)  2.00\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

func TestMarkdown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := finished().writeMarkdown(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1970-01-01 00:00:00 UTC", "\n- nginx: 1.2\n", "3 turns of each scenario.",
		"\n| Kept: CPU per request | 1.1× |  | 110 µs, **1.10×** (1.00 to 1.20) |\n",
		"\n| More: CPU per request | 1.1× |  | 105 µs, **1.05×** (1.00 to 1.10) |\n",
		"\n## Kept\n`kept`, 9 requests per turn\n", "`more`, 9 events per turn\n\n| target | CPU per request, µs | × 10 services |\n|---|---:|---:|\n",
		"\n| direct |  |  | 20.0 | 0.00 | 2.00 |\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.json")
	if err := finished().writeJSON(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got record
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	direct, ours := got.Scenarios[0].Targets[0].Measures, got.Scenarios[0].Targets[2].Measures
	if _, ok := direct["cpu"]; ok {
		t.Error("direct has the CPU time of a proxy")
	}
	if m := ours["cpu"]; m.Against != "mitm/reference" || *m.Compared != (spread{1.1, 1, 1.2}) || m.Over.Median != 110 || len(m.Turns) != 3 {
		t.Errorf("cpu of agent-vault: %+v", m)
	}
	if m := ours["p50"]; m.Against != "direct" || m.Compared.Median != 5 {
		t.Errorf("p50 of agent-vault: %+v", m)
	}
}
