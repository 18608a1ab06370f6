package broker

import (
	"bytes"
	"errors"
	"testing"

	"agentvault/vault/seal"
)

func TestOpenedValuesAreCleared(t *testing.T) {
	value := []byte("sk-live-3f9a77c1e2d4b6a8")
	missing := errors.New("missing")
	var opened plaintexts
	open := opened.from(func(key string) (seal.Plaintext, error) {
		if key != "K" {
			return seal.Plaintext{}, missing
		}
		return seal.NewPlaintext(value), nil
	})
	if p, err := open("K"); err != nil || p.Len() != len(value) {
		t.Fatalf("%d bytes, %v", p.Len(), err)
	}
	if _, err := open("OTHER"); !errors.Is(err, missing) {
		t.Errorf("%v", err)
	}
	opened.clear()
	if !bytes.Equal(value, make([]byte, len(value))) {
		t.Error("the value is still there")
	}
}
