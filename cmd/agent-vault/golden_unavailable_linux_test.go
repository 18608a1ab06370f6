package main_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// TestGoldenUnavailable: R15. When the audit record cannot be written nothing
// is sent, and when it can be again the vault goes on by itself.
func TestGoldenUnavailable(t *testing.T) {
	w := newWorld(t)
	for _, e := range entrances {
		if a := w.do(e, w.token, call{host: "api.test", target: "/before"}); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		info, err := os.Stat(w.path("data/audit.log"))
		if err != nil {
			t.Fatal(err)
		}
		full := w.limitFiles(t, uint64(info.Size())+50)
		for n := range 3 {
			wantFault(t, w.do(e, w.token, call{host: "api.test", target: fmt.Sprintf("/%s/%d", e, n)}), 503, "unavailable")
		}
		if got := w.origin.received(); strings.Contains(got, "GET /"+string(e)) {
			t.Errorf("sent without a record:\n%s", got)
		}
		w.limitFiles(t, full)
		if a := w.do(e, w.token, call{host: "api.test", target: "/after"}); a.status != 200 {
			t.Errorf("%s: when there is room again: %d %s", e, a.status, a.body)
		}
	}
}

// limitFiles bounds the files that the server writes, as a full disk would, and
// returns the bound before.
func (i *instance) limitFiles(t *testing.T, bytes uint64) (before uint64) {
	t.Helper()
	var old syscall.Rlimit
	pid := uintptr(i.cmd.Process.Pid)
	if _, _, errno := syscall.Syscall6(syscall.SYS_PRLIMIT64, pid, syscall.RLIMIT_FSIZE, 0, uintptr(unsafe.Pointer(&old)), 0, 0); errno != 0 {
		t.Skipf("needs the right to limit the server's files: %v", errno)
	}
	limit := syscall.Rlimit{Cur: bytes, Max: old.Max}
	if _, _, errno := syscall.Syscall6(syscall.SYS_PRLIMIT64, pid, syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
		t.Skipf("needs the right to limit the server's files: %v", errno)
	}
	return old.Cur
}
