package broker

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"agentvault/broker/scrub"
	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/policy/limit"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// A View is everything that exchanges decide on, as it stood at one revision.
// It never changes after it has been built.
type View struct {
	revision    int64
	initialized bool
	sessions    map[[32]byte]*session // vault-scoped sessions and agents, by token digest
	vaults      map[string]*vaultView // by name, whole
	until       time.Time             // when the first service, rule or grant ends; zero: none does
}

// overdue reports whether what has ended may still decide here. For so
// long the View may outlive it (R14).
func (v *View) overdue(now time.Time) bool {
	return !v.until.IsZero() && now.Sub(v.until) > time.Second
}

// Revision is the revision of the store that the View was built from.
func (v *View) Revision() int64 { return v.revision }

// A session is who may act: a vault-scoped session or an agent.
type session struct {
	id      string
	name    string                // its label, or the agent's name
	expires time.Time             // zero: never
	digest  [32]byte              // of its token
	vault   *vaultView            // of a vault-scoped session; nil for an agent
	grants  map[string]*vaultView // of an agent, by vault ID
	live    *live
}

// kind is what the record calls it.
func (s *session) kind() string {
	if s.vault != nil {
		return vault.KindSession
	}
	return vault.KindAgent
}

// in returns the vault as the session may use it, or nil.
func (s *session) in(vaultID string) *vaultView {
	if s.vault != nil && s.vault.id == vaultID {
		return s.vault
	}
	return s.grants[vaultID]
}

// reaches reports whether the session may do all that it might do before. One
// that may not begins anew, and what it has open is cut (R14).
func (s *session) reaches(before *session) bool {
	if !s.expires.Equal(before.expires) || s.vault != nil && s.vault.id != before.vault.id {
		return false
	}
	for id := range before.grants {
		if s.grants[id] == nil {
			return false
		}
	}
	return true
}

// A vaultView is one vault, compiled, for all, or for an agent that was granted
// some of its services only.
type vaultView struct {
	id, name string
	tunnel   bool               // unmatched_hosts: tunnel
	set      *policy.Set        // of all services of the vault
	granted  []string           // names of the services that an agent may use; nil: all
	metered  []vault.TimedGrant // of those, for so many uses
	broken   bool               // the stored services do not compile: the vault decides nothing
	services []service
	declared []vault.Service // what services and set were made of
	hosts    []string        // that those name
	boxes    map[string]box
	opener   seal.Opener               // of the vault's key
	earlier  []vault.CredentialVersion // values that were replaced and are kept
	values   *scrub.Set                // of all boxes: what must not come back

	placeholders *scrub.Set        // what agents may write instead of credentials; nil: nothing
	written      string            // likewise, each behind the other
	known        *knownTokens      // likewise, of what was minted; nil: no service mints
	choosers     map[string]string // those by which requests choose a service, and what a query calls them
}

type service struct {
	name     string
	auth     string // as it was declared
	injector inject.Injector
	// certifier is the injector, where connections show its certificate.
	certifier inject.Certifier
	slots     inject.Slots
	own       []string // plain names of the slots that are header fields
	keys      []string
	subs      *inject.Substitutions // nil: none
	written   string                // likewise, as they were declared
	mint      *mint                 // where the injector is a Minter; set before the first View that has it
	chooser   string                // placeholder that its requests have; "" for none

	scrubOff        bool   // answers are not searched (R10)
	passUndecodable bool   // answers that cannot be searched pass
	pins            string // in their one order, a space between; "" for none
	upgrades        string // likewise: protocols besides websocket, in lower case

	limits     []limit.Limit   // of all that goes through
	ruleLimits [][]limit.Limit // of what each rule lets through; nil: none has any
	meters     []*meter        // of limits, those that are not durable
	ruleMeters [][]*meter      // likewise of ruleLimits
}

type box struct {
	version int64
	sealed  []byte
}

// open returns a credential in clear. The only caller is the resolve stage, by
// way of a grant.
func (v *vaultView) open(key string) (seal.Plaintext, error) {
	b, ok := v.boxes[key]
	if !ok {
		return seal.Plaintext{}, &missingError{key}
	}
	return v.unseal(key, b)
}

func (v *vaultView) unseal(key string, b box) (seal.Plaintext, error) {
	return v.opener.Open(seal.Context{Vault: v.id, Credential: key, Field: vault.FieldValue, Version: b.version}, b.sealed)
}

// holdsWhat reports whether two views of a vault hold the same values in the same
// places.
func (v *vaultView) holdsWhat(before *vaultView) bool {
	return maps.EqualFunc(v.boxes, before.boxes, func(a, b box) bool {
		return a.version == b.version && bytes.Equal(a.sealed, b.sealed)
	}) && slices.EqualFunc(v.earlier, before.earlier, func(a, b vault.CredentialVersion) bool {
		return a.Key == b.Key && a.Version == b.Version && bytes.Equal(a.Box, b.Box)
	}) && slices.EqualFunc(v.services, before.services, func(a, b service) bool { return a.auth == b.auth })
}

type missingError struct{ key string }

func (e *missingError) Error() string { return fmt.Sprintf("credential %s has no value", e.key) }

// BuildView compiles a snapshot. Sessions that prev knew keep their counters.
// A vault that does not compile is kept as one that refuses everything, so
// that it cannot take the others down.
func buildView(s vault.Snapshot, key seal.Key, prev *View, limits Limits, now time.Time, log *slog.Logger) *View {
	v := &View{
		revision:    s.Revision,
		initialized: s.Initialized,
		sessions:    make(map[[32]byte]*session, len(s.Sessions)+len(s.Agents)),
		vaults:      make(map[string]*vaultView, len(s.Vaults)),
	}
	byID := make(map[string]*vaultView, len(s.Vaults))
	before := make(map[string]*vaultView)
	if prev != nil {
		for _, vv := range prev.vaults {
			before[vv.id] = vv
		}
	}
	for _, nv := range s.Vaults {
		v.until = soonest(v.until, nv.Services, now)
		nv.Services = vault.Unexpired(nv.Services, now)
		vv, err := buildVault(nv, key, before[nv.ID])
		if err != nil {
			log.Error("vault refuses everything until its services are mended", "vault", nv.Name, "err", err)
			vv.broken = true
		}
		vv.earlier = s.Earlier[nv.ID]
		vv.knowValues(before[nv.ID])
		vv.knowPlaceholders(before[nv.ID])
		vv.warnShort(prev, log)
		v.vaults[nv.Name], byID[nv.ID] = vv, vv
	}
	for _, ns := range s.Sessions {
		if vv := byID[ns.VaultID]; vv != nil && now.Before(ns.ExpiresAt) {
			v.sessions[ns.Digest] = &session{id: ns.ID, name: ns.Label, digest: ns.Digest, expires: ns.ExpiresAt, vault: vv}
		}
	}
	for _, a := range s.Agents {
		if !a.ExpiresAt.IsZero() && !now.Before(a.ExpiresAt) {
			continue
		}
		grants := make(map[string]*vaultView, len(a.Vaults))
		for id, g := range a.Vaults {
			g, ok := g.At(now)
			vv := byID[id]
			if !ok || vv == nil {
				continue
			}
			for _, t := range g.Ends.Grants {
				v.until = earlier(v.until, t.ExpiresAt)
			}
			if g.Services != nil {
				narrowed := *vv
				narrowed.granted, narrowed.metered = g.Usable(), g.Metered()
				vv = &narrowed
			}
			grants[id] = vv
		}
		v.sessions[a.Digest] = &session{id: a.ID, name: a.Name, digest: a.Digest, expires: a.ExpiresAt, grants: grants}
		if a.Old.Works(now) {
			v.sessions[a.Old.Digest] = &session{id: a.ID, name: a.Name, digest: a.Old.Digest, expires: a.Old.ExpiresAt, grants: grants}
			v.until = earlier(v.until, a.Old.EndsAt)
		}
	}
	v.keepMeters(before)
	for digest, sess := range v.sessions {
		if prev != nil {
			if old := prev.sessions[digest]; old != nil && sess.reaches(old) {
				sess.live = old.live
				continue
			}
		}
		sess.live = newLive(limits, sess.expires, now)
	}
	return v
}

// buildVault compiles a vault. What it declares as in the View before stays
// compiled, and so does what its injectors have made.
func buildVault(nv vault.Vault, key seal.Key, before *vaultView) (*vaultView, error) {
	v := &vaultView{
		id:     nv.ID,
		name:   nv.Name,
		tunnel: nv.UnmatchedHosts == vault.UnmatchedTunnel,
		boxes:  make(map[string]box, len(nv.Credentials)),
		opener: key.ForVault(nv.ID).Opener(),

		declared: nv.Services,
	}
	for k, c := range nv.Credentials {
		v.boxes[k] = box{version: c.Version, sealed: c.Box}
	}
	if before != nil && !before.broken && reflect.DeepEqual(nv.Services, before.declared) {
		v.set, v.services, v.choosers, v.hosts = before.set, before.services, before.choosers, before.hosts
		return v, nil
	}
	rules := make([]policy.Service, len(nv.Services))
	v.services = make([]service, len(nv.Services))
	dummyOf := dummies(key.ForVault(nv.ID))
	for i, s := range nv.Services {
		in, err := inject.Parse(s.Auth)
		if err != nil {
			return v, fmt.Errorf("service %q: %w", s.Name, err)
		}
		auth, err := s.Auth.MarshalJSON()
		if err != nil {
			return v, fmt.Errorf("service %q: %w", s.Name, err)
		}
		v.services[i] = service{name: s.Name, auth: string(auth), injector: in, slots: in.Slots(), keys: s.Keys(), subs: inject.Placeholders(s.Substitutions, dummyOf), written: fmt.Sprint(s.Substitutions),
			scrubOff: s.Scrub == vault.ScrubOff, passUndecodable: s.Undecodable == vault.UndecodablePass, pins: strings.Join(s.Pins, " "), upgrades: strings.Join(s.Upgrades, " ")}
		v.services[i].chooser = s.Chooser(dummyOf)
		if err := v.services[i].limit(s); err != nil {
			return v, fmt.Errorf("service %q: %w", s.Name, err)
		}
		v.services[i].certifier, _ = in.(inject.Certifier)
		for _, name := range v.services[i].slots.Headers {
			v.services[i].own = append(v.services[i].own, plainName(name))
		}
		rules[i] = s.Policy()
	}
	set, err := policy.Compile(rules)
	if err != nil {
		return v, err
	}
	v.set, v.choosers, v.hosts = set, vault.Choosers(nv.Services, dummyOf), hostsOf(nv.Services)
	return v, nil
}

// warnShort tells the operator of values that answers cannot be searched for,
// when the View before did not have them.
func (v *vaultView) warnShort(prev *View, log *slog.Logger) {
	var before map[string]box
	if prev != nil && prev.vaults[v.name] != nil && prev.vaults[v.name].id == v.id {
		before = prev.vaults[v.name].boxes
	}
	for key, b := range v.boxes {
		if seal.Len(b.sealed) < scrub.MinLength && before[key].version != b.version {
			log.Warn("the value of a credential is too short to be found in answers: an agent may read it", "vault", v.name, "credential", key)
		}
	}
}

// enforce brings what the sessions of the View before have open under this one
// (R14). A session that is gone, and an agent that lost a vault, lose all of
// it; the others what would not be let in any more.
func (v *View) enforce(before *View) {
	for digest, old := range before.sessions {
		if kept := v.sessions[digest]; kept == nil || kept.live != old.live {
			old.live.end()
		} else {
			old.live.recheck(v)
			old.live.forgetShown(kept)
		}
	}
}

// A decision is what a vault says of a request that may go out.
type decision struct {
	service *service // nil when none covers the target
	rule    int      // of the service, that lets it through; -1: it has none
	ask     bool     // if a person allows it
	body    bool     // the fault is for want of the body, which a condition looks at
}

// decide asks the vault's Set.
func (v *vaultView) decide(q policy.Query) (decision, *Fault) {
	d := v.set.Decide(q)
	var s *service
	if d.Service >= 0 && d.Service < len(v.services) && d.Reason != policy.NoService {
		s = &v.services[d.Service]
	}
	if s != nil && v.granted != nil && !slices.Contains(v.granted, s.name) {
		// The vault's own choice of service stands: what a service that was not
		// granted keeps for itself, or closes, is not open by a wider one.
		f := NewFault(CodeForbidden)
		f.Message = "this agent was not granted the service of this host; a person can grant it"
		return decision{}, f
	}
	if d.Verdict != policy.Deny && s != nil {
		return decision{service: s, rule: d.Rule, ask: d.Verdict == policy.Ask}, nil
	}
	return decision{service: s, body: d.Reason == policy.BodyNeeded}, v.refusal(d, q)
}

// refusal is the fault of a decision.
func (v *vaultView) refusal(d policy.Decision, q policy.Query) *Fault {
	switch d.Reason {
	case policy.ServiceDisabled:
		return NewFault(CodeServiceDisabled)
	case policy.MethodNotAllowed:
		f := NewFault(CodeMethodNotAllowed)
		f.AllowedMethods = v.set.AllowedMethods(q)
		return f
	case policy.PathNotAllowed:
		return NewFault(CodePathNotAllowed)
	case policy.PathAmbiguous:
		f := NewFault(CodePathNotAllowed)
		f.Message = "this service has path rules, and the path could be read in two ways; send it without dot segments, empty segments, encoded slashes and the like"
		return f
	case policy.ConditionNotMet, policy.BodyNeeded:
		return conditionFault(v.set.Doubt(q, d), v.services, d)
	}
	return NewFault(CodeForbidden)
}

// blind reports whether a tunnel to the target goes through un-intercepted. An
// address never does: it is no name (R4). Nor does a name that cannot exist (RFC
// 6761 §6.4): `ca doctor` asks for one, to be refused inside.
func (v *vaultView) blind(t Target) bool {
	return v.tunnel && !t.IsIP() && !strings.HasSuffix(t.Host, ".invalid") && !v.set.Covers(t.Scheme, t.Host, t.Port)
}

// admit finds who presents the identity and which vault is meant. For a
// vault-scoped session the vault is part of it and nothing else is asked.
func (v *View) admit(id Identity, now time.Time) (*session, *vaultView, *Fault) {
	if !v.initialized {
		return nil, nil, NewFault(CodeNotInitialized)
	}
	if !id.given {
		return nil, nil, NewFault(CodeUnauthorized)
	}
	s := v.sessions[id.digest]
	if s == nil || !s.expires.IsZero() && !now.Before(s.expires) {
		return nil, nil, NewFault(CodeUnauthorized)
	}
	vv := s.vault
	if vv == nil {
		switch named := v.vaults[id.vault]; {
		case id.vault == "":
			return s, nil, NewFault(CodeVaultRequired)
		case named == nil:
			return s, nil, NewFault(CodeVaultNotFound)
		case s.grants[named.id] == nil:
			return s, nil, NewFault(CodeVaultForbidden)
		default:
			vv = s.grants[named.id]
		}
	}
	if vv.broken {
		return s, nil, NewFault(CodeUnavailable)
	}
	return s, vv, nil
}
