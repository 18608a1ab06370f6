package main_test

import (
	"os"
	"strings"
	"testing"

	"agentvault/api"
)

// TestServerInfo: an owner learns what runs, where, and whether the end of the
// audit log is as it was written.
func TestServerInfo(t *testing.T) {
	i := newInstance(t, "")
	i.register()
	owner := &api.Client{Address: i.API, Token: i.login()}
	look := func() api.ServerInfo {
		t.Helper()
		s, err := owner.Server(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := look()
	if s.Schema != 14 || !strings.HasPrefix(s.Go, "go") || s.Version == "" || s.Audit.Problem != "" || s.Audit.Segments != 1 ||
		len(s.Listeners) != 2 || s.Listeners[0].URL != i.API || "http://"+s.Listeners[1].Address != i.Proxy {
		t.Errorf("%+v", s)
	}
	report, _, _ := i.verifyAudit()
	if last := look().Audit.LastSeq; report.LastSeq > last || report.LastSeq == 0 {
		t.Errorf("the last record is %d, by the server %d", report.LastSeq, last)
	}
	if err := os.Truncate(i.path("data/audit.log"), 10); err != nil {
		t.Fatal(err)
	}
	if s := look(); s.Audit.Problem == "" {
		t.Errorf("cut: %+v", s.Audit)
	}
}
