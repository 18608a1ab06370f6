package gallery_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var only = flag.String("only", "", "run only the rows whose class/name contains one of these, parted by commas")

// classes are the kinds of attack, each with a file of rows and the fewest that
// it has.
var classes = map[string]int{
	"destination": 25, "hosts": 20, "framing": 35, "upstream-framing": 30, "headers": 30, "paths": 25,
	"ssrf": 10, "redirects": 6, "reflection": 40, "exhaustion": 15,
}

func galleryRows(t testing.TB) []*row {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []*row
	for _, f := range files {
		rows, err := readRows(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rows...)
	}
	return all
}

// TestRows: at least 250 attacks, every class has its own, no two have the same
// name.
func TestRows(t *testing.T) {
	rows := galleryRows(t)
	counts := make(map[string]int)
	names := make(map[string]bool)
	for _, r := range rows {
		counts[r.class]++
		id := r.class + "/" + r.name
		if names[id] {
			t.Errorf("%s is there twice", id)
		}
		names[id] = true
		if r.fields["want"] == "" && !slices.ContainsFunc(entranceNames, func(e string) bool { return r.fields["want@"+e] != "" }) {
			t.Errorf("%s does not say what must happen", id)
		}
		for _, e := range strings.Fields(r.fields["on"]) {
			if !slices.Contains(entranceNames, e) || (e == "http2") != (r.request == "") && (r.request == "" || r.frames == nil) {
				t.Errorf("%s has nothing to send on %q", id, e)
			}
		}
		if len(r.cases()) == 0 {
			t.Errorf("%s is sent nowhere", id)
		}
	}
	if len(rows) < 250 {
		t.Errorf("%d rows, want 250", len(rows))
	}
	for class, fewest := range classes {
		if counts[class] < fewest {
			t.Errorf("class %s has %d rows, want %d", class, counts[class], fewest)
		}
	}
	if len(counts) != len(classes) {
		t.Errorf("classes %v, want %v", counts, classes)
	}
	t.Logf("%d rows: %v", len(rows), counts)
}

// lanes is how many servers share the cases. In each, one case runs at a time,
// so that what its origins record belongs to it.
const lanes = 4

// TestGallery runs every row on each of its entrances, and then looks for the
// credentials in all that came of it.
func TestGallery(t *testing.T) {
	worlds := newWorlds(t)
	t.Run("rows", func(t *testing.T) {
		for label, problems := range runGallery(t, worlds) {
			t.Error(label + ": " + problems)
		}
	})
	t.Run("canary sweep", func(t *testing.T) {
		for _, w := range worlds {
			w.sweep(t)
		}
	})
}

func newWorlds(t testing.TB) []*world {
	t.Helper()
	worlds := make([]*world, lanes)
	for i := range worlds {
		worlds[i] = newWorld(t)
	}
	return worlds
}

// runGallery returns what is wrong, by case.
func runGallery(t testing.TB, worlds []*world) map[string]string {
	t.Helper()
	cases := make(chan *testcase)
	var mu sync.Mutex
	failed := make(map[string]string)
	count := 0
	var running sync.WaitGroup
	for _, w := range worlds {
		running.Go(func() {
			for c := range cases {
				began := time.Now()
				problems := w.try(c)
				if d := time.Since(began); d > 1500*time.Millisecond {
					t.Logf("%s took %v", c.label, d)
				}
				mu.Lock()
				count++
				if problems != "" {
					failed[c.label] = problems
				}
				mu.Unlock()
			}
		})
	}
	for _, r := range galleryRows(t) {
		for _, c := range r.cases() {
			if chosen(c.label) {
				cases <- c
			}
		}
	}
	close(cases)
	running.Wait()
	t.Logf("%d cases, %d failed", count, len(failed))
	return failed
}

func chosen(label string) bool {
	return *only == "" || slices.ContainsFunc(strings.Split(*only, ","), func(s string) bool { return strings.Contains(label, s) })
}

// try runs one case in a session of its own, and the good request behind it.
func (w *world) try(c *testcase) (problems string) {
	if err := w.mint(); err != nil {
		return err.Error()
	}
	host := c.row.fields["host"]
	if host == "" {
		host = "api.test"
	}
	c.prepare(w.vars(c.entrance, host))
	behave, err := c.behaviourOf()
	if err != nil {
		return err.Error()
	}
	for _, o := range w.origins {
		o.begin(behave)
	}
	o := w.run(c)
	bad := w.check(c, o)
	if err := w.followUp(c.entrance, "api.test"); err != nil {
		bad = append(bad, err.Error())
	}
	if bad == nil {
		return ""
	}
	return fmt.Sprintf("\n  %s\n  testdata/%s.txt:%d\n  sent: %.1500q %.1500q\n  got: %v", strings.Join(bad, "\n  "), c.class, c.line, c.request, c.frames, o)
}
