// Package shown answers how people are shown what they must not be deceived by:
// names and words that agents choose, and hosts (R20). The command line and the
// pages both use it. Nothing here escapes for HTML; templates do.
package shown

import (
	"fmt"
	"net"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Deceptive reports whether a character can deceive who reads it: control
// characters, those that turn the direction of text or are not seen, and
// separators of lines.
func Deceptive(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }

// Plain makes one harmless line of what an agent or a server wrote.
func Plain(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, Deceptive) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case Deceptive(r) && r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case Deceptive(r) && r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case Deceptive(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		s = s[size:]
	}
	return b.String()
}

// Lines are the words of somebody else, each line of them harmless.
func Lines(words string) (lines []string) {
	for line := range strings.SplitSeq(strings.TrimRight(words, "\n"), "\n") {
		lines = append(lines, Plain(line))
	}
	return lines
}

// Age is how long ago a time was, in its greatest unit.
func Age(t, now time.Time) string {
	switch d := now.Sub(t); {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", d/time.Hour)
	default:
		return fmt.Sprintf("%dd ago", d/(24*time.Hour))
	}
}

// Rule is a service's rule in words. Action "" is allow; no methods or paths are
// all of them, and preset and when are its conditions.
func Rule(action string, methods, paths []string, preset, when string) string {
	words := []string{"allow", "every method", "every path"}
	if action != "" {
		words[0] = action
	}
	if len(methods) > 0 {
		words[1] = strings.Join(methods, ", ")
	}
	if len(paths) > 0 {
		words[2] = strings.Join(paths, ", ")
	}
	return Plain(fmt.Sprintf("%s %s on %s", words[0], words[1], words[2]) + Conditions(preset, when))
}

// Conditions are a rule's conditions in words, to stand behind what they are
// conditions of.
func Conditions(preset, when string) string {
	words := ""
	if preset != "" {
		words = " if " + preset
	}
	switch {
	case when == "":
	case preset == "":
		words = " if " + when
	default:
		words += " and " + when
	}
	return Plain(words)
}

// A Host is the host of a service, taken apart. Every part is harmless.
type Host struct {
	Below   string // what stands before Domain, with its dot: "api."
	Domain  string // what somebody registered: "github.com"; "" for an address or a local name
	Rest    string // port and path; all of it where there is no Domain
	Unicode string // what the A-labels stand for; "" without any
}

// HostOf takes the host of a service, or that of a URL, apart.
func HostOf(pattern string) Host {
	host, path := pattern, ""
	if i := strings.IndexByte(host, '/'); i >= 0 {
		host, path = host[:i], host[i:]
	}
	host, port := withoutPort(host)
	ascii, err := idna.Punycode.ToASCII(strings.ToLower(host))
	if err != nil {
		ascii = host
	}
	h := Host{Rest: Plain(ascii + port + path)}
	bare := strings.TrimPrefix(ascii, "*.")
	if domain, err := publicsuffix.EffectiveTLDPlusOne(bare); err == nil && net.ParseIP(bare) == nil {
		h = Host{Below: Plain(strings.TrimSuffix(ascii, domain)), Domain: Plain(domain), Rest: Plain(port + path)}
	}
	if unicode, err := idna.Punycode.ToUnicode(ascii); err == nil && unicode != ascii {
		h.Unicode = Plain(unicode)
	}
	return h
}

// String sets the domain off, as in api.[github.com], and adds what A-labels
// stand for.
func (h Host) String() string {
	text := h.Below
	if h.Domain != "" {
		text += "[" + h.Domain + "]"
	}
	text += h.Rest
	if h.Unicode != "" {
		text += " (" + h.Unicode + ")"
	}
	return text
}

// withoutPort takes a port off a host, with its colon.
func withoutPort(host string) (bare, port string) {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.HasSuffix(host, "]") || strings.Contains(host[:i], ":") && !strings.HasPrefix(host, "[") {
		return host, ""
	}
	return host[:i], host[i:]
}

// Text is Plain for a text of many lines: line feeds and tabs stay.
func Text(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, Deceptive) {
		return s
	}
	var b strings.Builder
	for piece := range strings.SplitAfterSeq(s, "\n") {
		line, ended := strings.CutSuffix(piece, "\n")
		for i, part := range strings.Split(line, "\t") {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(Plain(part))
		}
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
