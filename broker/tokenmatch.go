package broker

import (
	"bytes"

	"agentvault/vault"
)

// Measures of a token, in bytes: what begins every prefix, what stands behind a
// prefix, and a whole token of the longest prefix.
const (
	tokenStart = "av_"
	tokenTail  = 49
	maxToken   = len("av_login_") + tokenTail
)

// A tokenMatcher finds the vault's tokens in a stream that comes in pieces. A
// token is what [vault.CheckToken] takes: text that merely begins like one is
// none. The zero matcher stands at the beginning of a stream.
type tokenMatcher struct {
	buf  [maxToken]byte // the end of the stream, as far as a token could begin with it
	n    int            // bytes of buf
	head int            // length of the prefix that buf begins with; 0 while that is not whole
}

// held is the end of the stream that must not be sent yet: what stands behind a
// whole prefix, and could still become a token. A prefix alone is nobody's
// token; who waits for an answer to what ends with an "a" must get it.
func (m *tokenMatcher) held() []byte {
	if m.head == 0 {
		return nil
	}
	return m.buf[m.head:m.n]
}

// scan takes the next piece and reports whether a token ends in it. After one
// the matcher is of no more use.
func (m *tokenMatcher) scan(piece []byte) (found bool) {
	for len(piece) > 0 {
		if m.n == 0 {
			i := bytes.Index(piece, []byte(tokenStart))
			if i < 0 { // but it may end with the start's first bytes
				i = max(0, len(piece)-len(tokenStart)+1)
			}
			if piece = piece[i:]; len(piece) == 0 {
				return false
			}
		}
		if m.add(piece[0]) {
			return true
		}
		piece = piece[1:]
	}
	return false
}

func (m *tokenMatcher) add(c byte) (found bool) {
	m.buf[m.n] = c
	m.n++
	switch {
	case m.head == 0:
		m.settle(0)
	case !isBase62(c):
		m.settle(1)
	case m.n == m.head+tokenTail:
		if _, ok := vault.CheckToken(string(m.buf[:m.n])); ok {
			return true
		}
		m.settle(1)
	}
	return false
}

// settle drops bytes, those before from whatever they are, until a token could
// begin with what is left.
func (m *tokenMatcher) settle(from int) {
	for i := from; i < m.n; i++ {
		if rest := m.buf[i:m.n]; rest[0] == tokenStart[0] && beginsToken(rest) {
			m.n, m.head = copy(m.buf[:], rest), 0
			if m.n > len(tokenStart) && m.buf[m.n-1] == '_' {
				m.head = m.n
			}
			return
		}
	}
	m.n, m.head = 0, 0
}

// beginsToken reports whether rest is a prefix of tokens, or begins one.
func beginsToken(rest []byte) bool {
	if len(rest) <= len(tokenStart) {
		return tokenStart[:len(rest)] == string(rest)
	}
	for _, prefix := range &tokenPrefixes {
		if len(rest) <= len(prefix) && prefix[:len(rest)] == string(rest) {
			return true
		}
	}
	return false
}

func isBase62(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
