package policy

import (
	"slices"
	"strings"
)

// longList is how many services of a host are looked at one after the other.
const longList = 16

// Prefixes find in a long list of services those whose paths can match, by the
// bytes that their paths begin with. Nil finds nothing.
type prefixes struct {
	list  []compiled
	parts [2]part // services with a port, which come first, and those without
}

type part struct {
	lengths []int            // of prefixes, the longest first
	at      map[string][]int // indices into the list, by prefix
}

// newPrefixes returns nil for a list that is not long.
func newPrefixes(list []compiled) *prefixes {
	if len(list) <= longList {
		return nil
	}
	p := &prefixes{list: list}
	for i := range list {
		part := &p.parts[b2i(list[i].port == 0)]
		prefix := list[i].path.literals()
		if part.at == nil {
			part.at = make(map[string][]int)
		}
		if part.at[prefix] == nil && !slices.Contains(part.lengths, len(prefix)) {
			part.lengths = append(part.lengths, len(prefix))
		}
		part.at[prefix] = append(part.at[prefix], i)
	}
	for i := range p.parts {
		slices.SortFunc(p.parts[i].lengths, func(a, b int) int { return b - a })
	}
	return p
}

// literals are the bytes that the paths of a glob begin with; nil has none.
func (g *glob) literals() string {
	if g == nil {
		return ""
	}
	b := make([]byte, g.prefix)
	for i := range b {
		b[i] = g.items[i].b
	}
	return string(b)
}

// spelledPlainly reports whether the bytes of a path stand for themselves, and in
// one way.
func spelledPlainly(path string) bool { return strings.IndexByte(path, '%') < 0 && !ambiguous(path) }

// decide is decideIn for a path that is spelled plainly. The longer prefix is the
// better rank.
func (p *prefixes) decide(q Query) (d Decision, ok bool) {
	for i := range p.parts {
		part := &p.parts[i]
		for _, n := range part.lengths {
			if n > len(q.Path) {
				continue
			}
			for _, at := range part.at[q.Path[:n]] {
				if c := &p.list[at]; c.covers(q) && c.serves(q) && (c.path == nil || c.path.match(q.Path)) {
					return c.decide(q), true
				}
			}
		}
	}
	return Decision{}, false
}
