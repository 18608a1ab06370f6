package media_test

import (
	"fmt"
	"testing"

	"agentvault/policy/media"
)

func ExampleOf() {
	said := media.Of(map[string][]string{"Content-Type": {"application/vnd.api+json; charset=UTF-8"}, "Content-Encoding": {"gzip"}})
	fmt.Println(said.Type, said.Kind == media.JSON, said.Plain(media.JSON))
	// Output: application/vnd.api+json true false
}

func TestOf(t *testing.T) {
	typed := func(values ...string) map[string][]string { return map[string][]string{"Content-Type": values} }
	with := func(name string, values ...string) map[string][]string {
		return map[string][]string{"Content-Type": {"application/json"}, name: values}
	}
	plain := media.Said{Kind: media.JSON, Type: "application/json"}
	coded := media.Said{Kind: media.JSON, Type: "application/json", Coded: true}
	unclear := media.Said{Kind: media.Unclear}
	for i, row := range []struct {
		header map[string][]string
		want   media.Said
	}{
		{nil, media.Said{}},
		{typed(), media.Said{}},
		{typed("application/json"), plain},
		{typed("Application/JSON; charset=UTF-8"), plain},
		{typed("application/json; charset=utf8"), plain},
		{typed("application/json; charset=utf-16"), media.Said{Kind: media.JSON, Type: "application/json", Charset: true}},
		{typed("application/json; charset=us-ascii"), media.Said{Kind: media.JSON, Type: "application/json", Charset: true}},
		{typed("text/json"), media.Said{Kind: media.JSON, Type: "text/json"}},
		{typed("application/vnd.api+json"), media.Said{Kind: media.JSON, Type: "application/vnd.api+json"}},
		{typed("application/x-ndjson"), media.Said{Kind: media.Lines, Type: "application/x-ndjson"}},
		{typed("application/jsonl"), media.Said{Kind: media.Lines, Type: "application/jsonl"}},
		{typed("application/x-www-form-urlencoded; charset=latin1"), media.Said{Kind: media.Form, Type: "application/x-www-form-urlencoded", Charset: true}},
		{typed("multipart/form-data; boundary=x"), media.Said{Kind: media.Multipart, Type: "multipart/form-data"}},
		{typed("text/plain"), media.Said{Kind: media.Other, Type: "text/plain"}},
		{typed("application/jsonx"), media.Said{Kind: media.Other, Type: "application/jsonx"}},
		{typed("application/json", "text/plain"), unclear},
		{typed("application/json, text/plain"), unclear},
		{typed("application/json; ="), unclear},
		{typed(""), unclear},
		{map[string][]string{"content-type": {"application/json"}}, plain},
		{with("Content_Type", "text/plain"), unclear},
		{with("CONTENT.TYPE", "application/json"), unclear},
		{with("Contentxtype", "text/plain"), plain},
		{with("Content-Encoding", "gzip"), coded},
		{with("Content_Encoding", "gzip"), coded},
		{with("Content-Encoding", "", "br"), coded},
		{with("Content-Encoding", "identity", " Identity "), plain},
	} {
		if got := media.Of(row.header); got != row.want {
			t.Errorf("%d %v: %+v, want %+v", i, row.header, got, row.want)
		}
	}
}
