package broker

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// conns are the connections of agents, of all entrances. When there are as many
// as there may be, a new one takes the place of the one that has been idle
// longest of whoever has most: so who opens thousands keeps only himself out.
//
// A connection is nobody's until its first request was admitted; nobody counts
// as one more session. Those on which a request or a tunnel is open keep their
// places: the limits of sessions bound them.
type conns struct {
	limit int // 0: none

	mu     sync.Mutex
	open   int
	owners map[[32]byte]*owner
}

// An owner is what one session, or nobody, has.
type owner struct {
	open int
	idle list.List // of *agentConn, the longest idle first
}

// An agentConn is one connection. Its fields are guarded by conns.mu.
type agentConn struct {
	net.Conn
	conns *conns
	owner [32]byte      // digest of the session's token; zero: nobody's
	idle  *list.Element // nil while something is open on it
	since time.Time     // when idle began
	busy  int           // requests; a tunnel counts as one that has no end
	gone  bool
}

// newConns bounds by what the process may open, too: an exchange takes two
// descriptors.
func newConns(limit int) *conns {
	var files syscall.Rlimit
	if limit > 0 && syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil && files.Cur/3 < uint64(limit) {
		limit = max(64, int(files.Cur/3))
	}
	return &conns{limit: limit, owners: make(map[[32]byte]*owner)}
}

// Share makes the connections of srv, which is to be served on the listener that
// it returns, share what there is of them fairly with those of every other
// server of this Broker. It sets srv's Handler and ConnContext.
func (b *Broker) Share(srv *http.Server, ln net.Listener) net.Listener {
	handler, connContext := srv.Handler, srv.ConnContext
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if ac, ok := c.(*agentConn); ok {
			ctx, c = context.WithValue(ctx, agentConnKey{}, ac), ac.Conn
		}
		if connContext != nil {
			ctx = connContext(ctx, c)
		}
		return ctx
	}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ac := connOf(r.Context()); ac != nil {
			ac.begin()
			defer ac.end()
		}
		handler.ServeHTTP(w, r)
	})
	return &sharedListener{Listener: ln, conns: b.conns}
}

type agentConnKey struct{}

func connOf(ctx context.Context) *agentConn {
	ac, _ := ctx.Value(agentConnKey{}).(*agentConn)
	return ac
}

type sharedListener struct {
	net.Listener
	conns *conns
}

func (l *sharedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ac := &agentConn{Conn: c, conns: l.conns}
		victim, wait := l.conns.add(ac)
		for wait > 0 {
			time.Sleep(wait)
			victim, wait = l.conns.add(ac)
		}
		if victim != nil {
			_ = victim.Conn.Close() // whose it is sees an idle connection end
		}
		if victim != ac {
			return ac, nil
		}
	}
}

// add takes a place, if need be that of the victim, which is to be closed. The
// victim is the new connection itself where nobody has a place to give. With a
// wait, it is to be tried again after it.
func (cs *conns) add(ac *agentConn) (victim *agentConn, wait time.Duration) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	now := time.Now()
	if cs.limit > 0 && cs.open >= cs.limit {
		var most *owner
		for _, o := range cs.owners {
			if o.idle.Len() > 0 && (most == nil || o.open > most.open) {
				most = o
			}
		}
		if most == nil {
			return ac, 0
		}
		victim = most.idle.Front().Value.(*agentConn)
		if wait = firstRequest - now.Sub(victim.since); wait > 0 && victim.owner == ([32]byte{}) {
			return nil, wait
		}
		victim.leave()
	}
	cs.open++
	o := cs.of(ac.owner)
	o.open++
	ac.rest(o, now)
	return victim, 0
}

// firstRequest is how long a connection has for its first request before it may
// have to give its place to another. Accepting waits for so long at most, when
// all places are taken by such.
const firstRequest = 100 * time.Millisecond

func (ac *agentConn) rest(o *owner, now time.Time) {
	ac.idle, ac.since = o.idle.PushBack(ac), now
}

func (cs *conns) of(digest [32]byte) *owner {
	o := cs.owners[digest]
	if o == nil {
		o = new(owner)
		cs.owners[digest] = o
	}
	return o
}

// leave gives the place back.
func (ac *agentConn) leave() {
	if ac.gone {
		return
	}
	ac.gone = true
	ac.conns.open--
	ac.quit()
}

// quit takes the connection from its owner.
func (ac *agentConn) quit() {
	o := ac.conns.of(ac.owner)
	if ac.idle != nil {
		o.idle.Remove(ac.idle)
		ac.idle = nil
	}
	if o.open--; o.open == 0 {
		delete(ac.conns.owners, ac.owner)
	}
}

func (ac *agentConn) begin() {
	ac.conns.mu.Lock()
	defer ac.conns.mu.Unlock()
	ac.busy++
	if ac.idle != nil {
		ac.conns.of(ac.owner).idle.Remove(ac.idle)
		ac.idle = nil
	}
}

func (ac *agentConn) end() {
	ac.conns.mu.Lock()
	defer ac.conns.mu.Unlock()
	if ac.busy--; ac.busy == 0 && !ac.gone {
		ac.rest(ac.conns.of(ac.owner), time.Now())
	}
}

// belongs says whose connection it is: of the last session that was admitted on
// it. It is called while a request is open on it.
func (ac *agentConn) belongs(digest [32]byte, tunnel bool) {
	if ac == nil {
		return
	}
	ac.conns.mu.Lock()
	defer ac.conns.mu.Unlock()
	if tunnel {
		ac.busy++
	}
	if ac.owner == digest || ac.gone {
		return
	}
	ac.quit()
	ac.owner = digest
	ac.conns.of(digest).open++
}

// Close implements net.Conn.
func (ac *agentConn) Close() error {
	ac.conns.mu.Lock()
	ac.leave()
	ac.conns.mu.Unlock()
	return ac.Conn.Close()
}

// CloseWrite lets net/http half-close before it closes.
func (ac *agentConn) CloseWrite() error {
	if h, ok := ac.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}
