package broker

import (
	"errors"
	"io"
)

// errToken ends a body in which a token of the vault stood. The fault is told by
// other means; the error only keeps the body from looking whole.
var errToken = errors.New("the body holds a token of the vault")

// minGuarded is the shortest buffer that a body is read into directly.
const minGuarded = 2 * maxToken

// A tokenGuard passes a body on unless it holds a token (R8), also where one
// lies across reads. It holds back no more than what could still become a
// token's tail, and of a token it passes on nothing behind its prefix.
type tokenGuard struct {
	match tokenMatcher
	short []byte // read into where the reader's own buffer is too short
	ready []byte // the part of short that has not been given out
	err   error  // of what was read into short
}

// read reads from src into p. The error is errToken once a token was found.
func (g *tokenGuard) read(src io.Reader, p []byte) (int, error) {
	if len(p) >= minGuarded && len(g.ready) == 0 && g.err == nil {
		n, err := g.fill(src, p)
		g.err = err
		return n, err
	}
	if len(g.ready) == 0 && g.err == nil {
		if g.short == nil {
			g.short = make([]byte, minGuarded)
		}
		n, err := g.fill(src, g.short)
		g.ready, g.err = g.short[:n], err
	}
	n := copy(p, g.ready)
	if g.ready = g.ready[n:]; len(g.ready) > 0 {
		return n, nil
	}
	return n, g.err
}

// fill reads until there is something to give out, or nothing to read.
func (g *tokenGuard) fill(src io.Reader, p []byte) (int, error) {
	for {
		n := copy(p, g.match.held())
		read, err := src.Read(p[n:])
		if g.match.scan(p[n : n+read]) {
			return 0, errToken
		}
		n += read
		if errors.Is(err, io.EOF) {
			return n, err // what was held has not become a token
		}
		if n -= len(g.match.held()); n > 0 || read == 0 || err != nil {
			return n, err
		}
	}
}
