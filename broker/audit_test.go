package broker_test

import (
	"testing"

	"agentvault/broker/audit"
)

var auditKey = []byte("a key of the audit chain, 32 byte")

// verify walks the chain of a log, and returns how many records it has.
func verify(t *testing.T, path string) int {
	t.Helper()
	r, err := audit.Verify(t.Context(), audit.VerifyOptions{Path: path, Key: auditKey})
	if err != nil || r.Bad != nil {
		t.Fatalf("%v %v", r.Bad, err)
	}
	return int(r.Records)
}
