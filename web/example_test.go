package web_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"agentvault/web"
)

// An answering API answers everything with the same.
type answering string

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(string(a))), Request: r}, nil
}

// The pages stand before the API, and take what is theirs.
func ExampleNew() {
	pages, err := web.New(web.Options{
		API:     func(string) http.RoundTripper { return answering(`{"initialized": true}`) },
		BaseURL: func() string { return "http://127.0.0.1:14321" },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, path := range []string{"/", "/sign-in", "/v1/status"} {
		r := httptest.NewRequest("GET", "http://127.0.0.1:14321"+path, nil)
		if !pages.Serves(r) {
			fmt.Println(path, "is the API's")
			continue
		}
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, r)
		fmt.Println(path, w.Code, http.StatusText(w.Code))
	}
	// Output:
	// / 303 See Other
	// /sign-in 200 OK
	// /v1/status is the API's
}
