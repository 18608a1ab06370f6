package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"agentvault/vault/seal"
)

// A Declaration says how vaults should be. What it does not mention stays as
// it is; the services that it gives for a vault replace all of that vault's.
type Declaration struct {
	Vaults     []VaultDeclaration
	DryRun     bool // find out what would change, and change nothing
	AllowShort bool // take values that are shorter than MinValue
}

// errDryRun undoes what a dry run did.
var errDryRun = errors.New("dry run")

// A VaultDeclaration is the part of a Declaration about one vault.
type VaultDeclaration struct {
	Name           string
	UnmatchedHosts string                    // "" leaves it
	Services       []Service                 // nil leaves them; empty removes them
	Credentials    map[string]seal.Plaintext // to set; others stay
}

// maxDeclared is how many vaults one declaration may be about.
const maxDeclared = 1_000

// A Change is one thing that applying a declaration did, or found done.
type Change struct {
	Vault  string `json:"vault"`
	Kind   string `json:"kind"`   // vault, setting, service or credential
	Name   string `json:"name"`   // of the thing; for a setting, its key
	Action string `json:"action"` // created, updated, deleted or unchanged
}

// Actions of a Change.
const (
	Created   = "created"
	Updated   = "updated"
	Deleted   = "deleted"
	Unchanged = "unchanged"
)

// Apply makes the vaults be as declared, all in one transaction, and returns
// what changed. Applying the same again changes nothing.
func (r *Registry) Apply(ctx context.Context, c Caller, d Declaration) ([]Change, error) {
	if err := r.allow(c, actListVault, nil); err != nil {
		return nil, err
	}
	declared, err := r.checkDeclaration(d)
	if err != nil {
		return nil, err
	}
	var changes []Change
	err = r.writeAsNow(ctx, c, actListVault, func(tx Tx, c Caller) error {
		changes = []Change{}
		for _, vd := range declared {
			done, err := r.applyVault(tx, c, vd, d.AllowShort)
			if err != nil {
				return err
			}
			changes = append(changes, done...)
		}
		if d.DryRun {
			return errDryRun
		}
		return nil
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return nil, err
	}
	return changes, nil
}

// checkDeclaration returns the vaults with their services in canonical form.
func (r *Registry) checkDeclaration(d Declaration) ([]VaultDeclaration, error) {
	if len(d.Vaults) > maxDeclared {
		return nil, badRequest("vaults: at most %d in one declaration", maxDeclared)
	}
	out := slices.Clone(d.Vaults)
	seen := make(map[string]bool, len(out))
	for i := range out {
		vd := &out[i]
		if err := checkName("vault", vd.Name); err != nil {
			return nil, err
		}
		if seen[vd.Name] {
			return nil, badRequest("vault %q stands there twice", vd.Name)
		}
		seen[vd.Name] = true
		switch vd.UnmatchedHosts {
		case "", UnmatchedDeny, UnmatchedTunnel:
		default:
			return nil, badRequest("vault %q: unmatched_hosts: %q is neither deny nor tunnel", vd.Name, shorten(vd.UnmatchedHosts))
		}
		if vd.Services != nil {
			checked, err := r.checkServices(vd.Services)
			if err != nil {
				return nil, errorAt("vault "+vd.Name, err)
			}
			vd.Services = checked
		}
		if err := checkValues(vd.Credentials); err != nil {
			return nil, errorAt("vault "+vd.Name, err)
		}
	}
	return out, nil
}

func (r *Registry) applyVault(tx Tx, c Caller, vd VaultDeclaration, allowShort bool) ([]Change, error) {
	var changes []Change
	note := func(kind, name, action string) {
		changes = append(changes, Change{Vault: vd.Name, Kind: kind, Name: name, Action: action})
	}
	v, err := r.declaredVault(tx, c, vd.Name, note)
	if err != nil {
		return nil, err
	}
	if err := r.asNow(tx, &c, actListVault); err != nil { // with the role in a vault that was made just now
		return nil, err
	}
	if len(vd.Credentials) > 0 { // before "unchanged" tells that a value was guessed
		if err := r.allow(c, actCredentials, v.ref()); err != nil {
			return nil, err
		}
	}
	if vd.UnmatchedHosts != "" {
		action := Unchanged
		if v.UnmatchedHosts != vd.UnmatchedHosts {
			v.UnmatchedHosts, action = vd.UnmatchedHosts, Updated
		}
		note("setting", "unmatched_hosts", action)
	}
	before := v.Services
	if vd.Services != nil {
		diffServices(v.Services, vd.Services, note)
		v.Services = vd.Services
	}
	for _, key := range slices.Sorted(maps.Keys(vd.Credentials)) {
		action, err := r.applyCredential(tx, &v, key, vd.Credentials[key], allowShort)
		if err != nil {
			return nil, err
		}
		note("credential", key, action)
	}
	changed := false
	for _, ch := range changes {
		if ch.Action == Unchanged {
			continue
		}
		changed = true
		a := actionFor(ch)
		if err := errors.Join(r.allow(c, a, v.ref()), r.note(tx, c, a, v.ref(), ch.Action+" "+ch.Name)); err != nil {
			return nil, err
		}
	}
	if !changed {
		return changes, nil
	}
	return changes, r.putVault(tx, v, before)
}

// declaredVault finds the vault, or makes it.
func (r *Registry) declaredVault(tx Tx, c Caller, name string, note func(kind, name, action string)) (Vault, error) {
	v, err := r.wholeVault(tx, c, actReadVault, name)
	var e *Error
	if errors.As(err, &e) && e.Code == CodeVaultNotFound {
		if err := r.allow(c, actNewVault, nil); err != nil {
			return Vault{}, err
		}
		v = Vault{ID: newID(), Name: name, UnmatchedHosts: UnmatchedDeny, CreatedAt: r.now()}
		note("vault", name, Created)
		return v, errors.Join(tx.PutVault(v), r.becomeAdmin(tx, c, v))
	}
	if err == nil {
		note("vault", name, Unchanged)
	}
	return v, err
}

// actionFor is what a caller must be allowed to do for a change.
func actionFor(ch Change) *action {
	switch ch.Kind {
	case "vault":
		return actNewVault
	case "setting":
		return actSettings
	case "service":
		return actServices
	}
	return actCredentials
}

// applyCredential sets a value unless it is that value already.
func (r *Registry) applyCredential(tx Tx, v *Vault, key string, value seal.Plaintext, allowShort bool) (action string, err error) {
	old, existed := v.Credentials[key]
	if existed {
		was, err := r.key.ForVault(v.ID).Open(v.sealContext(key, old.Version), old.Box)
		if err == nil {
			defer was.Clear()
			if bytes.Equal(was.Bytes(), value.Bytes()) {
				return Unchanged, nil
			}
		}
		// A box that does not open is replaced by the value that should be in it.
		action = Updated
	} else {
		action = Created
	}
	return action, r.setCredential(tx, v, key, value, allowShort)
}

func diffServices(before, after []Service, note func(kind, name, action string)) {
	old := make(map[string]Service, len(before))
	for _, s := range before {
		old[s.Name] = s
	}
	for _, s := range after {
		was, ok := old[s.Name]
		delete(old, s.Name)
		switch {
		case !ok:
			note("service", s.Name, Created)
		case !sameService(was, s):
			note("service", s.Name, Updated)
		default:
			note("service", s.Name, Unchanged)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		note("service", name, Deleted)
	}
}

// sameService compares what is stored.
func sameService(a, b Service) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

func sameServices(a, b []Service) bool {
	return slices.EqualFunc(a, b, sameService)
}
