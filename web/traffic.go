package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"agentvault/api"
)

// A logFilter says which requests a person wants to see, as they typed it.
type logFilter struct {
	Agent, Host, Service, Status, Since string
	Refused                             bool // only those
}

// A back is one of those that a form offers.
type back struct {
	Value, Label string
	For          time.Duration
}

// sinces are how far back the log and the hosts go; "" is as far as they do.
var sinces = []back{
	{"", "any time", 0}, {"15m", "the last 15 minutes", 15 * time.Minute}, {"1h", "the last hour", time.Hour},
	{"24h", "the last day", 24 * time.Hour}, {"7d", "the last week", 7 * 24 * time.Hour},
}

// Sinces are those choices, for templates.
func (logFilter) Sinces() []back { return sinces }

// Statuses are suggested; a code can be typed.
func (logFilter) Statuses() []string {
	return []string{"2xx", "3xx", "4xx", "5xx", "refused", "unknown", "forbidden", "path_not_allowed", "method_not_allowed", "credential_not_found", "rate_limited"}
}

// readFilter reads the query. A problem is a sentence for the person.
func (v *visit) readFilter() (typed logFilter, f api.RequestFilter, problem string) {
	q := v.r.URL.Query()
	text := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	typed = logFilter{
		Agent: text("agent"), Host: text("host"), Service: text("service"), Status: text("status"), Since: text("since"), Refused: q.Get("refused") != "",
	}
	f = api.RequestFilter{
		Vault: v.r.PathValue("vault"), Agent: typed.Agent, Host: typed.Host, Service: typed.Service, Status: typed.Status,
	}
	if typed.Refused {
		if f.Status != "" {
			problem = "Give a status, or ask for what was refused only."
		}
		f.Status = "refused"
	}
	if f.Since, problem = v.since(typed.Since, problem); problem != "" {
		return typed, f, problem
	}
	return typed, f, ""
}

// since is when one of the choices begins.
func (v *visit) since(value, problem string) (time.Time, string) {
	for _, c := range sinces {
		if c.Value == value && c.For > 0 {
			return v.Now().Add(-c.For), problem
		}
		if c.Value == value {
			return time.Time{}, problem
		}
	}
	return time.Time{}, "Since when is one of the choices."
}

// query spells the filter, and more names and values.
func (f logFilter) query(more ...string) string {
	q := url.Values{}
	add := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	add("agent", f.Agent)
	add("host", f.Host)
	add("service", f.Service)
	add("status", f.Status)
	add("since", f.Since)
	if f.Refused {
		add("refused", "yes")
	}
	for i := 0; i+1 < len(more); i += 2 {
		add(more[i], more[i+1])
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// trafficPath is where a vault's traffic is.
func (v *visit) trafficPath(page string) string {
	return home + "/" + url.PathEscape(v.r.PathValue("vault")) + "/traffic" + page
}

// logPage shows recorded requests, newest first.
func logPage(v *visit) error {
	typed, f, problem := v.readFilter()
	f.Limit, f.Cursor = 50, v.r.URL.Query().Get("cursor")
	status := http.StatusOK
	var l api.RequestList
	if problem == "" {
		var err error
		var refused *api.ClientError
		l, err = v.client.Requests(v.ctx(), f)
		switch {
		case errors.As(err, &refused) && refused.Status == http.StatusBadRequest:
			problem = sentence(refused.Message)
		case err != nil:
			return err
		}
	}
	if problem != "" {
		status = http.StatusBadRequest
	}
	data := struct {
		Vault         string
		Filter        logFilter
		Problem       string
		Requests      []api.RequestInfo
		Newest, Older string // pages; "": there is none
		Live          string // what tells of more; "" unless these are the newest
	}{Vault: f.Vault, Filter: typed, Problem: problem, Requests: l.Requests}
	switch {
	case f.Cursor != "":
		data.Newest = v.trafficPath("") + typed.query()
	case problem == "":
		typed.Since = "" // what is to come is not too old
		data.Live = v.trafficPath("/live") + typed.query("after", l.FollowCursor)
	}
	if l.NextCursor != "" {
		data.Older = v.trafficPath("") + data.Filter.query("cursor", l.NextCursor)
	}
	return v.show(status, "traffic.html", "Traffic of "+f.Vault, data)
}

// hostsPage lists hosts that agents asked for and that no service names.
func hostsPage(v *visit) error {
	typed, f, problem := v.readFilter()
	if problem != "" {
		return refusal{http.StatusBadRequest, problem}
	}
	l, err := v.client.RefusedHosts(v.ctx(), api.RequestFilter{Vault: f.Vault, Since: f.Since, Limit: 100})
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "hosts.html", "Refused hosts of "+f.Vault, struct {
		Vault  string
		Filter logFilter
		Hosts  []api.RefusedHostInfo
	}{f.Vault, typed, l.Hosts})
}

// addPath leads to the form that makes a service of a refused host: the catalog's,
// where it knows the host.
func addPath(vaultName string, h api.RefusedHostInfo) string {
	if h.Catalog != "" {
		return vaultPath(vaultName, "catalog", h.Catalog)
	}
	_, host, _ := strings.Cut(h.Target, "://")
	return vaultPath(vaultName, "services") + "?" + url.Values{"host": {strings.TrimSuffix(host, ":443")}}.Encode()
}

// authority is a target without what goes without saying.
func authority(target string) string {
	scheme, rest, ok := strings.Cut(target, "://")
	switch {
	case !ok:
		return target
	case scheme == "http":
		return strings.TrimSuffix(rest, ":80")
	}
	return strings.TrimSuffix(rest, ":443")
}

// took is a duration as people read one.
func took(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < 10*time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
