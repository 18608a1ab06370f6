package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// testsslExpected are findings above LOW that are meant to be so: a tunnel's
// certificate is made when it is asked for and lasts for a day, in place of ways
// to revoke it.
var testsslExpected = []string{"cert_expirationStatus", "cert_notAfter", "cert_revocation"}

// TestTestssl: TLS inside of a tunnel has no finding above LOW but those that
// come of its certificate's short life. The authority is the vault's own, which
// testssl is told to trust.
func TestTestssl(t *testing.T) {
	testssl := suiteProgram(t, "testssl")
	w := newSuiteWorld(t, injected)
	serveHello(t, w)
	w.startRelay(t)
	report := filepath.Join(t.TempDir(), "report.json")
	out, err := exec.Command(testssl, "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1",
		"--add-ca", w.caFile, "--jsonfile", report, fmt.Sprintf("localhost:%d", w.ports[0])).CombinedOutput()
	text, readErr := os.ReadFile(report)
	var findings []struct{ ID, Severity, Finding string }
	if readErr == nil {
		readErr = json.Unmarshal(text, &findings)
	}
	if readErr != nil || len(findings) < 100 {
		t.Fatalf("%d findings, %v, %v\n%s", len(findings), err, readErr, out)
	}
	counts := make(map[string]int)
	for _, f := range findings {
		counts[f.Severity]++
		switch {
		case f.Severity == "OK" || f.Severity == "INFO":
		case f.Severity == "LOW" || f.Severity == "WARN" || slices.Contains(testsslExpected, f.ID):
			t.Logf("%s %s: %s", f.Severity, f.ID, f.Finding)
		default:
			t.Errorf("%s %s: %s", f.Severity, f.ID, f.Finding)
		}
	}
	t.Log(counts)
}
