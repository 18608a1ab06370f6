package inject

import (
	"net/url"
	"strings"
)

// Sent finds which of some placeholders stands in a request where clients put a key:
// as the whole value of a header field, perhaps behind a word such as Bearer, as user
// name or password of Basic, or as the whole value of a query parameter. It is "" for
// none; several tells that there are different ones.
func Sent[V any](header map[string][]string, rawQuery string, known map[string]V) (found string, several bool) {
	if len(known) == 0 {
		return "", false
	}
	note := func(text string) bool {
		if _, ok := known[text]; ok {
			several = several || found != "" && found != text
			found = text
		}
		return false
	}
	for _, values := range header {
		for _, v := range values {
			anyKey(v, note)
		}
	}
	for part := range strings.SplitSeq(rawQuery, "&") {
		note(parameterValue(part))
	}
	return found, several
}

// TakeOut removes a placeholder that Sent has found from a request, where nothing
// else replaces it. It returns how many it removed.
func (s *Substitutions) TakeOut(r *Request, placeholder string) (removed int) {
	is := func(text string) bool { return text == placeholder }
	for name, values := range r.Header {
		if s.In(SurfaceHeader(name)) {
			continue
		}
		var kept []string
		for _, v := range values {
			if anyKey(v, is) {
				removed++
			} else {
				kept = append(kept, v)
			}
		}
		switch {
		case len(kept) == 0 && len(values) > 0:
			delete(r.Header, name)
		case len(kept) < len(values):
			r.Header[name] = kept
		}
	}
	if s.In(SurfaceQuery) || r.RawQuery == "" {
		return removed
	}
	var kept []string
	before := removed
	for part := range strings.SplitSeq(r.RawQuery, "&") {
		if is(parameterValue(part)) {
			removed++
		} else {
			kept = append(kept, part)
		}
	}
	if removed > before {
		r.RawQuery = strings.Join(kept, "&")
	}
	return removed
}

// anyKey reports whether one of the texts that a header field could have as a key is
// wanted.
func anyKey(value string, wanted func(string) bool) bool {
	if wanted(value) || wanted(value[strings.LastIndexByte(value, ' ')+1:]) {
		return true
	}
	pair, ok := basicPair(value)
	if !ok {
		return false
	}
	user, password, _ := strings.Cut(pair, ":")
	return wanted(user) || wanted(password)
}

func parameterValue(part string) string {
	_, value, _ := strings.Cut(part, "=")
	if strings.IndexByte(value, '%') < 0 {
		return value
	}
	plain, _ := url.PathUnescape(value) // what cannot be read is none
	return plain
}
