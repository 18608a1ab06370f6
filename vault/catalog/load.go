package catalog

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed entries/*.yaml
var files embed.FS

// embedded reads the catalog once. A file that cannot be read is a mistake in
// this package, which its tests find, so it panics.
var embedded = sync.OnceValue(func() []Entry {
	entries, err := load(files)
	if err != nil {
		panic("catalog: " + err.Error())
	}
	return entries
})

// load reads entries/*.yaml and sorts by name, which is another order than
// that of the files: "-" comes before ".".
func load(fsys fs.FS) ([]Entry, error) {
	names, err := fs.Glob(fsys, "entries/*.yaml")
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(names))
	for _, file := range names {
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, err
		}
		e, err := parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if e.Name != strings.TrimSuffix(path.Base(file), ".yaml") {
			return nil, fmt.Errorf("%s: name: %q is not that of the file", file, e.Name)
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// parse reads one file. It goes by way of JSON, in which an inject.Auth and a
// policy.Rule are written everywhere else too. Unknown fields are refused, and
// so is a key that stands twice.
func parse(data []byte) (Entry, error) {
	var fields map[string]any
	if err := yaml.Unmarshal(data, &fields); err != nil {
		return Entry{}, err
	}
	asJSON, err := json.Marshal(fields)
	if err != nil {
		return Entry{}, err
	}
	d := json.NewDecoder(bytes.NewReader(asJSON))
	d.DisallowUnknownFields()
	var e Entry
	if err := d.Decode(&e); err != nil {
		return Entry{}, err
	}
	return e, nil
}
