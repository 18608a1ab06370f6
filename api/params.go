package api

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A shape is what a route reads from a request, found in the In type of its
// handler: fields with one of the tags path:"name", query:"name" and
// header:"Name" are parameters, and the field Body is the body. An In without
// any of these is itself the body; one without fields reads nothing.
//
// A parameter is a string, a bool, an int, a time.Duration (written in seconds)
// or a time.Time (RFC 3339). "name,required" refuses requests without it. The
// tags default, minimum, maximum, enum and doc mean what they mean to huma,
// which puts them into the OpenAPI document.
type shape struct {
	params []param
	body   []int        // the field's index; empty for In itself
	reads  reflect.Type // the body's type, nil for none
}

type param struct {
	in       string // path, query or header
	name     string
	required bool
	field    reflect.StructField // its Index counts from In

	otherwise   *string // what it is when it is not given
	enum        []string
	least, most int64 // of a number
}

// shapeOf panics when In is not of such a shape, or not of the pattern's.
func shapeOf(in reflect.Type, pattern string) shape {
	var s shape
	var other string
	for _, f := range reflect.VisibleFields(in) {
		if p, ok := paramOf(f, pattern); ok {
			s.params = append(s.params, p)
		} else if f.Name == "Body" && len(f.Index) == 1 {
			s.body, s.reads = f.Index, f.Type
		} else if !f.Anonymous {
			other = f.Name
		}
	}
	switch {
	case other != "" && s.params == nil && s.reads == nil:
		s.reads = in
	case other != "":
		panic(fmt.Sprintf("api: %s: %s.%s is neither a parameter nor Body", pattern, in, other))
	}
	for _, p := range s.params {
		if (p.in == "path") != strings.Contains(pattern, "{"+p.name+"}") {
			panic(fmt.Sprintf("api: %s: the %s parameter %s does not fit", pattern, p.in, p.name))
		}
	}
	if strings.Count(pattern, "{") != len(s.in("path")) {
		panic("api: " + pattern + ": a parameter of the path is not read")
	}
	return s
}

// paramOf reads the tags of a field, if they make it a parameter.
func paramOf(f reflect.StructField, pattern string) (param, bool) {
	for _, in := range []string{"path", "query", "header"} {
		tag, ok := f.Tag.Lookup(in)
		if !ok {
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		p := param{in: in, name: name, required: in == "path" || option == "required", field: f, most: 1<<31 - 1}
		if text, ok := f.Tag.Lookup("default"); ok {
			p.otherwise = &text
		}
		if text, ok := f.Tag.Lookup("enum"); ok {
			p.enum = strings.Split(text, ",")
		}
		for name, bound := range map[string]*int64{"minimum": &p.least, "maximum": &p.most} {
			text, ok := f.Tag.Lookup(name)
			if !ok {
				continue
			}
			var err error
			if *bound, err = strconv.ParseInt(text, 10, 64); err != nil {
				panic(fmt.Sprintf("api: %s: the %s of %s is no whole number", pattern, name, f.Name))
			}
		}
		return p, true
	}
	return param{}, false
}

// in returns the parameters that stand in one part of the request.
func (s shape) in(part string) []param {
	return slices.DeleteFunc(slices.Clone(s.params), func(p param) bool { return p.in != part })
}

// readParams fills in the parameters, each of which stands there once. With
// strict the query string holds known ones only; what is not people's alone may
// be sent by who adds some of their own.
func (s shape) readParams(r *http.Request, in reflect.Value, strict bool) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return bad("the query string is malformed")
	}
	known := s.in("query")
	for name := range query {
		if strict && !slices.ContainsFunc(known, func(p param) bool { return p.name == name }) {
			return bad("unknown query parameter %s", named(name))
		}
	}
	for _, p := range s.params {
		var given []string
		switch p.in {
		case "path":
			given = []string{r.PathValue(p.name)}
		case "query":
			given = query[p.name]
		case "header":
			given = r.Header.Values(p.name)
		}
		if err := p.read(given, in.FieldByIndex(p.field.Index)); err != nil {
			return err
		}
	}
	return nil
}

func (p param) String() string {
	if p.in == "header" {
		return "the header " + p.name
	}
	return "the " + p.in + " parameter " + p.name
}

func (p param) read(given []string, v reflect.Value) error {
	text := p.otherwise
	switch {
	case len(given) > 1:
		return bad("%s stands there more than once", p)
	case len(given) == 1:
		text = &given[0]
	}
	switch {
	case text == nil && p.required:
		return bad("%s is missing", p)
	case text == nil:
		return nil
	case !utf8.ValidString(*text):
		return bad("%s is not UTF-8", p)
	case strings.IndexFunc(*text, isControl) >= 0:
		return bad("%s holds a control character", p)
	case p.enum != nil && !slices.Contains(p.enum, *text):
		return bad("%s is one of %s", p, strings.Join(p.enum, ","))
	}
	return p.parse(*text, v)
}

// parse holds a text to the field's type.
func (p param) parse(text string, v reflect.Value) error {
	switch v.Interface().(type) {
	case time.Time:
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return bad("%s is not a time like 2026-01-02T15:04:05Z", p)
		}
		v.Set(reflect.ValueOf(t))
		return nil
	case time.Duration:
		n, err := p.number(text)
		if err != nil {
			return err
		}
		v.SetInt(n * int64(time.Second))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return bad("%s is true or false", p)
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int64:
		n, err := p.number(text)
		if err != nil {
			return err
		}
		v.SetInt(n)
	default:
		panic("api: no parameter has the type " + v.Type().String())
	}
	return nil
}

// number parses a whole number within the field's bounds.
func (p param) number(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < p.least || n > p.most {
		return 0, bad("%s is a whole number from %d to %d", p, p.least, p.most)
	}
	return n, nil
}
