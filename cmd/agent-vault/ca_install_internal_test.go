package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"agentvault/ca"
)

// What is installed twice is there once, and goes again.
func TestInstalledRootsComeAndGo(t *testing.T) {
	root, err := ca.Create(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	files := t.TempDir()
	places := map[string]*trustStorePlace{"files": filesPlace(files, []string{"true"})}
	if _, err := exec.LookPath("certutil"); err == nil {
		places["nss"] = nssPlace(filepath.Join(t.TempDir(), "nssdb"))
	} else {
		t.Log("nss is not tried: needs certutil")
	}
	for name, p := range places {
		for _, step := range []struct {
			wanted bool
			change string
		}{{true, "added"}, {true, "none"}, {false, "removed"}, {false, "none"}} {
			changes, err := p.bring(t.Context(), name, []*x509.Certificate{root.Certificate()}, step.wanted)
			if err != nil || len(changes) != 1 || changes[0].Change != step.change || changes[0].SHA256 != root.Fingerprint() {
				t.Errorf("%s, wanted %t: %v, %v; want %s", name, step.wanted, changes, err, step.change)
			}
		}
	}
	if left, err := os.ReadDir(files); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
