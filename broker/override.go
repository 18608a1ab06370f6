package broker

import (
	"net/url"
	"slices"
	"strings"

	"agentvault/policy"
	"agentvault/policy/inject"
)

// speaks are fields by which a request can ask an upstream for another method,
// path or host than those that were decided on, by their plain names. A method
// must be allowed too; another path or host is not spoken of.
var speaks = map[string]func(e *exchange, name string, values []string) *Fault{
	"X-Http-Method-Override": (*exchange).otherMethod,
	"X-Http-Method":          (*exchange).otherMethod,
	"X-Method-Override":      (*exchange).otherMethod,
	"X-Method":               (*exchange).otherMethod,
	"X-Forwarded-Method":     (*exchange).otherMethod,
	"X-Http-Verb":            (*exchange).otherMethod,

	"X-Original-Url":        (*exchange).otherPath, // IIS, Symfony
	"X-Rewrite-Url":         (*exchange).otherPath, // likewise
	"X-Original-Uri":        (*exchange).otherPath,
	"X-Original-Path":       (*exchange).otherPath,
	"X-Rewrite-Uri":         (*exchange).otherPath,
	"X-Override-Url":        (*exchange).otherPath,
	"X-Http-Path-Override":  (*exchange).otherPath,
	"X-Forwarded-Path":      (*exchange).otherPath,
	"X-Forwarded-Prefix":    (*exchange).otherPath,
	"X-Forwarded-Uri":       (*exchange).otherPath,
	"X-Forwarded-Url":       (*exchange).otherPath,
	"X-Replaced-Path":       (*exchange).otherPath, // Traefik
	"X-Request-Uri":         (*exchange).otherPath,
	"X-Waf-Original-Uri":    (*exchange).otherPath,
	"X-Ms-Original-Url":     (*exchange).otherPath, // Azure
	"Destination":           (*exchange).otherPath, // RFC 4918 §10.3: of COPY and MOVE
	"X-Envoy-Original-Path": (*exchange).otherPath,
	"X-Script-Name":         (*exchange).otherPath,
	"Script-Name":           (*exchange).otherPath,
	"Path-Info":             (*exchange).otherPath,

	"Forwarded":            (*exchange).otherForwarded, // RFC 7239
	"X-Forwarded-Host":     (*exchange).otherHost,
	"X-Forwarded-Server":   (*exchange).otherHost,
	"X-Host":               (*exchange).otherHost,
	"X-Original-Host":      (*exchange).otherHost,
	"X-Http-Host-Override": (*exchange).otherHost,
	"X-Backend-Host":       (*exchange).otherHost,
}

// speaksOfAnother refuses a stripped request that asks, beside its own words, for
// what would not be let through by itself.
func (e *exchange) speaksOfAnother() *Fault {
	for _, name := range e.speaking {
		if values, ok := e.stripped.Header[name]; ok {
			if f := speaks[plainName(name)](e, name, values); f != nil {
				return f
			}
		}
	}
	return e.otherMethodInQuery()
}

// otherMethod: many frameworks take the method from such a field.
func (e *exchange) otherMethod(name string, values []string) *Fault {
	for _, v := range values {
		for method := range strings.SplitSeq(v, ",") {
			if f := e.wouldAllow("the header field "+name, method); f != nil {
				return f
			}
		}
	}
	return nil
}

// otherMethodInQuery: Rails and Laravel take it from "_method".
func (e *exchange) otherMethodInQuery() *Fault {
	query := e.stripped.RawQuery
	if strings.IndexByte(query, '_') < 0 && strings.IndexByte(query, '%') < 0 && strings.IndexByte(query, '.') < 0 {
		return nil // the usual case; without any of these nothing spells it
	}
	for part := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' }) {
		name, method, _ := strings.Cut(part, "=")
		if !inject.SameParameter(name, "_method") {
			continue
		}
		if decoded, err := url.QueryUnescape(method); err == nil {
			method = decoded
		}
		if f := e.wouldAllow("the query parameter _method", method); f != nil {
			return f
		}
	}
	return nil
}

// maxOthers is how many other methods a request may ask for: conditions read the
// body anew for each.
const maxOthers = 3

func (e *exchange) wouldAllow(where, method string) *Fault {
	method = strings.ToUpper(strings.TrimSpace(method)) // as such upstreams read it
	switch {
	case method == "" || method == e.r.Method || slices.Contains(e.others, method): // decided on already
		return nil
	case method == "TRACE" || method == "TRACK" || method == "CONNECT":
		return badRequest(where + " asks for the method " + method + ", which is not served")
	case len(e.others) == maxOthers:
		return badRequest(where + " asks for one method too many; one is enough")
	}
	e.others = append(e.others, method)
	q := e.use.query
	q.Method = method
	q.Input = e.inputFor(method)
	d, f := e.vault.decide(q)
	if f == nil && (!d.ask || e.use.asked) && (d.rule == e.rule || !e.service.limitsRule(d.rule)) {
		return nil
	}
	f = NewFault(CodeMethodNotAllowed)
	f.AllowedMethods = e.vault.set.AllowedMethods(q)
	f.Message = where + " asks for a method that the service's rules do not allow here"
	return f
}

// otherPath: where paths decide, no other path is spoken of. It would have to be
// guessed what an upstream makes of it.
func (e *exchange) otherPath(name string, _ []string) *Fault {
	if !e.vault.set.ByPath(e.Target.Scheme, e.Target.Host, e.Target.Port) {
		return nil
	}
	f := NewFault(CodePathNotAllowed)
	f.Message = "this service has path rules, and the header field " + name + " could stand for another path; leave it out"
	return f
}

// otherHost: behind some upstreams such a field chooses who gets the request, and
// with it the credential. One that names another host is dropped rather than
// refused: a proxy between the agent and the vault names the vault there.
func (e *exchange) otherHost(name string, values []string) *Fault {
	for _, v := range values {
		for host := range strings.SplitSeq(v, ",") {
			e.dropUnlessTarget(name, host)
		}
	}
	return nil
}

// otherForwarded does the same for the host of RFC 7239 §4.
func (e *exchange) otherForwarded(name string, values []string) *Fault {
	for _, v := range values {
		for pair := range strings.FieldsFuncSeq(v, func(c rune) bool { return c == ',' || c == ';' }) {
			key, host, _ := strings.Cut(pair, "=")
			if strings.EqualFold(strings.TrimSpace(key), "host") {
				e.dropUnlessTarget(name, strings.Trim(strings.TrimSpace(host), `"`))
			}
		}
	}
	return nil
}

// dropUnlessTarget drops a field on a service that injects, unless an authority
// in it is the target's. Hosts are compared only: behind an upstream, ports are
// its own affair.
func (e *exchange) dropUnlessTarget(name, authority string) {
	authority = strings.TrimSpace(authority)
	if authority == "" || len(e.service.keys) == 0 {
		return
	}
	if t, err := policy.ParseTarget(e.Target.Scheme, authority); err != nil || t.Host != e.Target.Host {
		delete(e.stripped.Header, name)
	}
}
