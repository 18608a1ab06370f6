package main_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// axeDigest is the SHA-256 of axe.min.js of the version in the Makefile.
const axeDigest = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"

// axe reads the suite, which runs in the page itself.
func axe(t *testing.T) string {
	t.Helper()
	dir := os.Getenv(suitesVariable)
	if dir == "" {
		t.Skip("needs axe-core, which make axe brings (docs/suites.md)")
	}
	script, err := os.ReadFile(filepath.Join(dir, "node_modules/axe-core/axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(script); hex.EncodeToString(sum[:]) != axeDigest {
		t.Fatalf("axe.min.js is another one: %x", sum)
	}
	return string(script)
}

// A violation is what axe found, and where.
type violation struct {
	ID, Impact, Help string
	Nodes            []string
}

const runAxe = `axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => (
	{ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.map(n => n.html.slice(0, 200) + ' ' + (n.any[0] || n.all[0] || n.none[0] || {message: ''}).message)})))`

// TestAxe: axe-core finds nothing serious or critical on any page, in either
// theme, with all that can be opened. Lesser findings are logged.
func TestAxe(t *testing.T) {
	script := axe(t)
	s := newShowroom(t)
	for _, p := range screens {
		p.open = true
		for _, theme := range themes {
			for width, name := range map[int64]string{phone: "phone", desktop: "desktop"} {
				b := s.show(p, theme, width)
				evaluate[any](b, script+"; null")
				for _, v := range evaluate[[]violation](b, runAxe) {
					say := t.Logf
					if v.Impact == "serious" || v.Impact == "critical" {
						say = t.Errorf
					}
					say("%s, %s, %s: %s (%s): %s\n\t%s", p.name, theme, name, v.ID, v.Impact, v.Help, strings.Join(v.Nodes, "\n\t"))
				}
			}
		}
	}
}
