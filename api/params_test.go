package api

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/vault"
)

// everything has a parameter of each kind.
type everything struct {
	ID    int           `path:"id"`
	Vault string        `query:"vault,required"`
	Since time.Time     `query:"since"`
	Wait  time.Duration `query:"wait" maximum:"60"`
	All   bool          `query:"all"`
	Order string        `query:"order" enum:"oldest,newest" default:"newest"`
	Agent string        `header:"X-Agent"`
	Page
}

const everythingPattern = "GET /v1/things/{id}"

func readEverything(t *testing.T, target string, header http.Header) (in everything, err error) {
	t.Helper()
	s := shapeOf(reflect.TypeFor[everything](), everythingPattern)
	mux := http.NewServeMux()
	mux.HandleFunc(everythingPattern, func(_ http.ResponseWriter, r *http.Request) {
		err = s.readParams(r, reflect.ValueOf(&in).Elem(), true)
	})
	r := httptest.NewRequest("GET", target, nil)
	r.Header = header
	mux.ServeHTTP(httptest.NewRecorder(), r)
	return in, err
}

func TestParameters(t *testing.T) {
	page := Page{Limit: 100}
	for _, tt := range []struct {
		target string
		header http.Header
		want   everything
	}{
		{"/v1/things/7?vault=default", nil, everything{ID: 7, Vault: "default", Order: "newest", Page: page}},
		{"/v1/things/0?vault=", nil, everything{Order: "newest", Page: page}},
		{
			"/v1/things/7?vault=a%20b&since=2026-01-02T03:04:05%2B02:00&wait=30&all=true&order=oldest&limit=1&cursor=x", http.Header{"X-Agent": {"robot"}},
			everything{7, "a b", time.Date(2026, 1, 2, 1, 4, 5, 0, time.UTC), 30 * time.Second, true, "oldest", "robot", Page{1, "x"}},
		},
	} {
		got, err := readEverything(t, tt.target, tt.header)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", tt.target, err, diff)
		}
	}
}

// TestBadParameterValues: the message names the parameter, never the value.
func TestBadParameterValues(t *testing.T) {
	for target, want := range map[string]string{
		"/v1/things/x?vault=a":                              "the path parameter id is a whole number from 0 to 2147483647",
		"/v1/things/-1?vault=a":                             "the path parameter id is a whole number from 0 to 2147483647",
		"/v1/things/99999999999999999999?vault=a":           "the path parameter id is a whole number from 0 to 2147483647",
		"/v1/things/7":                                      "the query parameter vault is missing",
		"/v1/things/7?vault=a&since=yesterday":              "the query parameter since is not a time like 2026-01-02T15:04:05Z",
		"/v1/things/7?vault=a&wait=61":                      "the query parameter wait is a whole number from 0 to 60",
		"/v1/things/7?vault=a&wait=1s":                      "the query parameter wait is a whole number from 0 to 60",
		"/v1/things/7?vault=a&all=1":                        "the query parameter all is true or false",
		"/v1/things/7?vault=a&order=random":                 "the query parameter order is one of oldest,newest",
		"/v1/things/7?vault=a&limit=0":                      "the query parameter limit is a whole number from 1 to 1000",
		"/v1/things/7?vault=a&limit=1001":                   "the query parameter limit is a whole number from 1 to 1000",
		"/v1/things/7?vault=a&limit=":                       "the query parameter limit is a whole number from 1 to 1000",
		"/v1/things/7?vault=a&limit=1&limit=1":              "the query parameter limit stands there more than once",
		"/v1/things/7?vault=a&limits=1":                     "unknown query parameter limits",
		"/v1/things/7?vault=a&cursor=" + "%0d%0a%1b":        "the query parameter cursor holds a control character",
		"/v1/things/7?vault=a&cursor=%c3":                   "the query parameter cursor is not UTF-8",
		"/v1/things/7?vault=a&id=8":                         "unknown query parameter id",
		"/v1/things/7?vault=a&X-Agent=robot":                "unknown query parameter …",
		"/v1/things/7?vault=a&%22":                          "unknown query parameter …",
		"/v1/things/7?vault=a&" + strings.Repeat("a", 1000): "unknown query parameter …",
	} {
		_, err := readEverything(t, target, nil)
		var e *vault.Error
		if !errors.As(err, &e) || e.Code != vault.CodeBadRequest || e.Message != want {
			t.Errorf("%.80s\ngot  %v\nwant %s", target, err, want)
		}
	}
}

// TestShapes: a route that could not be read is found when the server starts.
func TestShapes(t *testing.T) {
	type body struct {
		Name string `json:"name"`
	}
	for _, tt := range []struct {
		name, pattern string
		in            reflect.Type
		want          string // of the panic
	}{
		{"a body", "POST /v1/a", reflect.TypeFor[body](), ""},
		{"nothing", "POST /v1/a", reflect.TypeFor[none](), ""},
		{"both", "PUT /v1/{name}", reflect.TypeFor[struct {
			Name string `path:"name"`
			Body body
		}](), ""},
		{"neither", "PUT /v1/{name}", reflect.TypeFor[struct {
			Name  string `path:"name"`
			Other string
		}](), "neither a parameter nor Body"},
		{"not in the path", "PUT /v1/a", reflect.TypeFor[byName](), "does not fit"},
		{"not read", "PUT /v1/{name}/{id}", reflect.TypeFor[byName](), "is not read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer func() {
				if p, _ := recover().(string); !strings.Contains(p, tt.want) || tt.want == "" && p != "" {
					t.Errorf("panic %q, want %q", p, tt.want)
				}
			}()
			shapeOf(tt.in, tt.pattern)
		})
	}
}

func TestRetryAfter(t *testing.T) {
	wait := func(code string, after time.Duration) error {
		return &vault.Error{Code: code, Message: "later", Err: errors.New("busy"), Wait: after}
	}
	const limited = vault.CodeRateLimited
	for _, tt := range []struct {
		err  error
		want string
	}{
		{wait(limited, 0), "5"}, {wait(limited, -time.Minute), "5"}, {wait(vault.CodeUnavailable, 0), "5"},
		{wait(limited, time.Millisecond), "1"}, {wait(limited, time.Second), "1"},
		{wait(limited, 1001*time.Millisecond), "2"}, {wait(vault.CodeTooManyInvites, time.Hour), "3600"},
		{wait(vault.CodeConflict, time.Hour), ""},
	} {
		w := httptest.NewRecorder()
		s := &server{Options: Options{Log: slog.New(slog.DiscardHandler)}}
		s.writeError(w, httptest.NewRequest("GET", "/", nil), tt.err)
		if got := w.Header().Get("Retry-After"); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}
