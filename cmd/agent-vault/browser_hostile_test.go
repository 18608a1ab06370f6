package main_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode"
)

// hostileWords are more than 300 texts by which an agent could try to be more
// than text on a person's screen: each kind in several disguises.
func hostileWords() (words []string) {
	for _, kind := range []string{
		`<script>taken()</script>`, `<img src=x onerror=taken()>`, `<svg/onload=taken()>`, `<iframe srcdoc="<script>parent.taken()</script>"></iframe>`,
		`<form action=//evil.test><button>Allow</button></form>`, `" onfocus="taken()" autofocus x="`, `' onmouseover='taken()' x='`, `javascript:taken()`,
		`<a href="javascript:taken()" id=x autofocus>Allow</a>`, `<meta http-equiv=refresh content="0;url=//evil.test">`, `<base href=//evil.test>`, `<link rel=stylesheet href=//evil.test/x.css>`,
		`<style>main{display:none}</style>`, `<div hx-get="//evil.test" hx-trigger="load">x</div>`, `<div hx-on::load="taken()" data-hx-get="/vaults" hx-trigger="load">x</div>`,
		`<template><script>taken()</script></template>`, `<math><mtext></table><mglyph><style><img src onerror=taken()>`, `<details open ontoggle=taken()>`, `<video><source onerror=taken()></video>`,
		`<input name=decision value=allow form=x>`, `<dialog open>Approved</dialog>`, `<object data="javascript:taken()"></object>`, `<embed src="data:text/html,<script>taken()</script>">`,
		`</textarea><script>taken()</script>`, `</title><script>taken()</script>`, `</blockquote></main><h1>Approved</h1>`, `--><script>taken()</script><!--`, `]]><script>taken()</script>`,
		`{{.}}{{template "main" .}}`, `${taken()}`, `<%= taken() %>`, `&lt;script&gt;taken()&lt;/script&gt;`, `&#60;script&#62;taken()&#60;/script&#62;`, `\u003cscript\u003etaken()\u003c/script\u003e`,
		"\u202egnp.exe\u202c", "\u2066\u2067x\u2069", "a\u200bb\u200dc\ufeff", "a\u2028b\u2029c", "\U000e0041\U000e0042", "\u0301" + strings.Repeat("\u0316", 60), "аррӏе.com", "pаypal.com", "＜script＞taken()＜/script＞",
		"+ADw-script+AD4-taken()+ADw-/script+AD4-", strings.Repeat("W", 180), strings.Repeat("\n", 60), strings.Repeat("שלום ", 30), strings.Repeat("\u3000", 60), strings.Repeat("﷽", 60),
	} {
		words = append(words, kind, `">`+kind, `'>`+kind, "</bdi></code></p>"+kind, "<!--"+kind, kind+"\u202e", strings.ReplaceAll(kind, "script", "ScRiPt\t"))
	}
	return words
}

// TestHostileWordsInABrowser: whatever an agent writes, wherever it may write,
// runs nothing, opens nothing, and leaves the page its layout. The browser's
// console has no word of a policy that had to stop something.
func TestHostileWordsInABrowser(t *testing.T) {
	s := newShowroom(t)
	words := hostileWords()
	if len(words) < 300 {
		t.Fatalf("%d words, want 300", len(words))
	}
	const each = 10 // services and credentials of a proposal
	for from := 0; from < len(words); from += each {
		number := s.proposeWords(t, words[from:min(from+each, len(words))])
		s.looksHarmless(t, fmt.Sprintf("/approve/%d?vault=default", number), "button[value=allow]")
		if from == 0 {
			s.looksHarmless(t, "/vaults", "header form")
			s.looksHarmless(t, "/vaults/default", "header form")
		}
		_, err := s.owner.RejectProposal(t.Context(), "default", number, "")
		must(t, err)
	}
	for i, w := range words {
		path := "/" + url.PathEscape(strings.ToValidUTF8(w, "")) + "?" + url.QueryEscape(w)
		s.send("GET", "/proxy/"+[]string{"unknown.test", "open.test"}[i%2]+path, s.token, "")
	}
	next := "/vaults/default/traffic"
	for range 1 + len(words)/50 {
		s.looksHarmless(t, next, "header form")
		if next = evaluate[string](s.in, `document.querySelector('a[href*="cursor="]')?.getAttribute('href') ?? ''`); next == "" {
			break
		}
		if strings.HasPrefix(next, "?") {
			next = "/vaults/default/traffic" + next
		}
	}
	s.looksHarmless(t, "/vaults/default/traffic/hosts", "header form")
}

// proposeWords makes a proposal with the words in all of its texts, and returns
// its number.
func (s *showroom) proposeWords(t *testing.T, words []string) int64 {
	t.Helper()
	type object = map[string]any
	var services, credentials []object
	for i, w := range words {
		w = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) && r != '\n' && r != '\t' {
				return -1 // the API takes none
			}
			return r
		}, w)
		key := fmt.Sprintf("KEY_%d", i)
		services = append(services, object{"action": "set", "name": fmt.Sprintf("words-%d", i), "host": fmt.Sprintf("w%d.words.test", i), "description": w, "auth": object{"type": "bearer", "token": key}})
		credentials = append(credentials, object{"action": "set", "key": key, "description": w, "obtain_instructions": w, "obtain": "https://evil.test/?" + url.QueryEscape(w[:min(len(w), 100)])})
	}
	all := []rune(strings.Join(words, "\n"))
	body, err := json.Marshal(object{"services": services, "credentials": credentials, "message": string(all[:min(len(all), 2000)]), "user_message": string(all)})
	must(t, err)
	number, _ := s.post("/v1/proposals", s.token, string(body)).object(t, 201)["id"].(float64)
	return int64(number)
}

// looksHarmless opens a page on a phone and holds it to what it should be.
func (s *showroom) looksHarmless(t *testing.T, path, there string) {
	t.Helper()
	b := s.show(screen{path: path}, "light", phone)
	b.waits(there)
	if over := evaluate[[]string](b, widerThanScreen); len(over) > 0 {
		t.Errorf("%s is wider than the screen: %q", path, over)
	}
	const strange = `[...document.querySelectorAll('script:not([src^="/static/"]), iframe, object, embed, base, style, meta[http-equiv], dialog, video, svg:not(.chart), [onfocus], [onerror], [onload]')].map(e => e.outerHTML)
		.concat([...document.querySelectorAll('[href], [src], [action], [hx-get]')].map(e => e.getAttribute('href') ?? e.getAttribute('src') ?? e.getAttribute('action') ?? e.getAttribute('hx-get')).filter(to => !/^(\/[^\/]|\/$|#|\?|https:\/\/(evil|console\.other)\.test\/|$)/.test(to)))
		.concat(typeof window.taken === 'undefined' ? [] : ['taken'])
		.concat(getComputedStyle(document.querySelector('main')).display === 'none' ? ['main is hidden'] : [])`
	if found := evaluate[[]string](b, strange); len(found) > 0 {
		t.Errorf("%s holds %q", path, found)
	}
}
