package vault_test

import (
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"agentvault/vault"
)

// A decision is about what the person was shown: whatever changed since, it is
// refused.
func TestAnApprovalIsBoundToWhatWasShown(t *testing.T) {
	const changed = "the vault or the proposal is not what you were shown; look at the proposal again"
	n := githubProposal(t, "ghp_proposed")
	n.Credentials = append(n.Credentials, vault.CredentialSlot{Action: vault.ActionSet, Key: "STRIPE_KEY"})
	inDB := func(change func(p *vault.Proposal)) func(*testing.T, *fixture) {
		return func(t *testing.T, f *fixture) { f.tamper(t, 1, change) }
	}
	command := func(do func(f *fixture) error) func(*testing.T, *fixture) {
		return func(t *testing.T, f *fixture) { t.Helper(); must(t, do(f)) }
	}
	for _, row := range []struct {
		name   string
		change func(*testing.T, *fixture)
		holds  bool
	}{
		{"nothing", func(*testing.T, *fixture) {}, true},
		{"a service", command(func(f *fixture) error {
			_, err := f.EnableService(t.Context(), f.owner, mainVault, "stripe", false)
			return err
		}), false},
		{"a service more", command(func(f *fixture) error {
			_, err := f.AddServices(t.Context(), f.owner, mainVault, []vault.Service{passthrough(t, "new", "new.example.com")}, nil, false)
			return err
		}), false},
		{"the value of its slot", command(func(f *fixture) error {
			_, err := f.SetCredentials(t.Context(), f.owner, mainVault, values("STRIPE_KEY", "sk_live_second"), false)
			return err
		}), false},
		{"a value for its new slot", command(func(f *fixture) error {
			_, err := f.SetCredentials(t.Context(), f.owner, mainVault, values("GITHUB_TOKEN", "another value"), false)
			return err
		}), false},
		{"what is done with other hosts", command(func(f *fixture) error {
			_, err := f.SetUnmatchedHosts(t.Context(), f.owner, mainVault, vault.UnmatchedTunnel)
			return err
		}), false},
		{"another credential", command(func(f *fixture) error {
			_, err := f.SetCredentials(t.Context(), f.owner, mainVault, values("OTHER", "some value"), false)
			return err
		}), true},
		{"another who asks the same", command(func(f *fixture) error {
			_, err := f.Propose(t.Context(), f.session, mainVault, n)
			return err
		}), true},
		{"another vault", command(func(f *fixture) error { _, err := f.CreateVault(t.Context(), f.owner, "other-vault"); return err }), true},
		{"in the database: its host", inDB(func(p *vault.Proposal) { p.Services[0].Host = "evil.example.com" }), false},
		{"in the database: its auth", inDB(func(p *vault.Proposal) {
			p.Services[0].Auth = &services(t, `[{"name": "x", "auth": {"type": "bearer", "token": "STRIPE_KEY"}}]`)[0].Auth
		}), false},
		{"in the database: a service more", inDB(func(p *vault.Proposal) { p.Services = append(p.Services, p.Services[0]) }), false},
		{"in the database: a key", inDB(func(p *vault.Proposal) { p.Credentials[1].Key = "OTHER" }), false},
		{"in the database: its words", inDB(func(p *vault.Proposal) { p.UserMessage = "harmless" }), false},
		{"in the database: its box", inDB(func(p *vault.Proposal) { p.Credentials[0].Box = append([]byte{1}, p.Credentials[0].Box...) }), false},
		{"in the database: no box", inDB(func(p *vault.Proposal) { p.Credentials[0].Box = nil }), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t)
			f.propose(t, f.agent, n)
			shown := f.review(t, 1)
			row.change(t, f)
			before := f.snapshot(t)
			_, err := f.Approve(t.Context(), f.owner, mainVault, 1, vault.Approval{Digest: shown.Digest})
			if row.holds {
				must(t, err)
				return
			}
			refused(t, "the approval", vault.CodeProposalChanged, changed, err)
			diff(t, "the instance", before, f.snapshot(t))
			if now := f.review(t, 1); now.Digest == shown.Digest || now.Status != vault.ProposalPending {
				t.Errorf("the digest is the same, or the proposal is %s", now.Status)
			}
		})
	}
	f := newFixture(t)
	f.propose(t, f.agent, n)
	for _, digest := range []string{"", "0", strings.Repeat("0", 64), strings.ToUpper(f.review(t, 1).Digest)} {
		_, err := f.Approve(t.Context(), f.owner, mainVault, 1, vault.Approval{Digest: digest})
		refused(t, "the digest "+digest, vault.CodeProposalChanged, changed, err)
	}
}

// tamper changes a proposal behind the Registry's back, and the store's, which
// never changes what was asked for.
func (f *fixture) tamper(t *testing.T, number int64, change func(*vault.Proposal)) {
	t.Helper()
	id := f.get(t, mainVault).ID
	var p vault.Proposal
	must(t, f.db.Read(t.Context(), func(tx vault.Tx) (err error) {
		p, err = tx.ProposalByNumber(id, number)
		return err
	}))
	change(&p)
	db, err := sql.Open("sqlite", filepath.Join(f.dir, "vault.db"))
	must(t, err)
	defer db.Close()
	asJSON := func(v any) string {
		b, err := json.Marshal(v)
		must(t, err)
		return string(b)
	}
	_, err = db.ExecContext(t.Context(), `UPDATE proposals SET services = ?, credentials = ?, user_message = ? WHERE id = ?`,
		asJSON(p.Services), asJSON(p.Credentials), p.UserMessage, p.ID)
	must(t, err)
	_, err = db.ExecContext(t.Context(), `DELETE FROM proposal_values WHERE proposal_id = ?`, p.ID)
	must(t, err)
	for _, slot := range p.Credentials {
		if slot.Box != nil {
			_, err = db.ExecContext(t.Context(), `INSERT INTO proposal_values (proposal_id, key, box) VALUES (?, ?, ?)`, p.ID, slot.Key, slot.Box)
			must(t, err)
		}
	}
}

// 64 who approve one proposal at once leave one winner, and one transaction.
func TestAProposalIsApprovedOnce(t *testing.T) {
	for _, every := range []int{65, 8} { // how many of them reject: none, and an eighth
		approvedOnce(t, every)
	}
}

func approvedOnce(t *testing.T, every int) {
	t.Helper()
	f := newCast(t)
	people := []vault.Caller{f.owner, f.actor(t, "vault-member"), f.actor(t, "vault-admin")}
	before, events, versions := f.revision(t), len(f.events(t)), len(f.kept(t))
	n := slot("STRIPE_KEY")
	n.Values = values("STRIPE_KEY", "sk_live_proposed")
	number := f.propose(t, f.agent, n).Number
	digest := f.review(t, number).Digest
	errs := atOnce(64, func(i int) error {
		if i%every == every-1 {
			_, err := f.Reject(t.Context(), people[i%3], mainVault, number, "")
			return err
		}
		_, err := f.Approve(t.Context(), people[i%3], mainVault, number, vault.Approval{Digest: digest})
		return err
	})
	status := f.review(t, number).Status
	won, applied := 0, int64(0)
	if status == vault.ProposalApplied {
		applied = 1
	}
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		refused(t, "who came later", vault.CodeProposalClosed, "the proposal is not pending any more: it is "+status, err)
	}
	if every > 64 && applied != 1 {
		t.Errorf("it is %s", status)
	}
	if won != 1 || len(f.events(t)) != events+2 || f.revision(t) != before+applied || len(f.kept(t)) != versions+int(applied) {
		t.Errorf("%s: %d won; %d events more, want 2; revision %d, want %d; %d versions kept, want %d",
			status, won, len(f.events(t))-events, f.revision(t), before+applied, len(f.kept(t)), versions+int(applied))
	}
}
