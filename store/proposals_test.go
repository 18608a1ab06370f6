package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"agentvault/store"
	"agentvault/vault"
)

// sampleProposal has all that a proposal can have.
func sampleProposal(t testing.TB, vaultID string, number int64) vault.Proposal {
	t.Helper()
	id := fmt.Sprintf("p-%s-%d", vaultID, number)
	p := vault.Proposal{
		ID: id, VaultID: vaultID, Number: number, Status: vault.ProposalPending,
		Message: "for developers <&>", UserMessage: "für\n\tMenschen", AskerKind: "agent", AskerName: "robot", Askers: []string{"a-2", "a-1"},
		LinkDigest: vault.DigestToken(id), CreatedAt: epoch.Add(time.Duration(number) * time.Minute), ExpiresAt: epoch.Add(time.Hour),
	}
	const services = `[{"action": "set", "name": "one", "host": "api.example.com", "description": "ünïcode <&>", "enabled": false,
		"auth": {"type": "custom", "headers": {"X-B": "{{ KEY }}", "X-A": "<&> {{ OTHER }}"}}, "rules": [{"methods": ["GET", "HEAD"], "paths": ["/v1/*"]}, {"action": "deny"}]},
		{"action": "set", "name": "two", "host": "*.example.org:8443/v1/*", "enabled": true, "auth": {"type": "passthrough"}},
		{"action": "delete", "name": "three", "host": "three.example.com"}]`
	const credentials = `[{"action": "set", "key": "KEY", "description": "A <key>", "obtain": "https://example.com/?a=b&c=d", "obtain_instructions": "Line one\nline two", "has_value": true},
		{"action": "set", "key": "OTHER"}, {"action": "delete", "key": "OLD"}, {"action": "set", "key": "LAST", "has_value": true}]`
	if err := errors.Join(json.Unmarshal([]byte(services), &p.Services), json.Unmarshal([]byte(credentials), &p.Credentials)); err != nil {
		t.Fatal(err)
	}
	p.Credentials[0].Box, p.Credentials[3].Box = []byte("box of KEY in "+id), []byte{0, 255}
	return p
}

func wantProposal(t *testing.T, db *store.DB, what string, want vault.Proposal) {
	t.Helper()
	read(t, db, func(tx vault.Tx) error {
		byNumber, err1 := tx.ProposalByNumber(want.VaultID, want.Number)
		diff(t, what+": ProposalByNumber", want, byNumber)
		byLink, err2 := tx.ProposalByLink(want.LinkDigest)
		diff(t, what+": ProposalByLink", want, byLink)
		list, err3 := tx.ListProposals(vault.ProposalFilter{VaultID: want.VaultID, Now: epoch, Before: want.Number + 1, Limit: 1})
		diff(t, what+": ListProposals", []vault.Proposal{want}, list)
		return errors.Join(err1, err2, err3)
	})
}

func proposalWhole(t *testing.T, db *store.DB) {
	p, q := sampleProposal(t, "id-1", 1), sampleProposal(t, "id-2", 1)
	q.Services, q.Credentials = nil, []vault.CredentialSlot{{Action: vault.ActionDelete, Key: "KEY"}}
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutVault(emptyVault("id-2", "two-vault")), tx.PutProposal(p), tx.PutProposal(q))
	})
	wantProposal(t, db, "all of it", p)
	wantProposal(t, db, "little", q)
	read(t, db, func(tx vault.Tx) error {
		got, err := tx.ProposalByNumber("id-1", 1)
		// What is compared to fold proposals is their spelling.
		for i, want := range p.Services {
			a, err1 := json.Marshal(want)
			b, err2 := json.Marshal(got.Services[i])
			if string(a) != string(b) || err1 != nil || err2 != nil {
				t.Errorf("it was\n%s\nand is\n%s", a, b)
			}
		}
		return err
	})
	for name, change := range map[string]func(*vault.Proposal){
		"two of one number": func(p *vault.Proposal) { p.ID, p.LinkDigest = "x", vault.DigestToken("x") },
		"two of one link":   func(p *vault.Proposal) { p.ID, p.Number = "x", 7 },
		"one of no vault": func(p *vault.Proposal) {
			p.ID, p.LinkDigest, p.VaultID = "x", vault.DigestToken("x"), "no-vault"
		},
	} {
		other := sampleProposal(t, "id-1", 1)
		change(&other)
		if _, err := db.Write(t.Context(), func(tx vault.Tx) error { return tx.PutProposal(other) }); err == nil {
			t.Errorf("%s: it was stored", name)
		}
	}
}

func proposalFrozen(t *testing.T, db *store.DB) {
	p := sampleProposal(t, "id-1", 1)
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutProposal(p))
	})
	changed := sampleProposal(t, "id-1", 1)
	changed.Number, changed.Services, changed.Message, changed.UserMessage = 9, nil, "x", "x"
	changed.AskerKind, changed.AskerName, changed.LinkDigest = "user", "x", vault.DigestToken("x")
	changed.CreatedAt, changed.ExpiresAt = gone, far
	changed.Credentials[1].Description, changed.Credentials[0].Box = "x", []byte("another box")
	put(t, db, func(tx vault.Tx) error { return tx.PutProposal(changed) })
	wantProposal(t, db, "after a change of what was asked", p)
}

func proposalChanges(t *testing.T, db *store.DB) {
	p, other := sampleProposal(t, "id-1", 1), sampleProposal(t, "id-1", 2)
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutProposal(p), tx.PutProposal(other))
	})
	p.Askers = append(p.Askers, "a-0")
	put(t, db, func(tx vault.Tx) error { return tx.PutProposal(p) })
	wantProposal(t, db, "another who asks", p)
	p.Credentials[0].Box = nil
	put(t, db, func(tx vault.Tx) error { return tx.PutProposal(p) })
	wantProposal(t, db, "one value gone", p)
	p.Credentials[3].Box = nil
	p.Status, p.ReviewedAt, p.ReviewedBy, p.ReviewNote = vault.ProposalRejected, epoch.Add(time.Minute), "a@example.com", "no <&>"
	put(t, db, func(tx vault.Tx) error { return tx.PutProposal(p) })
	wantProposal(t, db, "decided", p)
	wantProposal(t, db, "the other one", other)
}

func proposalsListed(t *testing.T, db *store.DB) {
	at := func(number int64, status string, ends time.Time, askers ...string) vault.Proposal {
		p := sampleProposal(t, "id-1", number)
		p.Status, p.ExpiresAt, p.Askers = status, ends, askers
		return p
	}
	now := epoch.Add(time.Hour)
	all := []vault.Proposal{
		at(1, vault.ProposalApplied, now, "a-1"), at(2, vault.ProposalRejected, now, "a-2", "a-1"), at(3, vault.ProposalExpired, now, "a-1"),
		at(4, vault.ProposalPending, now, "a-1"), at(5, vault.ProposalPending, now.Add(time.Millisecond), "a-2"), at(6, vault.ProposalPending, far, "a-1"),
	}
	all[5].CreatedAt = gone // by a clock that went back
	elsewhere := sampleProposal(t, "id-2", 1)
	elsewhere.ExpiresAt = now
	put(t, db, func(tx vault.Tx) error {
		err := errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutVault(emptyVault("id-2", "two-vault")), tx.PutProposal(elsewhere))
		for _, p := range all {
			err = errors.Join(err, tx.PutProposal(p))
		}
		return err
	})
	for _, row := range []struct {
		name   string
		filter vault.ProposalFilter
		want   []int64
	}{
		{"all", vault.ProposalFilter{}, []int64{6, 5, 4, 3, 2, 1}},
		{"pending, where none at its end is", vault.ProposalFilter{Status: vault.ProposalPending}, []int64{6, 5}},
		{"expired, stored or not", vault.ProposalFilter{Status: vault.ProposalExpired}, []int64{4, 3}},
		{"applied", vault.ProposalFilter{Status: vault.ProposalApplied}, []int64{1}},
		{"rejected", vault.ProposalFilter{Status: vault.ProposalRejected}, []int64{2}},
		{"overdue", vault.ProposalFilter{Overdue: true}, []int64{4}},
		{"of one who asked", vault.ProposalFilter{Asker: "a-1"}, []int64{6, 4, 3, 2, 1}},
		{"of another", vault.ProposalFilter{Asker: "a-2", Status: vault.ProposalPending}, []int64{5}},
		{"of nobody", vault.ProposalFilter{Asker: "a"}, []int64{}},
		{"a page", vault.ProposalFilter{Limit: 2}, []int64{6, 5}},
		{"the next", vault.ProposalFilter{Limit: 2, Before: 5}, []int64{4, 3}},
		{"the last", vault.ProposalFilter{Limit: 2, Before: 2}, []int64{1}},
	} {
		row.filter.VaultID, row.filter.Now = "id-1", now
		read(t, db, func(tx vault.Tx) error {
			list, err := tx.ListProposals(row.filter)
			numbers := []int64{}
			for _, p := range list {
				numbers = append(numbers, p.Number)
				if len(p.Askers) == 0 || len(p.Services) == 0 || p.Credentials[0].Box == nil {
					t.Errorf("%s: %d is not whole", row.name, p.Number)
				}
			}
			diff(t, row.name, row.want, numbers)
			return err
		})
	}
	read(t, db, func(tx vault.Tx) error {
		list, err := tx.ListProposals(vault.ProposalFilter{Overdue: true, Now: now})
		if len(list) != 2 {
			t.Errorf("of all vaults %d are overdue, want 2", len(list))
		}
		return err
	})
}

func proposalNumbers(t *testing.T, db *store.DB) {
	put(t, db, func(tx vault.Tx) error {
		return errors.Join(tx.PutVault(emptyVault("id-1", "one-vault")), tx.PutVault(emptyVault("id-2", "two-vault")))
	})
	for _, step := range []struct {
		vault string
		want  int64
	}{{"id-1", 1}, {"id-1", 2}, {"id-2", 1}, {"id-1", 3}} {
		put(t, db, func(tx vault.Tx) error {
			n, err := tx.NextProposal(step.vault)
			if n != step.want {
				t.Errorf("NextProposal(%s) = %d, want %d", step.vault, n, step.want)
			}
			return errors.Join(err, tx.PutVault(emptyVault("id-1", "one-vault"))) // which leaves the count
		})
	}
}
