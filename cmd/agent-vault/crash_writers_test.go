package main_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"agentvault/api"
	"agentvault/vault"
)

// The eight kinds of writer. Each has a few things that it writes again and
// again, so that what is known of them lives through many deaths.

// credentialKeys is how many credentials the credentialWriter has.
const credentialKeys = 4

// A credentialWriter replaces values. A value is known by what the upstream gets.
type credentialWriter struct {
	ledger_
	n int
}

// ledger_ gives a writer its ledger.
type ledger_ struct{ l ledger }

func (w *ledger_) ledger() *ledger { return &w.l }

func (w *credentialWriter) prepare(c *crash) {
	var l api.AddServicesRequest
	for n := range credentialKeys {
		c.ok(w.set(c, n))
		l.Services = append(l.Services, service(c.t, fmt.Sprintf("host%d", n), fmt.Sprintf("host%d.test", n), "", fmt.Sprintf("KEY_%d", n)))
	}
	_, err := c.owner.AddServices(c.t.Context(), "default", l)
	c.ok(err)
}

func (w *credentialWriter) set(c *crash, n int) error {
	key, value := fmt.Sprintf("KEY_%d", n), fmt.Sprintf("value-%08d", c.number.Add(1))
	return w.l.put(key, value, func() error {
		_, err := c.owner.SetCredentials(c.t.Context(), api.SetCredentialsRequest{Vault: "default", Credentials: map[string]string{key: value}})
		return err
	})
}

func (w *credentialWriter) step(c *crash) error {
	w.n++
	return w.set(c, w.n%credentialKeys)
}

func (w *credentialWriter) check(c *crash) {
	there := make(map[string]string)
	for n := range credentialKeys {
		path := fmt.Sprintf("/check/%d", c.number.Add(1))
		c.ok(c.use(fmt.Sprintf("host%d.test", n), path))
		there[fmt.Sprintf("KEY_%d", n)] = c.upstream.credential(path)
	}
	w.l.check(c.t, there)
}

// A serviceWriter adds services, disables and enables them, and removes them.
type serviceWriter struct{ ledger_ }

func (w *serviceWriter) prepare(c *crash) {
	_, err := c.owner.CreateVault(c.t.Context(), "services")
	c.ok(err)
}

func (w *serviceWriter) step(c *crash) error {
	n, ctx := c.number.Add(1), c.t.Context()
	name := fmt.Sprintf("service-%d", n%7)
	description, enabled, there := strings.Cut(w.l.known[name], " ")
	switch {
	case !there:
		description = fmt.Sprint(n)
		return w.l.put(name, description+" true", func() error {
			_, err := c.owner.AddServices(ctx, "services", api.AddServicesRequest{Services: []vault.Service{service(c.t, name, name+".example.com", description, "K")}})
			return err
		})
	case n%3 == 0:
		return w.l.put(name, "", func() error { return c.owner.RemoveService(ctx, "services", name) })
	}
	next := enabled == "false"
	return w.l.put(name, fmt.Sprint(description, " ", next), func() error {
		_, err := c.owner.EnableService(ctx, "services", name, next)
		return err
	})
}

func (w *serviceWriter) check(c *crash) {
	l, err := c.owner.Services(c.t.Context(), "services")
	c.ok(err)
	there := make(map[string]string)
	for _, s := range l.Services {
		there[s.Name] = fmt.Sprint(s.Description, " ", s.Enabled)
	}
	w.l.check(c.t, there)
}

// A proposalWriter asks as an agent, and approves or rejects as a person.
type proposalWriter struct {
	ledger_
	agent string
	open  int64            // the proposal that was decided when the server died; 0 for none
	state map[int64]string // of decided ones
}

func (w *proposalWriter) prepare(c *crash) {
	_, err := c.owner.CreateVault(c.t.Context(), "asked")
	c.ok(err)
	s, err := c.owner.MintSession(c.t.Context(), api.SessionRequest{Vault: "asked"})
	c.ok(err)
	w.agent, w.state = s.Token, make(map[int64]string)
}

func (w *proposalWriter) step(c *crash) error {
	n := c.number.Add(1)
	key, name, ctx := fmt.Sprintf("ASKED_%d", n%6), fmt.Sprintf("asked-%d", n%6), c.t.Context()
	slot := api.ProposedCredential{Action: "set", Key: key}
	value := fmt.Sprintf("asked-value-%d", n)
	if n%2 == 0 {
		slot.Value = &value
	}
	auth := bearer(c.t, key)
	made, err := c.as(w.agent).Propose(ctx, "asked", api.ProposalRequest{
		Services:    []vault.ServiceChange{{Action: "set", Name: name, Host: name + ".example.com", Description: fmt.Sprint(n), Auth: &auth}},
		Credentials: []api.ProposedCredential{slot},
	})
	if err != nil {
		return err
	}
	w.state[made.ID] = vault.ProposalPending
	if n%5 == 0 {
		if _, err := c.owner.RejectProposal(ctx, "asked", made.ID, ""); err != nil {
			return err
		}
		w.state[made.ID] = vault.ProposalRejected
		return nil
	}
	review, err := c.owner.ReviewProposal(ctx, "asked", made.ID)
	if err != nil {
		return err
	}
	approval := api.ApproveRequest{Digest: review.Digest}
	if slot.Value == nil {
		approval.Credentials = map[string]string{key: value}
	}
	_, version, _ := strings.Cut(w.l.known[name], " v")
	var v int
	_, _ = fmt.Sscan(version, &v) // 0 before the first
	err = w.l.put(name, fmt.Sprintf("%d v%d", n, v+1), func() error {
		w.open = made.ID
		_, err := c.owner.ApproveProposal(ctx, "asked", made.ID, approval)
		return err
	})
	if err == nil {
		w.open, w.state[made.ID] = 0, vault.ProposalApplied
	}
	return err
}

// check: a service has the description of the proposal that was applied last,
// and the credential has been set as often; a proposal that was being approved
// is applied if, and only if, both are there.
func (w *proposalWriter) check(c *crash) {
	ctx := c.t.Context()
	services, err := c.owner.Services(ctx, "asked")
	c.ok(err)
	credentials, err := c.owner.Credentials(ctx, "asked")
	c.ok(err)
	versions := make(map[string]int64)
	for _, cr := range credentials.Credentials {
		versions[cr.Key] = cr.Version
	}
	there := make(map[string]string)
	for _, s := range services.Services {
		key := strings.ToUpper(strings.Replace(s.Name, "-", "_", 1))
		there[s.Name] = fmt.Sprintf("%s v%d", s.Description, versions[key])
		delete(versions, key)
	}
	if len(versions) > 0 {
		c.t.Errorf("credentials without the service that came with them: %v", versions)
	}
	name, next := w.l.name, w.l.next
	w.l.check(c.t, there)
	for id, state := range w.state {
		p, err := c.owner.Proposal(ctx, "asked", id, 0)
		c.ok(err)
		switch {
		case id == w.open:
			if applied := there[name] == next; applied != (p.Status == vault.ProposalApplied) {
				c.t.Errorf("proposal %d is %s, its service %q, wanted %q", id, p.Status, there[name], next)
			}
		case p.Status != state && (state != vault.ProposalPending || p.Status != vault.ProposalRejected):
			c.t.Errorf("proposal %d was acknowledged as %s and is %s", id, state, p.Status)
		}
	}
	// What is pending now is nobody's any more.
	l, err := c.owner.Proposals(ctx, "asked", vault.ProposalPending, "", 100)
	c.ok(err)
	for _, p := range l.Proposals {
		_, err := c.owner.RejectProposal(ctx, "asked", p.ID, "")
		c.ok(err)
	}
	w.open, w.state = 0, make(map[int64]string)
}

// A sessionWriter mints sessions and revokes them by their own tokens.
type sessionWriter struct {
	ledger_
	tokens []string // of those that live, oldest first
	ended  []string
}

func (w *sessionWriter) prepare(c *crash) {
	_, err := c.owner.CreateVault(c.t.Context(), "sessions")
	c.ok(err)
}

func (w *sessionWriter) step(c *crash) error {
	label := fmt.Sprint(c.number.Add(1))
	err := w.l.put(label, "live", func() error {
		s, err := c.owner.MintSession(c.t.Context(), api.SessionRequest{Vault: "sessions", Label: label})
		if err == nil {
			w.tokens = append(w.tokens, label+" "+s.Token)
		}
		return err
	})
	if err != nil || len(w.tokens) < 4 {
		return err
	}
	oldest, token, _ := strings.Cut(w.tokens[0], " ")
	w.tokens = w.tokens[1:]
	err = w.l.put(oldest, "", func() error { return c.as(token).RevokeSelf(c.t.Context()) })
	if err == nil {
		w.ended = append(w.ended, token)
	}
	return err
}

func (w *sessionWriter) check(c *crash) {
	l, err := c.owner.Sessions(c.t.Context(), "sessions")
	c.ok(err)
	there := make(map[string]string)
	for _, s := range l.Sessions {
		there[s.Label] = "live"
	}
	w.l.check(c.t, there)
	for _, s := range w.tokens {
		_, token, _ := strings.Cut(s, " ")
		_, err := c.as(token).Discover(c.t.Context())
		c.ok(err)
	}
	for _, token := range w.ended[max(0, len(w.ended)-3):] {
		if _, err := c.as(token).Discover(c.t.Context()); !isStatus(err, http.StatusUnauthorized) {
			c.t.Errorf("a revoked session: %v", err)
		}
	}
	// Those without a token that anybody knows go.
	for _, s := range l.Sessions {
		if !slices.ContainsFunc(w.tokens, func(t string) bool { return strings.HasPrefix(t, s.Label+" ") }) {
			c.ok(c.owner.RevokeSession(c.t.Context(), s.ID))
			w.l.known[s.Label] = ""
		}
	}
	maps.DeleteFunc(w.l.known, func(_, state string) bool { return state == "" })
	w.ended = nil
}

func isStatus(err error, status int) bool {
	var refused *api.ClientError
	return errors.As(err, &refused) && refused.Status == status
}

// An agentWriter creates agents, rotates their tokens and deletes them.
type agentWriter struct {
	ledger_
	tokens map[string]string // by name
	cut    string            // whose token may be another by now
	dead   []string          // tokens
}

func (w *agentWriter) prepare(c *crash) {
	_, err := c.owner.CreateVault(c.t.Context(), "agents")
	c.ok(err)
	w.tokens = make(map[string]string)
}

func (w *agentWriter) step(c *crash) error {
	n := c.number.Add(1)
	name, ctx := fmt.Sprintf("agent-%d", n%5), c.t.Context()
	take := func(r api.AgentResponse, err error) error {
		if err == nil {
			w.tokens[name] = r.Token
		}
		return err
	}
	old := w.tokens[name]
	switch {
	case w.l.known[name] == "":
		return w.l.put(name, "there", func() error {
			return take(c.owner.CreateAgent(ctx, api.AgentRequest{Name: name, Vaults: []api.AgentVault{{VaultName: "agents", VaultRole: "proxy"}}}))
		})
	case n%3 == 0:
		err := w.l.put(name, "", func() error { return c.owner.DeleteAgent(ctx, name) })
		if err == nil {
			w.dead = append(w.dead, old)
		}
		return err
	}
	w.cut = name
	err := w.l.put(name, "there", func() error { return take(c.owner.RotateAgent(ctx, name)) })
	if err == nil {
		w.cut, w.dead = "", append(w.dead, old)
	}
	return err
}

func (w *agentWriter) check(c *crash) {
	ctx := c.t.Context()
	l, err := c.owner.Agents(ctx)
	c.ok(err)
	there := make(map[string]string)
	for _, a := range l.Agents {
		there[a.Name] = "there"
	}
	created := w.l.name // its token may have got lost
	w.l.check(c.t, there)
	discover := func(token string) error {
		a := c.ask("GET", "/discover", token, "agents", "")
		if a.status != http.StatusOK {
			return &api.ClientError{Status: a.status, Message: a.body}
		}
		return nil
	}
	for name := range there {
		if name == w.cut || name == created {
			r, err := c.owner.RotateAgent(ctx, name)
			c.ok(err)
			w.dead = append(w.dead, w.tokens[name])
			w.tokens[name] = r.Token
		}
		c.ok(discover(w.tokens[name]))
	}
	for _, token := range w.dead[max(0, len(w.dead)-3):] {
		if err := discover(token); token != "" && !isStatus(err, http.StatusUnauthorized) {
			c.t.Errorf("an agent's old token: %v", err)
		}
	}
	w.cut, w.dead = "", nil
}

// An applyWriter declares two vaults, services and credentials, in one go.
type applyWriter struct{ ledger_ }

func (w *applyWriter) prepare(c *crash) { c.ok(w.step(c)) }

func (w *applyWriter) step(c *crash) error {
	n := fmt.Sprint(c.number.Add(1))
	return w.l.put("both", n, func() error {
		var r api.ApplyRequest
		for _, name := range []string{"first", "second"} {
			r.Vaults = append(r.Vaults, api.ApplyVault{
				Name:        name,
				Services:    []vault.Service{service(c.t, "declared", name+".example.com", n, "DECLARED"), service(c.t, "number-"+n, "n"+n+".example.com", n, "DECLARED")},
				Credentials: map[string]string{"DECLARED": "declared-value-" + n},
			})
		}
		_, err := c.owner.Apply(c.t.Context(), r)
		return err
	})
}

func (w *applyWriter) check(c *crash) {
	var numbers, versions []string
	for _, name := range []string{"first", "second"} {
		v, err := c.owner.Vault(c.t.Context(), name)
		c.ok(err)
		for _, s := range v.Services {
			numbers = append(numbers, s.Description)
		}
		if len(v.Services) != 2 {
			c.t.Errorf("%s has %d services", name, len(v.Services))
		}
		l, err := c.owner.Credentials(c.t.Context(), name)
		c.ok(err)
		for _, cr := range l.Credentials {
			versions = append(versions, fmt.Sprint(cr.Version))
		}
	}
	if len(slices.Compact(slices.Clone(numbers))) != 1 || len(slices.Compact(slices.Clone(versions))) != 1 {
		c.t.Errorf("applied by half: services of %v, credentials of versions %v", numbers, versions)
	}
	w.l.check(c.t, map[string]string{"both": numbers[0]})
}

// An exchangeWriter sends requests by both entrances. What was answered, and
// what was not but reached the upstream, is looked up in the audit log.
type exchangeWriter struct {
	ledger_
	tunnel *http.Transport
	at     string // the entrance that the tunnel leads to
}

func (w *exchangeWriter) prepare(*crash) {}

func (w *exchangeWriter) step(c *crash) error {
	n := c.number.Add(1)
	host, path := fmt.Sprintf("host%d.test", n%credentialKeys), fmt.Sprintf("/exchange/%d", n)
	err := c.use(host, path+"/path")
	if err == nil {
		err = w.throughTunnel(c, host, path+"/mitm")
	}
	if err != nil {
		w.l.cutOff++
		return err
	}
	w.l.acknowledged += 2
	return nil
}

func (w *exchangeWriter) throughTunnel(c *crash, host, path string) error {
	if w.at != c.Proxy {
		w.at = c.Proxy
		w.tunnel = &http.Transport{
			Proxy:           http.ProxyURL(mustURL(c.t, strings.Replace(c.Proxy, "http://", "http://"+c.session+":default@", 1))),
			TLSClientConfig: &tls.Config{RootCAs: c.roots},
		}
	}
	req, err := http.NewRequest("GET", "https://"+host+path, nil)
	if err != nil {
		return err
	}
	return answered(w.tunnel, req)
}

func (w *exchangeWriter) check(*crash) {
	if w.tunnel != nil {
		w.tunnel.CloseIdleConnections()
	}
}

// A vaultWriter makes vaults, gives a user roles in them, and deletes them.
type vaultWriter struct{ ledger_ }

const crashUser = "ann@example.test"

func (w *vaultWriter) prepare(c *crash) {
	made, err := c.owner.InviteUser(c.t.Context(), api.UserInviteRequest{Email: crashUser})
	c.ok(err)
	_, err = c.as("").Join(c.t.Context(), api.JoinRequest{Token: made.Token, Password: ownerPassword})
	c.ok(err)
}

func (w *vaultWriter) step(c *crash) error {
	n := c.number.Add(1)
	name, ctx := fmt.Sprintf("coming-%d", n%5), c.t.Context()
	switch state := w.l.known[name]; state {
	case "":
		return w.l.put(name, "there", func() error { _, err := c.owner.CreateVault(ctx, name); return err })
	case "there", "member":
		next := map[string]string{"there": "member", "member": "admin"}[state]
		return w.l.put(name, next, func() error { _, err := c.owner.SetMember(ctx, name, crashUser, next); return err })
	}
	return w.l.put(name, "", func() error { return c.owner.DeleteVault(ctx, name) })
}

func (w *vaultWriter) check(c *crash) {
	l, err := c.owner.Vaults(c.t.Context())
	c.ok(err)
	there := make(map[string]string)
	for _, v := range l.Vaults {
		if !strings.HasPrefix(v.Name, "coming-") {
			continue
		}
		there[v.Name] = "there"
		m, err := c.owner.Members(c.t.Context(), v.Name)
		c.ok(err)
		for _, m := range m.Members {
			if m.Email == crashUser {
				there[v.Name] = m.Role
			}
		}
	}
	w.l.check(c.t, there)
}
