package api

import (
	"context"
	"net/http"
	"reflect"
	"strings"
)

// access says whose token a route takes, for the OpenAPI document. That there
// is a token is checked here; who may do what stands in package vault, and a
// test holds the two against each other.
type access uint8

const (
	signedIn access = iota // whoever has a token
	person                 // people
	agent                  // agents' tokens and sessions
	lease                  // the token of a session's lease; its handler checks it
	public                 // nobody needs a token
)

// A route is one line of the table.
type route struct {
	method, path string // as in net/http's patterns
	id           string // the operation's name, unique
	summary      string // one sentence
	access       access
	status       int    // of success
	media        string // Content-Type of success
	maxBody      int64  // bytes
	slowed       bool   // counts against the limit of sign-ins
	owned        bool   // refused until the instance has an owner
	widens       bool   // may ask for the password again; package vault does
	bounded      bool   // refused when too much is pending; package vault does
	shape        shape
	out          reflect.Type // nil: not JSON
	orJSON       reflect.Type // what else a raw one answers to those who accept JSON
	serve        func(*server, route) http.Handler
}

// on makes a route of a handler, whose types say what the route reads (see
// [shape]) and answers.
func on[In, Out any](pattern, id, summary string, a access, f func(context.Context, call[In]) (Out, error)) route {
	r := raw(pattern, id, summary, "application/json", nil)
	r.access, r.shape, r.out = a, shapeOf(reflect.TypeFor[In](), pattern), reflect.TypeFor[Out]()
	r.owned = a != public
	if r.shape.reads != nil && (r.method == http.MethodGet || r.method == http.MethodDelete) {
		panic("api: " + pattern + " has no body to read")
	}
	r.serve = func(s *server, r route) http.Handler { return wrap(s, r, f) }
	return r
}

// raw makes a public route that answers by itself.
func raw(pattern, id, summary, media string, f http.HandlerFunc) route {
	method, path, _ := strings.Cut(pattern, " ")
	return route{
		method: method, path: path, id: id, summary: summary, media: media,
		access: public, status: http.StatusOK, maxBody: maxBody,
		serve: func(*server, route) http.Handler { return f },
	}
}

// reading says what a raw route reads by itself.
func reading[In any](r route) route {
	r.shape = shapeOf(reflect.TypeFor[In](), r.method+" "+r.path)
	return r
}

// forAgents refuses the public route until the instance has an owner, as all
// that agents ask is.
func (r route) forAgents() route { r.owned = true; return r }

// orJSONOf makes a raw route answer with this, too.
func (r route) orJSONOf(v any) route { r.orJSON = reflect.TypeOf(v); return r }

// widening says that the route may ask for the password again.
func (r route) widening() route { r.widens = true; return r }

// pending says that only so much of what the route makes may be pending.
func (r route) pending() route { r.bounded = true; return r }

// created makes the route answer 201.
func (r route) created() route { r.status = http.StatusCreated; return r }

// upTo lets the route take longer bodies.
func (r route) upTo(bytes int64) route { r.maxBody = bytes; return r }

// slow counts the route's requests against the limit of sign-ins.
func (r route) slow() route { r.slowed = true; return r }

// A section is the routes of one tag.
type section struct {
	tag, about string
	routes     []route
}

func about(tag, what string, routes ...route) section { return section{tag, what, routes} }

// mount puts the table to work.
func (s *server) mount(table []section) http.Handler {
	mux := http.NewServeMux()
	for _, part := range table {
		for _, r := range part.routes {
			h := r.serve(s, r)
			mux.Handle(r.method+" "+r.path, h)
		}
	}
	return withJSONErrors(mux)
}
