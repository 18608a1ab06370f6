package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"agentvault/store"
	"agentvault/vault"
)

// sampleHeld has all that a held request can have.
func sampleHeld(vaultID string, number int64) vault.Held {
	id := fmt.Sprintf("h-%s-%d", vaultID, number)
	return vault.Held{
		ID: id, VaultID: vaultID, Number: number, Status: vault.HeldAnswered, Digest: vault.DigestToken(id),
		AskerKind: vault.KindAgent, AskerID: "a-1", AskerName: "robot", Service: "stripe", Method: "POST", Target: "https://api.example.com:8443", Path: "/v1/%2Fx", Upgrade: "websocket",
		CreatedAt: epoch, Until: epoch.Add(time.Duration(number) * time.Hour), DecidedAt: epoch.Add(time.Second), DecidedBy: "a@example.com", Note: "ünïcode\n<&>",
		Request: "REQUEST", SentAt: epoch.Add(2 * time.Second), BeatAt: epoch.Add(3 * time.Second), AnsweredAt: epoch.Add(4 * time.Second), Kept: true,
	}
}

func twoVaults(tx vault.Tx) error {
	return errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutVault(emptyVault("id-2", "two-vault")))
}

func heldWhole(t *testing.T, db *store.DB) {
	all, little := sampleHeld("id-1", 1), sampleHeld("id-2", 1)
	little = vault.Held{ID: little.ID, VaultID: "id-2", Number: 1, Status: vault.HeldPending, Digest: little.Digest, CreatedAt: epoch, Until: epoch}
	want := func(what string, h vault.Held) {
		t.Helper()
		read(t, db, func(tx vault.Tx) error {
			byID, err1 := tx.HeldByID(h.ID)
			diff(t, what+": HeldByID", h, byID)
			byNumber, err2 := tx.HeldByNumber(h.VaultID, h.Number)
			diff(t, what+": HeldByNumber", h, byNumber)
			byDigest, err3 := tx.HeldByDigest(h.VaultID, h.Digest)
			diff(t, what+": HeldByDigest", h, byDigest)
			return errors.Join(err1, err2, err3)
		})
	}
	put(t, db, func(tx vault.Tx) error { return errors.Join(twoVaults(tx), tx.PutHeld(all), tx.PutHeld(little)) })
	want("all of it", all)
	want("little", little)

	changed := sampleHeld("id-1", 1)
	changed.Service, changed.Method, changed.Path, changed.AskerID, changed.CreatedAt = "other", "GET", "/", "a-2", far
	changed.Status, changed.Until, changed.Note, changed.Kept, changed.BeatAt = vault.HeldSent, far, "", false, time.Time{}
	put(t, db, func(tx vault.Tx) error { return tx.PutHeld(changed) })
	all.Status, all.Until, all.Note, all.Kept, all.BeatAt = vault.HeldSent, far, "", false, time.Time{}
	want("put again", all)

	again := sampleHeld("id-1", 2)
	again.Digest = all.Digest
	put(t, db, func(tx vault.Tx) error { return tx.PutHeld(again) })
	want("of one digest the newest", again)
}

func heldListed(t *testing.T, db *store.DB) {
	put(t, db, func(tx vault.Tx) error {
		err := twoVaults(tx)
		for i := range int64(3) {
			h := sampleHeld("id-1", i+1)
			h.Status = vault.HeldPending
			err = errors.Join(err, tx.PutHeld(h), tx.PutHeld(sampleHeld("id-2", i+1)))
		}
		return err
	})
	for _, tt := range []struct {
		f    vault.HeldFilter
		want []string
	}{
		{vault.HeldFilter{VaultID: "id-1"}, []string{"h-id-1-3", "h-id-1-2", "h-id-1-1"}},
		{vault.HeldFilter{VaultID: "id-1", Limit: 2}, []string{"h-id-1-3", "h-id-1-2"}},
		{vault.HeldFilter{VaultID: "id-1", Before: 2}, []string{"h-id-1-1"}},
		{vault.HeldFilter{VaultID: "id-1", Pending: epoch.Add(time.Hour)}, []string{"h-id-1-3", "h-id-1-2"}},
		{vault.HeldFilter{Pending: epoch.Add(2 * time.Hour)}, []string{"h-id-1-3"}},
		{vault.HeldFilter{VaultID: "id-2", Pending: epoch}, nil},
	} {
		read(t, db, func(tx vault.Tx) error {
			list, err := tx.ListHeld(tt.f)
			var ids []string
			for _, h := range list {
				ids = append(ids, h.ID)
			}
			diff(t, fmt.Sprintf("%+v", tt.f), tt.want, ids)
			return err
		})
	}
}

func heldForgotten(t *testing.T, db *store.DB) {
	put(t, db, func(tx vault.Tx) error {
		err := twoVaults(tx)
		for i := range int64(2) {
			h := sampleHeld("id-1", i+1)
			err = errors.Join(err, tx.PutHeld(h), tx.PutHeldBox(h.ID, "request", []byte("request of "+h.ID)), tx.PutHeldBox(h.ID, "answer", []byte("answer of "+h.ID)))
		}
		return err
	})
	state := func(what, want string, boxes, rows time.Time) {
		t.Helper()
		read(t, db, func(tx vault.Tx) error {
			got := ""
			for _, id := range []string{"h-id-1-1", "h-id-1-2"} {
				_, err := tx.HeldByID(id)
				_, err1 := tx.HeldBox(id, "request")
				_, err2 := tx.HeldBox(id, "answer")
				for _, err := range []error{err, err1, err2} {
					switch {
					case err == nil:
						got += "1"
					case errors.Is(err, vault.ErrNotFound):
						got += "0"
					default:
						got += err.Error()
					}
				}
			}
			more, err := tx.HeldToForget(boxes, rows)
			diff(t, what, want, fmt.Sprint(got, " ", more))
			return err
		})
	}
	hour := func(n int) time.Time { return epoch.Add(time.Duration(n)*time.Hour - time.Millisecond) }
	state("before", "111111 false", hour(1), gone)
	state("one is over", "111111 true", hour(2), gone)
	put(t, db, func(tx vault.Tx) error { return tx.ForgetHeld(hour(2), gone) })
	state("its boxes are gone", "100111 false", hour(2), hour(1))
	state("it could go", "100111 true", hour(2), hour(2))
	put(t, db, func(tx vault.Tx) error { return tx.ForgetHeld(hour(2), hour(2)) })
	state("it is gone", "000111 false", hour(2), hour(2))
	put(t, db, func(tx vault.Tx) error { return tx.ForgetHeld(hour(2), hour(2)) })
	put(t, db, func(tx vault.Tx) error { return tx.DeleteVault("id-1") })
	state("with the vault", "000000 false", far, far)
}
