package api_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// An operation is a route as the document lists it.
type operation struct {
	method, path string
	*openapi3.Operation
	document *openapi3.T
}

func (o operation) String() string { return o.method + " " + o.path }

func operations(d *openapi3.T) (list []operation) {
	for path, item := range d.Paths.Map() {
		for method, op := range item.Operations() {
			list = append(list, operation{method, path, op, d})
		}
	}
	slices.SortFunc(list, func(a, b operation) int { return strings.Compare(a.String(), b.String()) })
	return list
}

// address is a path and query that the operation takes.
func (o operation) address() string { return o.with("", "") }

// with is an address with another value in one place of the path.
func (o operation) with(place, other string) string {
	path, query := o.path, ""
	for _, p := range o.Parameters {
		value := strings.Trim(valid(p.Value.Schema.Value), `"`)
		if p.Value.Name == place {
			value = other
		}
		switch {
		case p.Value.In == "path":
			path = strings.ReplaceAll(path, "{"+p.Value.Name+"}", value)
		case p.Value.In == "query" && p.Value.Required:
			query += "&" + p.Value.Name + "=" + value
		}
	}
	if query != "" {
		path += "?" + query[1:]
	}
	return path
}

// A fault is a body with one thing wrong in it.
type fault struct{ what, place, body string }

// valid is a value of the schema, as JSON; the bodies with one fault are made
// of such.
func valid(s *openapi3.Schema) string {
	switch {
	case len(s.Enum) > 0:
		return strconv.Quote(s.Enum[0].(string))
	case s.Type.Includes("integer"):
		if s.Min != nil {
			return strconv.Itoa(int(*s.Min))
		}
		return "1"
	case s.Type.Includes("boolean"):
		return "true"
	case s.Type.Includes("array"):
		return "[" + valid(s.Items.Value) + "]"
	case s.Type.Includes("object"):
		return object(fields(s), "", "")
	}
	switch {
	case s.Format == "date-time":
		return `"2026-01-02T03:04:05Z"`
	case s.ContentEncoding == "base64":
		return `"ZGVmYXVsdA=="`
	}
	return `"default"`
}

// fields are an object's, with valid values; a map has one.
func fields(s *openapi3.Schema) map[string]string {
	all := make(map[string]string)
	for name, p := range s.Properties {
		all[name] = valid(p.Value)
	}
	if values := s.AdditionalProperties.Schema; values != nil && len(all) == 0 {
		all["API_KEY"] = valid(values.Value)
	}
	return all
}

// object writes one, with another value for one field.
func object(all map[string]string, name, value string) string {
	var list []string
	for _, n := range slices.Sorted(maps.Keys(all)) {
		v := all[n]
		if n == name {
			v = value
		}
		list = append(list, strconv.Quote(n)+":"+v)
	}
	return "{" + strings.Join(list, ",") + "}"
}

// faults are all that can be wrong with a value of the schema.
func faults(s *openapi3.Schema, place string) (list []fault) {
	add := func(what string, bodies ...string) {
		for _, b := range bodies {
			list = append(list, fault{what, place, b})
		}
	}
	switch {
	case s.Type.Includes("string"):
		add("wrong type", "7", "true", "{}", "[]")
		long := 200_000
		if s.ContentEncoding == "base64" {
			long = 3_000_000
			add("no base64", `"a"`, `"*"`)
		}
		add("too long", `"`+strings.Repeat("a", long)+`"`)
		add("control character", `"\u0000"`, `"a\u0007b"`, `"\u001b[2J"`, `"\u007f"`, `"\u0085"`, "\"\x01\"", "\"a\nb\"")
		add("no text", "\"\xff\"", `"\ud800"`)
	case s.Type.Includes("integer"):
		add("wrong type", `"1"`, "true", "{}", "[]", "1.5", "1e400", "99999999999999999999", "-99999999999999999999")
	case s.Type.Includes("boolean"):
		add("wrong type", `"true"`, "1", "{}", "[]")
	case s.Type.Includes("array"):
		add("wrong type", "7", `"a"`, "{}", "true")
		for _, f := range faults(s.Items.Value, place+"[0]") {
			list = append(list, fault{f.what, f.place, "[" + f.body + "]"})
		}
	case s.Type.Includes("object"):
		add("wrong type", "7", `"a"`, "[]", "true")
		list = append(list, objectFaults(s, place)...)
	default:
		panic(fmt.Sprintf("%s: %v", place, s.Type))
	}
	return list
}

func objectFaults(s *openapi3.Schema, place string) (list []fault) {
	all := fields(s)
	within := func(name string) string {
		if allows := s.AdditionalProperties.Has; allows != nil && *allows {
			return place // its fields are read by what reads the whole
		}
		return strings.TrimPrefix(place+"."+name, ".")
	}
	begin := strings.TrimSuffix(object(all, "", ""), "}")
	if allows := s.AdditionalProperties.Has; allows != nil && !*allows {
		list = append(list, fault{"unknown field", within("no_such_field"), begin + `,"no_such_field":1}`})
		for name, value := range all {
			upper := strings.ToUpper(name)
			list = append(list, fault{"letter case", within(upper), begin + `,"` + upper + `":` + value + "}"})
		}
	}
	for name, value := range all {
		list = append(list, fault{"twice", within(name), begin + `,"` + name + `":` + value + "}"})
		child := s.Properties[name]
		if child == nil {
			child = s.AdditionalProperties.Schema
		}
		for _, f := range faults(child.Value, within(name)) {
			list = append(list, fault{f.what, f.place, object(all, name, f.body)})
		}
	}
	return list
}

// TestBadBodies sends to every route that takes a body all that can be wrong
// with one. Each fault is refused with its place, and changes nothing.
func TestBadBodies(t *testing.T) {
	f, _, _ := filled(t)
	before := f.dump()
	count := 0
	send := func(o operation, body string) reply {
		count++
		r := request(o.method, o.address(), f.owner, body)
		r.RemoteAddr = fmt.Sprintf("198.51.%d.%d:1000", count/250, count%250) // sign-ins are limited
		return f.do(r)
	}
	routes := 0
	for _, o := range operations(document(t)) {
		if o.RequestBody == nil {
			continue
		}
		routes++
		t.Run(o.String(), func(t *testing.T) {
			schema := o.RequestBody.Value.Content.Get("application/json").Schema.Value
			whole := valid(schema)
			list := faults(schema, "")
			for _, b := range []string{"", " ", "{", whole[:len(whole)-1], whole + "}", whole + whole, "no JSON", "null", "\xef\xbb\xbf" + whole} {
				list = append(list, fault{"malformed", "the body", b})
			}
			for _, x := range list {
				if m := send(o, x.body).refused(t, 400, "bad_request"); !strings.Contains(m, x.place) {
					t.Errorf("%s: %.300q: %q does not name %s", x.what, x.body, m, x.place)
				}
			}
			limit := int(o.RequestBody.Value.Extensions["x-max-bytes"].(float64))
			long := whole[:len(whole)-1] + strings.Repeat(" ", max(2<<20, limit+1)) + "}"
			if m := send(o, long).refused(t, 413, "request_too_large"); !strings.Contains(m, strconv.Itoa(limit)) {
				t.Errorf("too long: %q", m)
			}
			if after := f.dump(); after != before {
				t.Fatalf("something changed:\n%s\nwas\n%s", after, before)
			}
		})
	}
	if routes == 0 || count < 100 {
		t.Errorf("%d routes, %d requests", routes, count)
	}
}

// badValues are values that a parameter does not take. Any other text is taken.
func badValues(s *openapi3.Schema) []string {
	bad := []string{"%00", "a%1b%5B2J", "%7f", "%c2%85", "%ff"}
	switch {
	case len(s.Enum) > 0:
		bad = append(bad, "nonsense", "", strings.ToUpper(s.Enum[0].(string)))
	case s.Type.Includes("integer"):
		bad = append(bad, "abc", "", "1.5", "0x1", "1%20", "-1", "99999999999999999999")
		if s.Min != nil {
			bad = append(bad, strconv.Itoa(int(*s.Min)-1))
		}
		if s.Max != nil {
			bad = append(bad, strconv.Itoa(int(*s.Max)+1))
		}
	case s.Format == "date-time":
		bad = append(bad, "yesterday", "", "1", "2026-01-02", "2026-13-02T03:04:05Z")
	}
	return bad
}

// TestBadParameters does the same for parameters.
func TestBadParameters(t *testing.T) {
	f, session, _ := filled(t)
	before := f.dump()
	count := 0
	for _, o := range operations(document(t)) {
		if len(o.Parameters) == 0 && !strings.HasPrefix(o.Description, "For people.") || o.Responses.Status(200) != nil && o.Responses.Status(200).Value.Content.Get("text/plain") != nil {
			continue // a raw one answers 404 to all of them
		}
		token := f.owner
		if o.Description == "For agents." {
			token = session
		}
		send := func(address, place string, header http.Header) {
			t.Helper()
			count++
			r := request(o.method, address, token, "")
			for name, values := range header {
				r.Header[name] = values
			}
			r.RemoteAddr = fmt.Sprintf("198.51.%d.%d:1000", count/250, count%250) // sign-ins are limited
			if m := f.do(r).refused(t, 400, "bad_request"); !strings.Contains(m, place) {
				t.Errorf("%s: %s: %q does not name %s", o, address, m, place)
			}
		}
		query := func(q string) string {
			if strings.Contains(o.address(), "?") {
				return o.address() + "&" + q
			}
			return o.address() + "?" + q
		}
		if strings.HasPrefix(o.Description, "For people.") {
			send(query("no_such_parameter=1"), "no_such_parameter", nil)
		}
		for _, p := range o.Parameters {
			name, value := p.Value.Name, strings.Trim(valid(p.Value.Schema.Value), `"`)
			switch p.Value.In {
			case "path":
				for _, bad := range badValues(p.Value.Schema.Value) {
					if bad != "" { // which is another route
						send(o.with(name, bad), name, nil)
					}
				}
			case "query":
				send(query(name+"="+value+"&"+name+"="+value), name, nil)
				for _, bad := range badValues(p.Value.Schema.Value) {
					if p.Value.Required { // it stands there already
						send(strings.Replace(o.address(), name+"="+value, name+"="+bad, 1), name, nil)
					} else {
						send(query(name+"="+bad), name, nil)
					}
				}
			case "header":
				send(o.address(), name, http.Header{name: {value, value}})
				send(o.address(), name, http.Header{name: {"a\x1b"}})
				send(o.address(), name, http.Header{name: {"\xff"}})
			}
		}
	}
	if count < 300 {
		t.Errorf("%d requests", count)
	}
	if after := f.dump(); after != before {
		t.Errorf("something changed:\n%s\nwas\n%s", after, before)
	}
}
