package api_test

import (
	"context"
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

var update = flag.Bool("update", false, "write generated files")

// TestGeneratedOpenAPI holds the committed document against the one served.
func TestGeneratedOpenAPI(t *testing.T) {
	a := newEmpty(t).send("GET", "/v1/openapi.json", "", "")
	a.want(t, 200)
	a.secure(t)
	if kind := a.header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("Content-Type: %s", kind)
	}
	const path = "../docs/openapi.json"
	if *update {
		if err := os.WriteFile(path, []byte(a.body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != a.body {
		t.Errorf("%s is not up to date; run make generate (%v)", path, err)
	}
}

// document is the one that a fresh instance serves, held to OpenAPI 3.1.
func document(t testing.TB) *openapi3.T {
	t.Helper()
	a := newEmpty(t).send("GET", "/v1/openapi.json", "", "")
	d, err := openapi3.NewLoader().LoadFromData([]byte(a.body))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOpenAPIIsValid(t *testing.T) {
	d := document(t)
	if err := d.Validate(context.Background()); err != nil {
		t.Error(err)
	}
	if !d.IsOpenAPI31OrLater() {
		t.Errorf("version %s", d.OpenAPI)
	}
}

// holds holds an answer to what the document says of it.
func (o operation) holds(t testing.TB, a reply) {
	t.Helper()
	response := o.Responses.Value(strconv.Itoa(a.status))
	if response == nil {
		response = o.Responses.Value(strconv.Itoa(a.status/100) + "XX")
	}
	if response == nil {
		t.Errorf("%s: the document does not know the status %d", o, a.status)
		return
	}
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	content := response.Value.Content.Get(kind)
	switch {
	case content == nil && kind != "": // a file's type may be left to be sniffed
		t.Errorf("%s: the document does not know the Content-Type %q", o, kind)
	case content != nil && content.Schema != nil && kind == "application/json":
		var body any
		a.into(t, a.status, &body)
		if err := o.document.ValidateSchemaJSON(content.Schema.Value, body); err != nil {
			t.Errorf("%s: %d %s: %v", o, a.status, a.body, err)
		}
	}
}
