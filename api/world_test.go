package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"agentvault/api"
	"agentvault/vault"
)

// callers are the columns of the matrix, in order:
//
//   - nobody, a token that the vault never gave, a sign-in that has ended;
//   - people by their role on the instance: an owner, a member without a role
//     in the vault "default", who has no access; and the owner again, whose
//     password was given long ago;
//   - members of the instance by their role in "default", an admin whose
//     password was given long ago, and the admin of another vault;
//   - a session of "default" and one of another vault; agents by their role in
//     "default", and one that is admin of another vault; a lease of a session.
const callers = "nobody garbage ended  owner outsider no-access old-owner  proxy member admin old-admin other-admin  session other-session agent-proxy agent-member agent-admin other-agent lease"

// A world has a caller of every kind, and something of every kind to act upon.
// Its database is closed; each copy of it is an instance of its own.
type world struct {
	*fixture
	tokens map[string]string // by caller
	words  map[string]string // <word> → what the world has for it
}

// held are the values that the world's vaults hold: of a credential's versions,
// of a second one, and of the slots of a proposal. No answer may hold any.
var held = []string{secretValue, "sk-live-before-b81d5c", "sk-live-oldest-07aa41", "sk-live-second-5e99b2", "sk-live-proposed-c4417f"}

const longAgo = 6 * time.Minute

func newWorld(t testing.TB) *world {
	t.Helper()
	f := newFixture(t)
	w := &world{fixture: f, tokens: map[string]string{
		"nobody": "", "garbage": vault.NewToken(vault.PrefixLogin), "owner": f.owner,
	}, words: map[string]string{"password": ownerPassword, "value": secretValue}}
	f.post("/v1/vaults", f.owner, api.NameRequest{Name: "team-a"}).want(t, 201)
	w.fillVault()
	w.people()
	w.agents()
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) fillVault() {
	w.t.Helper()
	w.send("PUT", servicesPath, w.owner, `{"services":[
		{"name":"api","host":"api.test","auth":{"type":"bearer","token":"API_KEY"},"rules":[{"methods":["GET"],"paths":["/v1/*"]}]},
		{"name":"off","host":"off.test","enabled":false,"auth":{"type":"bearer","token":"SECOND_KEY"}}]}`).want(w.t, 200)
	for _, value := range []string{held[2], held[1], held[0]} {
		w.post("/v1/credentials", w.owner, api.SetCredentialsRequest{Vault: "default", Credentials: map[string]string{"API_KEY": value, "SECOND_KEY": held[3]}}).want(w.t, 200)
	}
	w.logged(refusedRequest("a", "https://other.test:443"))
}

// people makes them with the owner's password.
func (w *world) people() {
	w.t.Helper()
	inDefault := func(role string) map[string]string { return map[string]string{w.vaultID("default"): role} }
	var hash string
	w.write(func(tx vault.Tx) error {
		u, err := tx.UserByEmail(ownerEmail)
		hash = u.PasswordHash
		return err
	})
	for name, u := range map[string]vault.User{
		"outsider":    {Role: vault.RoleMember},
		"no-access":   {Role: vault.RoleNoAccess, Vaults: inDefault(vault.VaultAdmin)}, // of no use
		"proxy":       {Role: vault.RoleMember, Vaults: inDefault(vault.VaultProxy)},
		"member":      {Role: vault.RoleMember, Vaults: inDefault(vault.VaultMember)},
		"admin":       {Role: vault.RoleMember, Vaults: inDefault(vault.VaultAdmin)},
		"other-admin": {Role: vault.RoleMember, Vaults: map[string]string{w.vaultID("team-a"): vault.VaultAdmin}},
		"idle":        {Role: vault.RoleMember, Vaults: inDefault(vault.VaultMember)},
	} {
		u.ID, u.Email, u.PasswordHash, u.CreatedAt = "user-"+name, name+"@example.test", hash, w.clock.now()
		w.write(func(tx vault.Tx) error { return tx.PutUser(u) })
		w.tokens[name] = w.signIn(u.Email, 0, 0)
		w.words[name+"-login"] = w.loginID(w.tokens[name])
	}
	w.tokens["old-owner"] = w.signIn(ownerEmail, longAgo, 0)
	w.tokens["old-admin"] = w.signIn("admin@example.test", longAgo, 0)
	w.tokens["ended"] = w.signIn(ownerEmail, 13*time.Hour, 13*time.Hour)
}

func (f *fixture) write(do func(vault.Tx) error) {
	f.t.Helper()
	if _, err := f.db.Write(f.t.Context(), do); err != nil {
		f.t.Fatal(err)
	}
}

// signIn makes a sign-in whose password was given and that was seen a while
// ago. It spares the test the hashing.
func (f *fixture) signIn(email string, given, seen time.Duration) (token string) {
	f.t.Helper()
	token = vault.NewToken(vault.PrefixLogin)
	now := f.clock.now()
	f.write(func(tx vault.Tx) error {
		u, err := tx.UserByEmail(email)
		if err != nil {
			return err
		}
		return tx.PutLogin(vault.Login{
			ID: "login-" + token[9:19], Digest: vault.DigestToken(token), UserID: u.ID, Client: "a test",
			CreatedAt: now.Add(-given), AuthenticatedAt: now.Add(-given), SeenAt: now.Add(-seen), ExpiresAt: now.Add(24 * time.Hour),
		})
	})
	return token
}

func (f *fixture) loginID(token string) (id string) {
	f.t.Helper()
	f.write(func(tx vault.Tx) error {
		l, err := tx.LoginByDigest(vault.DigestToken(token))
		id = l.ID
		return err
	})
	return id
}

// agents makes agents, sessions, invites and proposals.
func (w *world) agents() {
	w.t.Helper()
	t := w.t
	for _, a := range []struct{ caller, vault, role string }{
		{"agent-proxy", "default", "proxy"}, {"agent-member", "default", "member"}, {"agent-admin", "default", "admin"},
		{"other-agent", "team-a", "admin"}, {"agent-idle", "default", "proxy"},
	} {
		var made api.AgentResponse
		w.post("/v1/agents", w.owner, api.AgentRequest{Name: a.caller, Vaults: []api.AgentVault{{VaultName: a.vault, VaultRole: a.role}}}).into(t, 201, &made)
		w.tokens[a.caller] = made.Token
	}
	w.post("/v1/agents", w.owner, api.AgentRequest{Name: "agent-part", Vaults: []api.AgentVault{{VaultName: "default", VaultRole: "proxy", Services: []string{}}}}).into(t, 201, new(api.AgentResponse))
	w.send("PUT", "/v1/agents/agent-part/vaults/default/services/api", w.owner, `{"lasts_seconds":3600}`).into(t, 200, new(api.AgentInfo))
	for name, vaultName := range map[string]string{"session": "default", "other-session": "team-a", "idle-session": "default"} {
		var s api.SessionResponse
		w.post("/v1/sessions", w.owner, api.SessionRequest{Vault: vaultName, Label: name, Lease: name == "idle-session"}).into(t, 200, &s)
		w.tokens[name], w.words[name] = s.Token, s.ID
		if s.LeaseToken != "" {
			w.tokens["lease"] = s.LeaseToken
		}
	}
	var a api.AgentInviteResponse
	w.post("/v1/agents/invites", w.owner, api.AgentInviteRequest{Name: "agent-invited", Vaults: []api.AgentVault{{VaultName: "default", VaultRole: "proxy"}}}).into(t, 201, &a)
	var u api.UserInviteResponse
	w.post("/v1/users/invites", w.owner, api.UserInviteRequest{Email: "invited@example.test"}).into(t, 201, &u)
	w.words["agent-invite"], w.words["agent-invite-token"] = a.ID, a.Token
	w.words["user-invite"], w.words["user-invite-token"] = u.ID, u.Token

	// One with a value, and one that a person must give one to.
	var p api.ProposalCreated
	w.send("POST", "/v1/proposals", w.tokens["session"], fmt.Sprintf(proposalBody, "new", "NEW_KEY", held[4])).into(t, 201, &p)
	w.words["approve-token"] = p.ApprovalURL[strings.Index(p.ApprovalURL, "token=")+len("token="):]
	var rv api.ProposalReview
	w.send("GET", "/v1/proposals/1/review"+q, w.owner, "").into(t, 200, &rv)
	w.words["digest"] = rv.Digest

	held, err := vault.NewHolder(w.db, w.key, w.clock.now).Hold(t.Context(), vault.Held{
		VaultID: w.vaultID("default"), AskerKind: vault.KindSession, AskerID: w.words["session"], AskerName: "session",
		Service: "api", Method: "POST", Target: "https://api.test", Path: "/v1/",
	}, vault.HeldContent{Query: "a=b", HasQuery: true, Body: []byte("words\x1b"), Header: []vault.HeldField{{Name: "Content-Type", Value: "text/plain"}}})
	if err != nil {
		t.Fatal(err)
	}
	w.words["held-digest"] = fmt.Sprintf("%x", held.Digest)
}

// fill puts the world's things into a text.
func (w *world) fill(text string) string {
	for word, thing := range w.words {
		text = strings.ReplaceAll(text, "<"+word+">", thing)
	}
	return text
}

const (
	q               = "?vault=default"
	servicesPath    = "/v1/vaults/default/services"
	loginBody       = `{"email":"` + ownerEmail + `","password":"<password>"}`
	servicesBody    = `{"services":[{"name":"new","host":"new.test","auth":{"type":"passthrough"}}]}`
	credentialsBody = `{"vault":"default","credentials":{"NEW_KEY":"<value>"}}`

	// proposalBody wants a service's name, a key and its value.
	proposalBody = `{"services":[{"action":"set","name":"%[1]s","host":"%[1]s.test","auth":{"type":"bearer","token":"%[2]s"}}],` +
		`"credentials":[{"action":"set","key":"%[2]s","value":"%[3]s"}],"message":"m","user_message":"u"}`
)
