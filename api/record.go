package api

import (
	"context"
	"fmt"
	"net/textproto"
	"time"

	"agentvault/policy/when"
	"agentvault/vault"
	"agentvault/vault/catalog"
)

type (
	recordIn struct {
		Vault   string    `query:"vault" doc:"The vault's name. Only owners may leave it out."`
		Agent   string    `query:"agent" doc:"An agent's name, a session's label, or the id of either."`
		Host    string    `query:"host" doc:"A host, with or without a port."`
		Service string    `query:"service" doc:"The name of the service that was found for it."`
		Since   time.Time `query:"since" doc:"What began then or later."`
		Until   time.Time `query:"until" doc:"What began before."`
	}
	requestsIn struct {
		recordIn
		Status string        `query:"status" doc:"A code such as 404, a class such as 4xx, refused, why it was, such as forbidden, or unknown."`
		After  string        `query:"after" doc:"The follow_cursor of an answer before: what began or ended since, in that order."`
		Wait   time.Duration `query:"wait" minimum:"0" maximum:"60" doc:"With after: seconds to wait until there is something."`
		Page
	}
	seriesIn struct {
		recordIn
		Points int `query:"points" default:"60" minimum:"1" maximum:"400" doc:"How many, at equal distances from since to until."`
	}
	hostsIn struct {
		recordIn
		Limit int `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"How many hosts to answer with, at most."`
	}
	checkIn struct {
		inVault
		Method string `query:"method,required" doc:"As in GET."`
		URL    string `query:"url,required" doc:"As in https://api.example.com/v1/things. Without a scheme it is https."`
		Agent  string `query:"agent" doc:"Name of the agent that would send it."`
	}
)

func (r recordIn) filter() vault.RequestFilter {
	return vault.RequestFilter{Vault: r.Vault, Agent: r.Agent, Host: r.Host, Service: r.Service, Since: r.Since, Until: r.Until}
}

func (s *server) listRequests(ctx context.Context, c call[requestsIn]) (RequestList, error) {
	f := c.in.filter()
	f.Status, f.Limit, f.Before, f.After = c.in.Status, c.in.Limit, c.in.Cursor, c.in.After
	switch {
	case f.After == "" && c.in.Wait != 0:
		return RequestList{}, bad("wait: it needs after, the follow_cursor of an earlier answer")
	case f.After == "":
		p, err := s.Registry.Requests(ctx, c.caller, f)
		return requestList(p), err
	case f.Before != "":
		return RequestList{}, bad("cursor: it goes back in time and after goes on; send one of them")
	}
	p, err := s.Registry.FollowRequests(ctx, c.caller, f, c.in.Wait, s.Stopping)
	return requestList(p), err
}

func requestList(p vault.RequestPage) RequestList {
	out := RequestList{Requests: []RequestInfo{}, NextCursor: p.Next, FollowCursor: p.Follow}
	for _, r := range p.Requests {
		out.Requests = append(out.Requests, RequestInfo{
			ID: r.ID, Time: r.Time, Entrance: r.Entrance, Session: r.SessionID, Agent: r.Agent, AgentKind: r.AgentKind,
			Vault: r.Vault, Service: r.Service, Target: r.Target, Host: r.Host, Method: r.Method, Path: r.Path,
			Credentials: texts(r.Credentials), Status: r.Status, Fault: r.Fault, BytesIn: r.BytesIn, BytesOut: r.BytesOut,
			DurationMicros: r.Micros, Scrubbed: r.Scrubbed,
		})
	}
	return out
}

func (s *server) requestSeries(ctx context.Context, c call[seriesIn]) (RequestSeries, error) {
	series, err := s.Registry.RequestSeries(ctx, c.caller, c.in.filter(), c.in.Points)
	out := RequestSeries{CompleteFrom: series.CompleteFrom, Points: []RequestPoint{}}
	for _, p := range series.Points {
		out.Points = append(out.Points, RequestPoint{Time: p.Time, Requests: p.Requests, Refused: p.Refused, Timed: p.Timed, P50Micros: p.P50, P95Micros: p.P95})
	}
	return out, err
}

// texts is a list that is [] rather than null.
func texts(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

func (s *server) listHosts(ctx context.Context, c call[hostsIn]) (RefusedHostList, error) {
	out := RefusedHostList{Hosts: []RefusedHostInfo{}}
	f := c.in.filter()
	f.Limit = c.in.Limit
	hosts, err := s.Registry.RefusedHosts(ctx, c.caller, f)
	known := catalog.All()
	for _, h := range hosts {
		info := RefusedHostInfo{
			Vault: h.Vault, Host: h.Host, Target: h.Target, Count: h.Count, LastAt: h.LastAt,
			Agents: texts(h.Agents), Methods: texts(h.Methods), Covered: h.Covered,
		}
		info.Catalog, info.Add = addCommand(known, h)
		out.Hosts = append(out.Hosts, info)
	}
	return out, err
}

func (s *server) checkPolicy(ctx context.Context, c call[checkIn]) (PolicyVerdict, error) {
	return s.answerPolicy(ctx, c.caller, vault.PolicyQuestion{Vault: c.in.Vault, Method: c.in.Method, URL: c.in.URL, Agent: c.in.Agent})
}

func (s *server) explainPolicy(ctx context.Context, c call[PolicyQuestion]) (PolicyVerdict, error) {
	q := vault.PolicyQuestion{Vault: c.in.Vault, Method: c.in.Method, URL: c.in.URL, Agent: c.in.Agent, Body: c.in.Bytes}
	switch {
	case c.in.Content != nil && c.in.Bytes != nil:
		return PolicyVerdict{}, bad("body and body_base64 exclude each other")
	case c.in.Content != nil:
		q.Body = []byte(*c.in.Content)
	}
	for name, value := range c.in.Headers {
		if q.Header == nil {
			q.Header = make(map[string][]string)
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		q.Header[name] = append(q.Header[name], value)
	}
	return s.answerPolicy(ctx, c.caller, q)
}

func (s *server) answerPolicy(ctx context.Context, by vault.Caller, q vault.PolicyQuestion) (PolicyVerdict, error) {
	v, err := s.Registry.CheckPolicy(ctx, by, q)
	if err != nil {
		return PolicyVerdict{}, err
	}
	out := PolicyVerdict{
		Vault: v.Vault, Method: v.Method, Target: v.Target, Path: v.Path, Allowed: v.Allowed, Reason: v.Reason,
		Service: v.Service, AuthType: v.AuthType, Rule: v.RuleText, Credentials: []VerdictCredential{},
		AllowedMethods: texts(v.AllowedMethods), Tunnel: v.Tunnel, Fault: v.Fault, Doubt: doubtOf(v.Doubt), Explanation: v.Explanation, Steps: []PolicyStep{}, Ask: v.Ask, Then: texts(v.Then),
	}
	for _, step := range v.Steps {
		ps := PolicyStep{Service: step.Service, Rule: step.RuleText, Finding: step.Finding, Doubt: doubtOf(step.Doubt)}
		if step.Rule >= 0 {
			ps.RuleIndex = &step.Rule
		}
		out.Steps = append(out.Steps, ps)
	}
	if v.Rule >= 0 {
		out.RuleIndex = &v.Rule
	}
	for _, cr := range v.Credentials {
		out.Credentials = append(out.Credentials, VerdictCredential(cr))
	}
	return out, nil
}

// doubtOf is a doubt's name, "" for none.
func doubtOf(d when.Doubt) string {
	if d == when.NoDoubt {
		return ""
	}
	return d.String()
}

func (s *server) replayPolicy(ctx context.Context, c call[ReplayRequest]) (ReplayResponse, error) {
	if c.in.Services == nil {
		return ReplayResponse{}, bad("services is missing; an empty list asks what would happen without any")
	}
	var since time.Time
	if c.in.Since != nil {
		since = *c.in.Since
	}
	r, err := s.Registry.ReplayPolicy(ctx, c.caller, c.in.Vault, since, c.in.Services)
	out := ReplayResponse{
		Vault: r.Vault, Requests: r.Requests, Distinct: r.Distinct, Skipped: r.Skipped, Unsure: r.Unsure, Truncated: r.Truncated, Flips: []FlipInfo{},
	}
	for _, f := range r.Flips {
		out.Flips = append(out.Flips, FlipInfo{
			Method: f.Method, Target: f.Target, Path: f.Path, Count: f.Count, LastAt: f.LastAt, Agents: texts(f.Agents),
			Before: decidedInfo(f.Before), After: decidedInfo(f.After),
		})
	}
	return out, err
}

func decidedInfo(d vault.Decided) DecidedInfo {
	decision := "deny"
	if d.Allowed {
		decision = "allow"
	}
	return DecidedInfo{Decision: decision, Reason: d.Reason, Service: d.Service}
}

type eventsIn struct {
	Vault string `query:"vault" doc:"Only of this vault. Without it, of the whole instance, which only owners see."`
	Page
}

func (s *server) listEvents(ctx context.Context, c call[eventsIn]) (EventList, error) {
	before, err := c.in.number()
	if err != nil {
		return EventList{}, err
	}
	events, err := s.Registry.Events(ctx, c.caller, c.in.Vault, before, c.in.Limit)
	out := EventList{Events: []EventInfo{}}
	for _, e := range events {
		out.Events = append(out.Events, EventInfo{e.ID, e.Time, e.ActorKind, e.ActorName, e.Action, e.Vault, e.Object})
		out.NextCursor = fmt.Sprint(e.ID)
	}
	if len(events) < c.in.Limit {
		out.NextCursor = ""
	}
	return out, err
}
