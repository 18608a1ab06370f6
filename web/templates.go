package web

import (
	"html/template"
	"io/fs"
	"strings"
	"time"

	"agentvault/api/shown"
)

// readTemplates makes a template of each page: the layout and the parts that
// pages share, with the page's "main".
func (p *Pages) readTemplates() (map[string]*template.Template, error) {
	base, err := template.New("").Funcs(p.funcs()).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(templateFiles, "templates")
	if err != nil {
		return nil, err
	}
	pages := make(map[string]*template.Template, len(entries))
	for _, e := range entries {
		page, err := base.Clone()
		if err != nil {
			return nil, err
		}
		if pages[e.Name()], err = page.ParseFS(templateFiles, "templates/"+e.Name()); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

// funcs are what templates may call.
func (p *Pages) funcs() template.FuncMap {
	return template.FuncMap{
		"asset": func(name string) string { return p.assets[name].url },
		"host":  shown.HostOf,
		"vault": vaultPath,
		"adds":  addPath,
		"age":   func(t time.Time) string { return shown.Age(t, p.Now()) },
		"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"utc":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
		"clock": func(t time.Time) string { return t.UTC().Format(time.DateTime) },
		"took":  func(micros int64) string { return took(time.Duration(micros) * time.Microsecond) },
		// authority is a request's host, with the scheme and port that are not the usual ones.
		"authority": authority,
		"cleartext": func(target string) bool { return strings.HasPrefix(target, "http://") },
		// long words are scrolled in their frame, by keyboard too.
		"long": func(words string) bool { return len(words) > 240 || strings.Count(words, "\n") > 6 },
		// key is one, or nothing: what was typed in its place may be a value.
		"key": func(typed string) string {
			if strings.Trim(typed, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
				return ""
			}
			return typed
		},
		"list": func(words ...string) []string { return words },
		// by makes the arguments of a part that takes several, in pairs.
		"by": func(pairs ...any) map[string]any {
			m := make(map[string]any, len(pairs)/2)
			for i := 0; i+1 < len(pairs); i += 2 {
				m[pairs[i].(string)] = pairs[i+1]
			}
			return m
		},
	}
}
