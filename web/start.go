package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"agentvault/api"
)

// A startView is what is done and what is missing until an agent works through a
// vault. It is read off the vault each time, so one can leave and come back.
type startView struct {
	standing
	tried
	Vault    string
	Services []string
	Missing  []string // keys without a value
	Used     bool     // an agent has used a service
	Sample   string   // a host that works, or would
	Base     string   // of this server

	// Of a session that was just made.
	Session  *api.SessionResponse
	Path     string // the path entrance, as a prefix
	ProxyURL string // with the token
}

func startPage(v *visit) error { return v.showStart(nil, nil) }

func (v *visit) showStart(made *api.SessionResponse, refused *api.ClientError) error {
	info, err := v.client.Vault(v.ctx(), v.r.PathValue("vault"))
	if err != nil {
		return err
	}
	p := startView{tried: v.tried(refused), Vault: info.Name, Base: v.BaseURL(), Sample: "api.example.com"}
	if p.standing, err = v.standing(info.Name); err != nil {
		return err
	}
	states, err := v.states(info.Name)
	if err != nil {
		return err
	}
	missing := make(map[string]bool)
	for i := len(info.Services) - 1; i >= 0; i-- {
		s, st := info.Services[i], states[info.Services[i].Name]
		p.Used = p.Used || st.LastUsedAt != nil
		if s.Enabled && s.Scheme != "http" && !strings.ContainsAny(s.Host, "*/") {
			p.Sample = s.Host
		}
	}
	for _, s := range info.Services {
		p.Services = append(p.Services, s.Name)
		for _, key := range states[s.Name].Missing {
			if s.Enabled && !missing[key] {
				missing[key] = true
				p.Missing = append(p.Missing, key)
			}
		}
	}
	status := http.StatusOK
	switch {
	case refused != nil:
		status = refused.Status
	case made != nil:
		p.Session, p.Path = made, strings.TrimSuffix(made.ProxyURL, "/")
		p.ProxyURL = withToken(made.MITMURL, made.Token, info.Name)
	}
	return v.show(status, "start.html", "First steps", p)
}

// withToken puts a session's token into the address of the proxy entrance; ""
// when there is none.
func withToken(address, token, vaultName string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	u.User = url.UserPassword(token, vaultName)
	return u.String()
}

// newSession makes a session, and shows its token this once.
func newSession(v *visit) error {
	seconds, err := strconv.ParseInt(v.form.Get("ttl"), 10, 64)
	if err != nil {
		return errUnknownButton
	}
	made, err := v.client.MintSession(v.ctx(), api.SessionRequest{Vault: v.r.PathValue("vault"), TTLSeconds: &seconds, Label: v.form.Get("label")})
	if err == nil {
		return v.showStart(&made, nil)
	}
	refused, err := ofForm(err)
	if err != nil {
		return err
	}
	return v.showStart(nil, refused)
}
