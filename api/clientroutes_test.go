package api_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"agentvault/api"
	"agentvault/vault"
)

// A calledRoutes notes what a client asks for.
type calledRoutes struct{ seen []string }

func (c *calledRoutes) RoundTrip(r *http.Request) (*http.Response, error) {
	c.seen = append(c.seen, r.Method+" "+r.URL.EscapedPath())
	return http.DefaultTransport.RoundTrip(r)
}

// TestClientReachesEveryRoute: the client has a method for every route that the
// document lists, but for those that are for browsers and monitors, and each
// does what the route is for.
func TestClientReachesEveryRoute(t *testing.T) {
	f := newFixture(t)
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	called := new(calledRoutes)
	as := func(token string) *api.Client {
		return &api.Client{Address: srv.URL, Token: token, Transport: called}
	}
	clientOfPeople(t, as, f.owner)
	clientOfVaults(t, as, f.owner)
	clientOfAgents(t, as, f.owner)
	clientOfProposals(t, as, f.owner)
	clientOfApprovals(t, f, as(f.owner))
	clientOfTheRecord(t, as, f.owner)

	for _, o := range operations(document(t)) {
		if slices.Contains([]string{"/health", "/ready", "/metrics", "/v1/openapi.json", "/join/{token}", "/approve/{id}"}, o.path) {
			continue
		}
		pattern := regexp.MustCompile("^" + regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(o.String()), `[^/]+`) + "$")
		if !slices.ContainsFunc(called.seen, pattern.MatchString) {
			t.Errorf("the client never asks for %s", o)
		}
	}
}

// ok holds a call that answers.
func ok[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
		return v
	}
}

func done(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func expect(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

type clients func(token string) *api.Client

func clientOfPeople(t *testing.T, as clients, owner string) {
	t.Helper()
	ctx, c := t.Context(), as(owner)
	nobody := as("")
	expect(t, ok[api.InstanceStatus](t)(nobody.Status(ctx)), api.InstanceStatus{Initialized: true})
	_, err := nobody.Register(ctx, api.LoginRequest{Email: ownerEmail, Password: ownerPassword})
	wantRefused(t, err, 409, "conflict", "this instance has an owner already; sign in with: agent-vault auth login")
	second := as(ok[api.LoginResponse](t)(nobody.Login(ctx, api.LoginRequest{Email: ownerEmail, Password: ownerPassword})).Token)
	expect(t, ok[api.UserInfo](t)(second.Me(ctx)).Email, ownerEmail)
	logins := ok[api.LoginList](t)(second.Logins(ctx)).Logins
	expect(t, len(logins), 2)
	done(t, second.Logout(ctx))
	third := as(ok[api.LoginResponse](t)(nobody.Login(ctx, api.LoginRequest{Email: ownerEmail, Password: ownerPassword})).Token)
	for _, l := range ok[api.LoginList](t)(third.Logins(ctx)).Logins {
		if l.Current {
			done(t, c.RevokeLogin(ctx, l.ID))
		}
	}
	expect(t, ok[api.LoginInfo](t)(c.Reauthenticate(ctx, api.PasswordRequest{Password: ownerPassword})).Current, true)

	i := ok[api.UserInviteResponse](t)(c.InviteUser(ctx, api.UserInviteRequest{Email: "a/b@example.test", Role: "member"}))
	expect(t, ok[api.InviteList](t)(c.UserInvites(ctx)).Invites[0].ID, i.ID)
	joined := as(ok[api.LoginResponse](t)(nobody.Join(ctx, api.JoinRequest{Token: i.Token, Password: ownerPassword})).Token)
	done(t, joined.ChangePassword(ctx, api.ChangePasswordRequest{OldPassword: ownerPassword, NewPassword: "another long password"}))
	i = ok[api.UserInviteResponse](t)(c.InviteUser(ctx, api.UserInviteRequest{Email: "other@example.test"}))
	done(t, c.RevokeUserInvite(ctx, i.ID))

	expect(t, ok[api.MemberInfo](t)(c.SetMember(ctx, "default", "a/b@example.test", "proxy")).Role, "proxy")
	expect(t, ok[api.MemberList](t)(c.Members(ctx, "default")).Members, []api.MemberInfo{{Email: "a/b@example.test", Role: "proxy"}})
	done(t, c.RemoveMember(ctx, "default", "a/b@example.test"))
	expect(t, ok[api.UserInfo](t)(c.SetUserRole(ctx, "a/b@example.test", "no-access")).Role, "no-access")
	expect(t, len(ok[api.UserList](t)(c.Users(ctx)).Users), 2)
	done(t, c.RemoveUser(ctx, "a/b@example.test"))
}

func clientOfVaults(t *testing.T, as clients, owner string) {
	t.Helper()
	ctx, c := t.Context(), as(owner)
	name, tunnel := "renamed", "tunnel"
	expect(t, ok[api.VaultInfo](t)(c.CreateVault(ctx, "team-a")).Name, "team-a")
	expect(t, ok[api.VaultInfo](t)(c.ChangeVault(ctx, "team-a", api.VaultChange{Name: &name})).Name, "renamed")
	expect(t, ok[api.VaultInfo](t)(c.ChangeVault(ctx, "renamed", api.VaultChange{UnmatchedHosts: &tunnel})).UnmatchedHosts, "tunnel")
	expect(t, len(ok[api.VaultList](t)(c.Vaults(ctx)).Vaults), 2)
	expect(t, len(ok[api.ServiceList](t)(c.SetServices(ctx, "renamed", api.ServiceList{Services: []vault.Service{}})).Services), 0)
	added := ok[api.ServiceList](t)(c.AddFromCatalog(ctx, "renamed", api.CatalogRequest{Entry: "github"})).Services
	expect(t, ok[vault.Service](t)(c.Service(ctx, "renamed", added[0].Name)).Host, added[0].Host)
	expect(t, ok[vault.Service](t)(c.EnableService(ctx, "renamed", added[0].Name, false)).Enabled, false)
	done(t, c.RemoveService(ctx, "renamed", added[0].Name))
	expect(t, len(ok[api.ServicesReview](t)(c.ReviewServices(ctx, "renamed", api.ServiceList{Services: added[:1]})).Services), 1)
	expect(t, len(ok[api.ServiceList](t)(c.AddServices(ctx, "renamed", api.AddServicesRequest{Services: added[:1]})).Services), 1)
	expect(t, len(ok[api.ServiceList](t)(c.Services(ctx, "renamed")).Services), len(added))
	expect(t, len(ok[api.ServiceStateList](t)(c.ServiceStates(ctx, "renamed")).Services), len(added))
	if len(ok[api.CatalogList](t)(c.Catalog(ctx, "github")).Entries) == 0 {
		t.Error("the catalog has no github")
	}
	if e, err := c.CatalogEntry(ctx, "github"); err != nil || e.Name != "github" {
		t.Errorf("%+v, %v", e, err)
	}

	for _, value := range []string{"the first", "the second"} {
		set := api.SetCredentialsRequest{Vault: "renamed", Credentials: map[string]string{"A_KEY": value}}
		expect(t, ok[api.SetCredentialsResponse](t)(c.SetCredentials(ctx, set)).Set, []string{"A_KEY"})
	}
	expect(t, ok[api.DummyInfo](t)(c.Dummy(ctx, "renamed", "A_KEY")).Key, "A_KEY")
	expect(t, len(ok[api.VersionList](t)(c.CredentialVersions(ctx, "renamed", "A_KEY")).Versions), 1)
	var refused *api.ClientError
	if _, err := c.BeginConnection(ctx, "renamed", "none", api.ConnectRequest{RedirectURI: "http://127.0.0.1:1/"}); !errors.As(err, &refused) || refused.Code != "not_found" {
		t.Errorf("connecting a service that is not there: %v", err)
	}
	if _, err := c.FinishConnection(ctx, api.ConnectionCode{State: "unknown", Code: "a"}); !errors.As(err, &refused) || refused.Code != "not_found" {
		t.Errorf("a connection that was not begun: %v", err)
	}
	expect(t, ok[api.CredentialInfo](t)(c.RollBackCredential(ctx, "A_KEY", api.RollBackRequest{Vault: "renamed", Version: 1})).Version, int64(3))
	expect(t, len(ok[api.CredentialList](t)(c.Credentials(ctx, "renamed")).Credentials), 1)
	done(t, c.DeleteCredential(ctx, "renamed", "A_KEY"))
	expect(t, len(ok[api.VaultInfo](t)(c.Vault(ctx, "renamed")).Credentials), 0)
	expect(t, len(ok[api.ApplyResponse](t)(c.Apply(ctx, api.ApplyRequest{Vaults: []api.ApplyVault{{Name: "renamed"}}})).Changes), 1)
	done(t, c.DeleteVault(ctx, "renamed"))
	expect(t, string(ok[[]byte](t)(c.CAPEM(ctx))), caPEM)
	clientOfTheCA(t, c)
	expect(t, string(ok[[]byte](t)(as("").AgentSkill(ctx))), api.Skill())
	expect(t, ok[api.ServerInfo](t)(c.Server(ctx)).Audit.LastSeq, uint64(7))
}

func clientOfAgents(t *testing.T, as clients, owner string) {
	t.Helper()
	ctx, c := t.Context(), as(owner)
	s := ok[api.SessionResponse](t)(c.MintSession(ctx, api.SessionRequest{Vault: "default", Label: "run", Lease: true}))
	if ends := ok[api.LeaseInfo](t)(as(s.LeaseToken).RenewLease(ctx)).EndsAt; ends.IsZero() {
		t.Error("no end of the lease")
	}
	expect(t, ok[api.SessionList](t)(c.Sessions(ctx, "default")).Sessions[0].Leased, true)
	done(t, as(s.Token).RevokeSelf(ctx))
	s = ok[api.SessionResponse](t)(c.MintSession(ctx, api.SessionRequest{Vault: "default"}))
	expect(t, ok[vault.Discovery](t)(as(s.Token).Discover(ctx)).Vault, "default")
	done(t, c.RevokeSession(ctx, s.ID))

	grants := []api.AgentVault{{VaultName: "default", VaultRole: "proxy"}}
	a := ok[api.AgentResponse](t)(c.CreateAgent(ctx, api.AgentRequest{Name: "robot", Vaults: grants}))
	expect(t, a.AgentName, "robot")
	expect(t, ok[api.AgentInfo](t)(c.RenameAgent(ctx, "robot", "renamed")).Name, "renamed")
	none := ok[api.AgentInfo](t)(c.GrantVault(ctx, "renamed", "default", api.GrantRequest{VaultRole: "member", Services: []string{}}))
	expect(t, none.Vaults, []api.AgentVault{{VaultName: "default", VaultRole: "member", Services: []string{}}})
	expect(t, ok[api.AgentList](t)(c.Agents(ctx)).Agents, []api.AgentInfo{none})
	service := ok[api.ServiceList](t)(c.AddServices(ctx, "default", api.AddServicesRequest{Services: []vault.Service{limited(t)}})).Services[0].Name
	ending := ok[api.AgentInfo](t)(c.GrantService(ctx, "renamed", "default", service, api.GrantServiceRequest{LastsSeconds: 60, Uses: 2})).Vaults[0].Ending
	expect(t, len(ending), 1)
	expect(t, ending[0].Uses, int64(2))
	expect(t, ok[api.AgentInfo](t)(c.RevokeService(ctx, "renamed", "default", service)).Vaults, none.Vaults)
	limits := ok[api.LimitList](t)(c.ServiceLimits(ctx, "default", service)).Limits
	expect(t, limits, []api.LimitInfo{
		{Limit: "5 uses", Kind: "uses", Name: "uses", Most: "5", Used: []api.LimitUsed{{Used: "0", Left: "5"}}},
		{Limit: "10 requests of each agent in 1m", Kind: "requests", Most: "10", Used: []api.LimitUsed{}},
	})
	done(t, c.RemoveService(ctx, "default", service))
	expect(t, ok[api.AgentInfo](t)(c.RevokeVault(ctx, "renamed", "default")).Vaults, []api.AgentVault{})
	if ok[api.AgentResponse](t)(c.RotateAgent(ctx, "renamed")).Token == a.Token {
		t.Error("the same token")
	}
	if ok[api.AgentResponse](t)(c.RotateAgentOver(ctx, "renamed", time.Minute)).Token == a.Token {
		t.Error("the same token")
	}
	done(t, c.RevokeAgent(ctx, "renamed"))
	done(t, c.DeleteAgent(ctx, "renamed"))

	i := ok[api.AgentInviteResponse](t)(c.InviteAgent(ctx, api.AgentInviteRequest{Name: "robot", Vaults: grants}))
	expect(t, ok[api.InviteList](t)(c.AgentInvites(ctx)).Invites[0].Status, "pending")
	expect(t, ok[api.RedeemResponse](t)(as("").RedeemAgent(ctx, i.Token)).Vaults, grants)
	i = ok[api.AgentInviteResponse](t)(c.InviteAgent(ctx, api.AgentInviteRequest{Name: "other"}))
	done(t, c.RevokeAgentInvite(ctx, i.ID))
	_, err := as("").RedeemAgent(ctx, i.Token)
	wantRefused(t, err, 410, "invite_revoked", "this invite has been revoked; ask for a new one")
}

func clientOfProposals(t *testing.T, as clients, owner string) {
	t.Helper()
	ctx, c := t.Context(), as(owner)
	asker := as(ok[api.SessionResponse](t)(c.MintSession(ctx, api.SessionRequest{Vault: "default"})).Token)
	ask := func(key string) int64 {
		t.Helper()
		return ok[api.ProposalCreated](t)(asker.Propose(ctx, "", api.ProposalRequest{Credentials: []api.ProposedCredential{{Action: "set", Key: key}}})).ID
	}
	first, second := ask("ONE_KEY"), ask("TWO_KEY")
	rv := ok[api.ProposalReview](t)(c.ReviewProposal(ctx, "default", first))
	expect(t, rv.Values[0].Needed, true)
	approved := ok[api.ProposalInfo](t)(c.ApproveProposal(ctx, "default", first, api.ApproveRequest{Digest: rv.Digest, Credentials: map[string]string{"ONE_KEY": "some value"}}))
	expect(t, approved.Status, "applied")
	expect(t, ok[api.ProposalInfo](t)(c.RejectProposal(ctx, "default", second, "no")).ReviewNote, "no")
	expect(t, ok[api.ProposalInfo](t)(asker.Proposal(ctx, "", second, time.Minute)).Status, "rejected")
	expect(t, len(ok[api.ProposalList](t)(asker.Proposals(ctx, "", "", "", 1)).Proposals), 1)
	expect(t, ok[api.ProposalList](t)(c.Proposals(ctx, "default", "rejected", "", 0)).Proposals[0].ID, second)
}

func clientOfTheRecord(t *testing.T, as clients, owner string) {
	t.Helper()
	ctx, c := t.Context(), as(owner)
	events := ok[api.EventList](t)(c.Events(ctx, "", "", 2))
	expect(t, len(events.Events), 2)
	expect(t, len(ok[api.EventList](t)(c.Events(ctx, "default", events.NextCursor, 1)).Events), 1)
	expect(t, len(ok[api.RequestList](t)(c.Requests(ctx, api.RequestFilter{Vault: "default"})).Requests), 0)
	expect(t, len(ok[api.RequestSeries](t)(c.RequestSeries(ctx, api.RequestFilter{Vault: "default"}, 30)).Points), 30)
	expect(t, len(ok[api.RefusedHostList](t)(c.RefusedHosts(ctx, api.RequestFilter{Vault: "default"})).Hosts), 0)
	question := api.PolicyQuestion{Vault: "default", Method: "GET", URL: "other.test"}
	expect(t, ok[api.PolicyVerdict](t)(c.CheckPolicy(ctx, question)).Allowed, false)
	question.Headers = map[string]string{"accept": "*/*"}
	expect(t, ok[api.PolicyVerdict](t)(c.CheckPolicy(ctx, question)).Allowed, false)
	expect(t, ok[api.ReplayResponse](t)(c.ReplayPolicy(ctx, api.ReplayRequest{Vault: "default", Services: []vault.Service{}})).Vault, "default")
}

// TestClientEscapes: what people call things stays in its place of the path.
func TestClientEscapes(t *testing.T) {
	f := newFixture(t)
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	c := &api.Client{Address: srv.URL, Token: f.owner}
	for name, err := range map[string]error{
		"redeem": func() error { _, err := c.RedeemAgent(t.Context(), "../v1/auth/logout?x="); return err }(),
		"user":   c.RemoveUser(t.Context(), "../vaults/default"),
		"agent":  c.DeleteAgent(t.Context(), "../vaults/default"),
		"member": c.RemoveMember(t.Context(), "default/services?", "x"),
	} {
		if err == nil || !strings.Contains(err.Error(), "there is no") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Vault(t.Context(), "default"); err != nil {
		t.Error(err)
	}
}

// limited is a service with limits.
func limited(t *testing.T) (s vault.Service) {
	t.Helper()
	if err := json.Unmarshal([]byte(`{"name":"limited","host":"limited.example.com","auth":{"type":"passthrough"},"limits":[{"uses":5},{"requests":10,"window":"1m","per":"agent"}]}`), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func clientOfTheCA(t *testing.T, c *api.Client) {
	t.Helper()
	ctx := t.Context()
	first := ok[api.CAInfo](t)(c.CA(ctx))
	expect(t, len(first.Roots), 1)
	expect(t, first.Rotation, (*api.Rotation)(nil))
	both := ok[api.CAInfo](t)(c.RotateCA(ctx, api.RotateCARequest{OverlapSeconds: 3600}))
	expect(t, []string{both.Roots[0].Role, both.Roots[1].Role}, []string{"next", "current"})
	expect(t, both.Roots[1], first.Roots[0])
	expect(t, both.Rotation.EndsAt.Sub(both.Rotation.StartedAt), time.Hour)
	_, err := c.RotateCA(ctx, api.RotateCARequest{OverlapSeconds: 3600})
	wantRefused(t, err, 409, "conflict", "the root is being replaced already, until "+both.Rotation.EndsAt.Format(time.RFC3339)+"; end that first: agent-vault ca rotate --finish")
	after := ok[api.CAInfo](t)(c.FinishCA(ctx))
	expect(t, len(after.Roots), 1)
	expect(t, after.Roots[0].SHA256, both.Roots[0].SHA256)
	expect(t, after.Roots[0].Role, "current")
	_, err = c.FinishCA(ctx)
	wantRefused(t, err, 409, "conflict", "the root is not being replaced")
	at := ok[api.CAInfo](t)(c.RotateCA(ctx, api.RotateCARequest{}))
	expect(t, len(at.Roots), 1)
	if at.Roots[0].SHA256 == after.Roots[0].SHA256 {
		t.Error("the root is the same after a rotation without an overlap")
	}
}
