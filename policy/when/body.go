package when

import (
	"errors"
	"mime"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

var (
	errUnread   = errors.New("the body was not read")
	errTooLong  = errors.New("the body is too long")
	errCoded    = errors.New("the body is coded")
	errNoJSON   = errors.New("the body is not said to be JSON in UTF-8")
	errBadJSON  = errors.New("the body cannot be read as JSON")
	errTwoWays  = errors.New("the query has more than one reading")
	errTrailing = errors.New("something comes behind the value")
)

// bodyFault says why the body cannot be looked at, if so.
func (a *activation) bodyFault() error {
	switch a.BodyState {
	case BodyWhole:
		return nil
	case BodyTooLong:
		return errTooLong
	case BodyCoded:
		return errCoded
	}
	return errUnread
}

// readJSON reads the body if its Content-Type says that it is JSON. One that
// only looks like it may be a form to the upstream.
func (a *activation) readJSON() ref.Val {
	if err := a.bodyFault(); err != nil {
		return types.WrapErr(err)
	}
	if a.mediaType() != mediaJSON {
		return types.WrapErr(errNoJSON)
	}
	v, err := a.parsed()
	if err != nil {
		return types.WrapErr(errBadJSON)
	}
	return v
}

// parsed reads the body as JSON, once. The mutex is held.
func (a *activation) parsed() (ref.Val, error) {
	if a.tree == nil && a.treeErr == nil {
		a.tree, a.treeErr = parseJSON(a.Body)
	}
	return a.tree, a.treeErr
}

const (
	mediaJSON    = "application/json"
	mediaUnnamed = "unnamed" // there is no Content-Type
)

// isContentType reports whether a lenient upstream could read a field's name as
// Content-Type: to some, whatever is neither letter nor digit is a hyphen.
func isContentType(name string) bool {
	const plain = "content-type"
	if len(name) != len(plain) {
		return false
	}
	for i := range len(name) {
		c := name[i] | 0x20
		if plain[i] == '-' {
			if 'a' <= c && c <= 'z' || '0' <= name[i] && name[i] <= '9' {
				return false
			}
		} else if c != plain[i] {
			return false
		}
	}
	return true
}

// mediaType returns the type that the body is said to have, in lower case,
// mediaJSON for all that are JSON by their suffix. It is "" for one that is
// given twice, has no reading or another charset than UTF-8.
func (a *activation) mediaType() string {
	var said []string
	for name, values := range a.Header {
		if isContentType(name) {
			said = append(said, values...)
		}
	}
	if len(said) == 0 {
		return mediaUnnamed
	}
	media, params, err := mime.ParseMediaType(said[0])
	if err != nil || len(said) > 1 {
		return ""
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "utf8") {
		return ""
	}
	if strings.HasSuffix(media, "+json") {
		return mediaJSON
	}
	return media
}
