package policy

import (
	"strings"

	"github.com/agnivade/levenshtein"
	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Registrable returns the domain that somebody registered of a host without
// port, in A-labels, and whether it lies below one that strangers share, such as
// herokuapp.com. It is "" for addresses and local names.
func Registrable(host string) (domain string, shared bool) {
	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil || strings.ContainsAny(host, ":") {
		return "", false
	}
	suffix, icann := publicsuffix.PublicSuffix(host)
	_, parent, _ := strings.Cut(host, ".")
	return domain, !icann && strings.Contains(suffix, ".") || sharedDomains[domain] || sharedDomains[parent]
}

// Lengths of names, in characters, from which on they are compared: shorter ones
// are near to each other by chance.
const (
	leastSame = 3 // for names that read the same
	leastNear = 5 // for names with one other letter, or in part
)

// Resembles reports whether a person could take a host for another, known one
// that somebody else has registered: it reads the same or nearly so, stands
// under another suffix, or has the known one in front. Both are in A-labels and
// without a port.
func Resembles(host, known string) bool {
	domain, _ := Registrable(host)
	other, _ := Registrable(known)
	if domain == "" || other == "" || domain == other {
		return false
	}
	if strings.Contains("."+host+".", "."+other+".") {
		return true
	}
	name, otherName := skeleton(domain), skeleton(other)
	if name == otherName {
		return len(name) >= leastSame
	}
	if len(otherName) < leastNear {
		return false
	}
	for part := range strings.SplitSeq(name, "-") {
		if part == otherName {
			return true
		}
	}
	return levenshtein.ComputeDistance(name, otherName) == 1
}

// skeleton is a domain's first label with letters that look alike made one.
func skeleton(domain string) string {
	label, _, _ := strings.Cut(domain, ".")
	if u, err := idna.Punycode.ToUnicode(label); err == nil {
		label = u
	}
	return alike.Replace(label)
}

// alike makes one of what looks alike in common fonts: the letters of other
// alphabets that Unicode's confusables.txt lists for a to z, where they are in
// use, and figures. Accents are left out.
var alike = strings.NewReplacer(
	"rn", "m", "vv", "w", "cl", "d", "0", "o", "1", "l", "i", "l", "5", "s",
	"а", "a", "в", "b", "е", "e", "һ", "h", "і", "l", "ј", "j", "к", "k", "м", "m", "н", "h", "о", "o", "р", "p", "с", "c", "ѕ", "s", "т", "t", "у", "y", "х", "x", "ѵ", "v", "ԁ", "d", "ԛ", "q", "ԝ", "w", "ӏ", "l", "ո", "n", "օ", "o", "ս", "u",
	"α", "a", "ε", "e", "η", "n", "ι", "l", "κ", "k", "ν", "v", "ο", "o", "ρ", "p", "τ", "t", "υ", "u", "χ", "x", "ω", "w",
	"à", "a", "á", "a", "â", "a", "ã", "a", "ä", "a", "å", "a", "ā", "a", "ą", "a", "ç", "c", "ć", "c", "č", "c", "ď", "d", "è", "e", "é", "e", "ê", "e", "ë", "e", "ē", "e", "ė", "e", "ę", "e", "ě", "e", "ẹ", "e", "ğ", "g", "ģ", "g", "ì", "l", "í", "l", "î", "l", "ï", "l", "ī", "l", "į", "l", "ı", "l", "ķ", "k", "ĺ", "l", "ļ", "l", "ľ", "l", "ł", "l", "ñ", "n", "ń", "n", "ņ", "n", "ň", "n", "ò", "o", "ó", "o", "ô", "o", "õ", "o", "ö", "o", "ø", "o", "ő", "o", "ọ", "o", "ŕ", "r", "ř", "r", "ś", "s", "ş", "s", "š", "s", "ș", "s", "ţ", "t", "ť", "t", "ț", "t", "ù", "u", "ú", "u", "û", "u", "ü", "u", "ū", "u", "ů", "u", "ű", "u", "ụ", "u", "ý", "y", "ÿ", "y", "ź", "z", "ż", "z", "ž", "z",
)
