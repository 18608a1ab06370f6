package vault_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"agentvault/vault"
	"agentvault/vault/seal"
)

// approve approves what the owner is shown now.
func (f *fixture) approve(t *testing.T, number int64, values map[string]seal.Plaintext) (vault.Review, error) {
	t.Helper()
	rv := f.review(t, number)
	return f.Approve(t.Context(), f.owner, mainVault, number, vault.Approval{Digest: rv.Digest, Values: values, Note: "fine"})
}

func TestAReviewShowsWhatWouldChange(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	_, err := f.SetServices(ctx, f.owner, mainVault, services(t, `[
		{"name": "stripe", "host": "api.stripe.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}, "rules": [{"methods": ["GET"]}], "enabled": false},
		{"name": "old", "host": "old.example.com", "auth": {"type": "passthrough"}}]`))
	must(t, err)
	_, err = f.SetUnmatchedHosts(ctx, f.owner, mainVault, vault.UnmatchedTunnel)
	must(t, err)
	n := newProposal(t, `[{"action": "set", "name": "stripe", "host": "*.example.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}},
		{"action": "delete", "name": "old"},
		{"action": "set", "name": "new", "host": "new.example.com", "auth": {"type": "bearer", "token": "NEW_KEY"}}]`,
		`[{"action": "set", "key": "NEW_KEY"}, {"action": "set", "key": "STRIPE_KEY"}, {"action": "set", "key": "GIVEN_KEY"}]`)
	n.Values = values("GIVEN_KEY", "some value")
	f.propose(t, f.agent, n)
	rv := f.review(t, 1)
	v := f.get(t, mainVault)
	after := services(t, `[{"name": "stripe", "host": "*.example.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}},
		{"name": "new", "host": "new.example.com", "auth": {"type": "bearer", "token": "NEW_KEY"}}]`)
	diff(t, "changes", []vault.ServiceDiff{
		{Name: "stripe", Before: &v.Services[0], After: &after[0]}, {Name: "old", Before: &v.Services[1]}, {Name: "new", After: &after[1]},
	}, rv.Changes)
	type row struct {
		key                   string
		given, exists, needed bool
	}
	var rows []string
	for _, d := range rv.Values {
		rows = append(rows, fmt.Sprint(row{d.Key, d.HasValue, d.Exists, d.Needed}))
	}
	diff(t, "values", []string{"{NEW_KEY false false true}", "{STRIPE_KEY false true false}", "{GIVEN_KEY true false false}"}, rows)
	diff(t, "warnings", []string{
		"service stripe is for every host directly below example.com",
		"service stripe moves from api.stripe.com to *.example.com",
		"service stripe loses its rules: every method and path would be allowed",
		"service stripe is disabled, and would be enabled",
		"credential STRIPE_KEY exists, and would go to a host it never went to: *.example.com",
		"service old goes, and the vault tunnels hosts without a service: agents would reach old.example.com without its rules",
		"service old goes: stripe, by *.example.com, would decide about old.example.com",
	}, rv.Warnings)
	if rv.Vault != mainVault || len(rv.Digest) != 64 {
		t.Errorf("vault %q, digest %q", rv.Vault, rv.Digest)
	}
}

// Approving applies all of it in one transaction, and records who did it.
func TestApprove(t *testing.T) {
	f := newFixture(t)
	n := newProposal(t, `[{"action": "set", "name": "github", "host": "api.github.com", "auth": {"type": "basic", "username": "GIVEN", "password": "NEEDED"}}, {"action": "delete", "name": "stripe"}]`,
		`[{"action": "set", "key": "GIVEN"}, {"action": "set", "key": "NEEDED"}, {"action": "set", "key": "BOTH"}, {"action": "delete", "key": "STRIPE_KEY"}]`)
	n.Values = values("GIVEN", "sk_live_given", "BOTH", "sk_live_agents")
	f.propose(t, f.agent, n)
	before := f.revision(t)
	_, err := f.approve(t, 1, values("BOTH", "sk_live_persons"))
	refused(t, "without a value", vault.CodeBadRequest, "credentials: the value of NEEDED is needed", err)
	_, err = f.approve(t, 1, values("NEEDED", "sk_live_needed", "OTHER", "some value"))
	refused(t, "with a value too many", vault.CodeBadRequest, "credentials: the proposal does not set OTHER", err)
	_, err = f.approve(t, 1, values("NEEDED", "sk_live_needed", "STRIPE_KEY", "some value"))
	refused(t, "with a value for what goes", vault.CodeBadRequest, "credentials: the proposal does not set STRIPE_KEY", err)
	_, err = f.approve(t, 1, values("NEEDED", "sk_live_needed\n"))
	refused(t, "with a bad value", vault.CodeBadRequest, "credential NEEDED: the value ends with a line break; leave it out", err)
	if rv := f.review(t, 1); rv.Status != vault.ProposalPending || f.revision(t) != before {
		t.Errorf("after refusals it is %s, revision %d, want pending, %d", rv.Status, f.revision(t), before)
	}
	f.pass(time.Minute)
	rv, err := f.approve(t, 1, values("NEEDED", "sk_live_needed", "BOTH", "sk_live_persons"))
	must(t, err)
	if rv.Status != vault.ProposalApplied || rv.ReviewedAt != f.now() || rv.ReviewedBy != email || rv.ReviewNote != "fine" || f.revision(t) != before+1 {
		t.Errorf("%s at %v by %s (%s), revision %d", rv.Status, rv.ReviewedAt, rv.ReviewedBy, rv.ReviewNote, f.revision(t))
	}
	v := f.get(t, mainVault)
	diff(t, "services", services(t, `[{"name": "github", "host": "api.github.com", "auth": {"type": "basic", "username": "GIVEN", "password": "NEEDED"}}]`), v.Services)
	for key, want := range map[string]string{"GIVEN": "sk_live_given", "NEEDED": "sk_live_needed", "BOTH": "sk_live_persons"} {
		if got := f.open(t, v, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if len(v.Credentials) != 3 {
		t.Errorf("credentials are %v", v.Credentials)
	}
	diff(t, "the record", vault.Event{
		Time: f.now(), ActorKind: "user", ActorID: "owner", ActorName: email, Action: "proposal.decide", VaultID: v.ID, Vault: mainVault,
		Object: "applied 1: set github delete stripe set GIVEN set NEEDED set BOTH delete STRIPE_KEY",
	}, f.lastEvent(t))
	own, err := f.Proposal(t.Context(), f.agent, mainVault, 1)
	if err != nil || own.Status != vault.ProposalApplied || own.ReviewNote != "fine" {
		t.Errorf("the agent sees %v, %v", own, err)
	}
}

// What is approved is tried on the vault as it is by then.
func TestApproveTriesTheChangeAgain(t *testing.T) {
	ctx := t.Context()
	for _, row := range []struct {
		name   string
		change func(*fixture) error
		want   refusal
	}{
		{"the service that goes has gone", func(f *fixture) error { return f.RemoveService(ctx, f.owner, mainVault, "stripe") },
			refusal{vault.CodeNotFound, `services[1]: there is no service "stripe" in the vault main-vault`}},
		{"the credential that is used has gone", func(f *fixture) error { return f.DeleteCredential(ctx, f.owner, mainVault, "USED_KEY") },
			refusal{vault.CodeBadRequest, "services: github refers to the credential USED_KEY, which the vault does not have; add it to credentials, so that a person can give its value"}},
		{"the credential that goes has gone", func(f *fixture) error { return f.DeleteCredential(ctx, f.owner, mainVault, "OLD_KEY") },
			refusal{vault.CodeCredentialNotFound, `there is no credential "OLD_KEY" in the vault main-vault`}},
		{"the credential that goes is used", func(f *fixture) error {
			_, err := f.AddServices(ctx, f.owner, mainVault, services(t, `[{"name": "late", "host": "late.example.com", "auth": {"type": "bearer", "token": "OLD_KEY"}}]`), nil, false)
			return err
		}, refusal{vault.CodeBadRequest, "credentials: OLD_KEY cannot be deleted, the service late uses it"}},
		{"nothing", func(*fixture) error { return nil }, refusal{}},
	} {
		f := newFixture(t)
		f.set(t, "USED_KEY", "some value")
		f.set(t, "OLD_KEY", "some value")
		f.propose(t, f.agent, newProposal(t, `[{"action": "set", "name": "github", "host": "api.github.com", "auth": {"type": "bearer", "token": "USED_KEY"}}, {"action": "delete", "name": "stripe"}]`,
			`[{"action": "delete", "key": "OLD_KEY"}]`))
		must(t, row.change(f))
		before := f.snapshot(t)
		if _, err := f.approve(t, 1, nil); row.want.code == "" {
			must(t, err)
			continue
		} else {
			refused(t, row.name, row.want.code, row.want.message, err)
		}
		diff(t, row.name+": the instance", before, f.snapshot(t))
		if _, err := f.Reject(ctx, f.owner, mainVault, 1, ""); err != nil {
			t.Errorf("%s: it cannot even be rejected: %v", row.name, err)
		}
	}
}

// A value that is there stays, unless one is given.
func TestApproveKeepsWhatIsThere(t *testing.T) {
	f := newFixture(t)
	f.propose(t, f.agent, slot("STRIPE_KEY"))
	_, err := f.approve(t, 1, nil)
	must(t, err)
	if v := f.get(t, mainVault); v.Credentials["STRIPE_KEY"].Version != 1 {
		t.Errorf("version %d, want 1", v.Credentials["STRIPE_KEY"].Version)
	}
	f.propose(t, f.agent, slot("STRIPE_KEY"))
	_, err = f.approve(t, 2, values("STRIPE_KEY", "sk_live_second"))
	must(t, err)
	v := f.get(t, mainVault)
	if f.open(t, v, "STRIPE_KEY") != "sk_live_second" || len(f.kept(t)) != 1 {
		t.Error("the value given is not the credential's, or the one before is not kept")
	}
}

// From pending there is one way to each end, and from an end there is none.
func TestTransitionsOfProposals(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	ends := map[string]func(number int64){
		vault.ProposalApplied:  func(n int64) { _, err := f.approve(t, n, values("A_KEY", "some value")); must(t, err) },
		vault.ProposalRejected: func(n int64) { _, err := f.Reject(ctx, f.owner, mainVault, n, "no"); must(t, err) },
		vault.ProposalExpired:  func(int64) { f.pass(7 * 24 * time.Hour); f.refresh(t) },
	}
	for _, swept := range []bool{false, true} {
		for status, end := range ends {
			p := f.propose(t, f.agent, slot("A_KEY"))
			end(p.Number)
			if swept {
				must(t, f.Sweep(ctx))
			}
			was := f.review(t, p.Number)
			if was.Status != status {
				t.Errorf("it is %s, want %s", was.Status, status)
			}
			want := "the proposal is not pending any more: it is " + status
			_, err := f.Approve(ctx, f.owner, mainVault, p.Number, vault.Approval{Digest: was.Digest, Values: values("A_KEY", "some value")})
			refused(t, "approving", vault.CodeProposalClosed, want, err)
			_, err = f.Reject(ctx, f.owner, mainVault, p.Number, "")
			refused(t, "rejecting", vault.CodeProposalClosed, want, err)
			f.pass(8 * 24 * time.Hour)
			must(t, f.Sweep(ctx))
			f.refresh(t)
			diff(t, "what it is later", was.Proposal, f.review(t, p.Number).Proposal)
		}
	}
	for _, number := range []int64{0, -1, 1 << 40} {
		_, err := f.Reject(ctx, f.owner, mainVault, number, "")
		refused(t, "one that there is not", vault.CodeProposalNotFound, fmt.Sprintf("there is no proposal %d in the vault main-vault", number), err)
	}
}

func TestReject(t *testing.T) {
	f := newFixture(t)
	f.propose(t, f.agent, githubProposal(t, "ghp_proposed"))
	before := f.snapshot(t)
	_, err := f.Reject(t.Context(), f.owner, mainVault, 1, strings.Repeat("ü", 2001))
	refused(t, "a long note", vault.CodeBadRequest, "note: at most 2000 characters of UTF-8 without control characters", err)
	f.pass(time.Hour) // no fresh login is needed
	rv, err := f.Reject(t.Context(), f.owner, mainVault, 1, strings.Repeat("ü", 2000))
	must(t, err)
	if rv.Status != vault.ProposalRejected || rv.ReviewedBy != email || rv.ReviewedAt != f.now() {
		t.Errorf("%s by %s at %v", rv.Status, rv.ReviewedBy, rv.ReviewedAt)
	}
	diff(t, "the instance", before, f.snapshot(t))
	if last := f.lastEvent(t); last.Action != "proposal.reject" || last.Object != "rejected 1: set github set GITHUB_TOKEN" {
		t.Errorf("the record says %v", last)
	}
}

// A value that came with a proposal is sealed, for that proposal only, and is
// gone when it is decided or has expired.
func TestProposedValuesAreSealedAndGo(t *testing.T) {
	for status, end := range map[string]func(*fixture){
		"approved": func(f *fixture) { _, err := f.approve(t, 1, nil); must(t, err) },
		"replaced by the person": func(f *fixture) {
			_, err := f.approve(t, 1, values("GITHUB_TOKEN", "ghp_persons"))
			must(t, err)
		},
		"rejected":          func(f *fixture) { _, err := f.Reject(t.Context(), f.owner, mainVault, 1, ""); must(t, err) },
		"expired":           func(f *fixture) { f.pass(7 * 24 * time.Hour); must(t, f.Sweep(t.Context())) },
		"the vault deleted": func(f *fixture) { must(t, f.DeleteVault(t.Context(), f.owner, mainVault)) },
	} {
		f := newFixture(t)
		p := f.propose(t, f.agent, githubProposal(t, "ghp_proposed"))
		id, box := p.VaultID, p.Credentials[0].Box
		if files := f.files(t); strings.Contains(files, "ghp_proposed") || !strings.Contains(files, string(box)) {
			t.Fatal("the value stands there in clear, or not at all")
		}
		context := seal.Context{Vault: id, Credential: "GITHUB_TOKEN", Field: "proposed value " + p.ID, Version: 1}
		value, err := f.key.ForVault(id).Open(context, box)
		if err != nil || string(value.Bytes()) != "ghp_proposed" {
			t.Errorf("%q, %v", value.Bytes(), err)
		}
		for _, other := range []seal.Context{
			{Vault: id, Credential: "GITHUB_TOKEN", Field: vault.FieldValue, Version: 1},
			{Vault: id, Credential: "STRIPE_KEY", Field: context.Field, Version: 1},
			{Vault: id, Credential: "GITHUB_TOKEN", Field: "proposed value x", Version: 1},
		} {
			if _, err := f.key.ForVault(id).Open(other, box); err == nil {
				t.Errorf("the box opens as %v", other)
			}
		}
		end(f)
		if strings.Contains(f.files(t), string(box)) {
			t.Errorf("%s: the box still stands in the files of the store", status)
		}
	}
}

// Expiry is by the clock for everyone; the sweep only stores it.
func TestProposalsExpire(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	f.propose(t, f.agent, githubProposal(t, "ghp_proposed"))
	f.pass(time.Hour)
	f.propose(t, f.agent, slot("A_KEY"))
	f.pass(7*24*time.Hour - time.Hour - time.Millisecond)
	listed := func(status string, want ...int64) {
		t.Helper()
		list, err := f.Proposals(ctx, f.agent, mainVault, status, 0, 0)
		must(t, err)
		numbers := []int64{}
		for _, p := range list {
			numbers = append(numbers, p.Number)
		}
		diff(t, status, want, numbers)
	}
	listed(vault.ProposalPending, 2, 1)
	f.pass(time.Millisecond)
	for range 2 {
		listed(vault.ProposalPending, 2)
		listed(vault.ProposalExpired, 1)
		listed("", 2, 1)
		if rv := f.review(t, 1); rv.Status != vault.ProposalExpired || !rv.ReviewedAt.IsZero() || rv.ReviewedBy != "" {
			t.Errorf("it is %v", rv.Proposal)
		}
		must(t, f.Sweep(ctx))
	}
	if last := f.lastEvent(t); last.ActorKind != "server" || last.Object != "expired 1" || last.Vault != mainVault {
		t.Errorf("the record says %v", last)
	}
	events := len(f.events(t))
	must(t, f.Sweep(ctx))
	if len(f.events(t)) != events {
		t.Error("a sweep records again what it found expired")
	}
}

// The link shows the proposal for a day, to whoever has it, and nothing else.
func TestTheLinkShowsAProposalForADay(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	p, other := f.propose(t, f.agent, githubProposal(t, "ghp_proposed")), f.propose(t, f.agent, slot("A_KEY"))
	shows := func(when string, number int64, token string, want bool) {
		t.Helper()
		rv, err := f.ProposalByLink(ctx, number, token)
		if want {
			must(t, err)
			// The agent has the link too: nothing of the vault.
			diff(t, when, vault.Review{Proposal: f.review(t, number).Proposal, Vault: mainVault}, rv)
			return
		}
		refused(t, when, vault.CodeProposalNotFound, "there is no such proposal, or its link is older than a day; sign in to see it", err)
	}
	shows("at first", 1, p.LinkToken, true)
	shows("with the other's number", 2, p.LinkToken, false)
	shows("with the other's link", 1, other.LinkToken, false)
	shows("with no link", 1, "", false)
	shows("with an unknown link", 1, vault.NewToken(vault.PrefixApprove), false)
	shows("with an agent's token", 1, f.agentToken, false)
	f.lives(t, "the link as a caller's token", p.LinkToken, false)
	_, err := f.Reject(ctx, f.owner, mainVault, 1, "no")
	must(t, err)
	f.pass(24*time.Hour - time.Millisecond)
	shows("decided", 1, p.LinkToken, true)
	f.pass(time.Millisecond)
	shows("a day later", 1, p.LinkToken, false)
	if strings.Contains(f.files(t), p.LinkToken[len(vault.PrefixApprove):]) {
		t.Error("the link's token stands in the files of the store")
	}
}

// Agents see their own; so do people below members; members see all.
func TestWhoSeesProposals(t *testing.T) {
	f := newCast(t) // with the agent's first one
	ctx := t.Context()
	proxy := f.actor(t, "vault-proxy")
	f.propose(t, proxy, slot("A_KEY"))
	f.propose(t, f.session, slot("B_KEY"))
	for _, row := range []struct {
		name string
		by   vault.Caller
		want []int64
	}{
		{"agent", f.agent, []int64{1}},
		{"another agent", f.actor(t, "agent with the role admin"), []int64{}},
		{"session", f.session, []int64{3}},
		{"proxy", proxy, []int64{2}},
		{"member", f.actor(t, "vault-member"), []int64{3, 2, 1}},
	} {
		list, err := f.Proposals(ctx, row.by, mainVault, "", 0, 0)
		must(t, err)
		numbers := []int64{}
		for _, p := range list {
			numbers = append(numbers, p.Number)
		}
		diff(t, row.name, row.want, numbers)
	}
	page, err := f.Proposals(ctx, f.owner, mainVault, vault.ProposalPending, 3, 1)
	if must(t, err); len(page) != 1 || page[0].Number != 2 {
		t.Errorf("the page before 3 is %v", page)
	}
	_, err = f.Proposals(ctx, f.owner, mainVault, "open", 0, 0)
	refused(t, "a status that there is not", vault.CodeBadRequest, `status: "open" is none of pending, applied, rejected, expired`, err)
}

// A person who names no vault gets what is pending in all of theirs.
func TestProposalsOfAllVaults(t *testing.T) {
	ctx := t.Context()
	f := newFixture(t)
	_, err := f.CreateVault(ctx, f.owner, "other-vault")
	must(t, err)
	f.propose(t, f.agent, slot("FIRST_KEY"))
	f.pass(time.Minute)
	_, err = f.Propose(ctx, f.owner, "other-vault", slot("SECOND_KEY"))
	must(t, err)
	_, err = f.Reject(ctx, f.owner, mainVault, 1, "")
	must(t, err)
	f.pass(time.Minute)
	f.propose(t, f.agent, slot("THIRD_KEY"))
	list, err := f.Proposals(ctx, f.owner, "", "", 0, 100)
	must(t, err)
	var got []string
	for _, p := range list {
		got = append(got, fmt.Sprint(p.Vault, " ", p.Number, " ", p.Status))
	}
	diff(t, "pending, newest first", []string{"main-vault 2 pending", "other-vault 1 pending"}, got)
	for _, c := range []vault.Caller{f.member, f.noAccess} {
		if list, _ := f.Proposals(ctx, c, "", "", 0, 100); len(list) != 0 {
			t.Errorf("somebody without a role in either sees %v", list)
		}
	}
	_, err = f.Proposals(ctx, f.owner, "", vault.ProposalApplied, 0, 100)
	wantCode(t, "all that were ever applied", vault.CodeVaultRequired, err)
	_, err = f.Proposals(ctx, f.agent, "", "", 0, 100)
	wantCode(t, "an agent without a vault", vault.CodeVaultRequired, err)
}

func TestProposingNothing(t *testing.T) {
	f := newFixture(t)
	_, err := f.Propose(t.Context(), f.agent, mainVault, newProposal(t, `[{"action": "set", "name": "stripe", "host": "api.stripe.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}}]`, `[]`))
	refused(t, "what is there", vault.CodeConflict, "nothing would change: the vault has these services already", err)
}
