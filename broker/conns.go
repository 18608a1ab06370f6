package broker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
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
//
// The mutex is taken when a connection comes, goes, or gets another owner, and
// by no request besides.
type conns struct {
	limit int // 0: none

	mu     sync.Mutex
	open   int
	owners map[[32]byte]*owner
}

// An owner is what one session, or nobody, has.
type owner struct {
	digest [32]byte // of the session's token; zero: nobody
	conns  map[*agentConn]struct{}
}

// An agentConn is one connection.
type agentConn struct {
	net.Conn
	conns *conns
	busy  atomic.Int64          // requests that are open; a tunnel counts as one that has no end
	since atomic.Int64          // unix nanoseconds when the last of them ended, or it came
	owner atomic.Pointer[owner] // changed under conns.mu
	gone  bool                  // guarded by conns.mu
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
		victim = cs.victim()
		if victim == nil {
			return ac, 0
		}
		idle := now.Sub(time.Unix(0, victim.since.Load()))
		if wait = firstRequest - idle; wait > 0 && victim.owner.Load().digest == ([32]byte{}) {
			return nil, wait
		}
		victim.leave()
	}
	cs.open++
	ac.since.Store(now.UnixNano())
	ac.join([32]byte{})
	return victim, 0
}

// victim is an idle connection of whoever has most, or nil.
func (cs *conns) victim() (victim *agentConn) {
	most := 0
	for _, o := range cs.owners {
		if len(o.conns) > most {
			if ac := o.longestIdle(); ac != nil {
				victim, most = ac, len(o.conns)
			}
		}
	}
	return victim
}

// considered is how many idle connections of one owner are compared, in no
// order: of thousands, any of the older ones will do.
const considered = 64

func (o *owner) longestIdle() (longest *agentConn) {
	n := 0
	for ac := range o.conns {
		if ac.busy.Load() > 0 {
			continue
		}
		if longest == nil || ac.since.Load() < longest.since.Load() {
			longest = ac
		}
		if n++; n == considered {
			break
		}
	}
	return longest
}

// firstRequest is how long a connection has for its first request before it may
// have to give its place to another. Accepting waits for so long at most, when
// all places are taken by such.
const firstRequest = 100 * time.Millisecond

// join gives the connection to an owner. Its caller holds conns.mu.
func (ac *agentConn) join(digest [32]byte) {
	o := ac.conns.owners[digest]
	if o == nil {
		o = &owner{digest: digest, conns: make(map[*agentConn]struct{})}
		ac.conns.owners[digest] = o
	}
	o.conns[ac] = struct{}{}
	ac.owner.Store(o)
}

// quit takes the connection from its owner. Its caller holds conns.mu.
func (ac *agentConn) quit() {
	o := ac.owner.Load()
	if delete(o.conns, ac); len(o.conns) == 0 {
		delete(ac.conns.owners, o.digest)
	}
}

// leave gives the place back. Its caller holds conns.mu.
func (ac *agentConn) leave() {
	if !ac.gone {
		ac.gone = true
		ac.conns.open--
		ac.quit()
	}
}

func (ac *agentConn) begin() { ac.busy.Add(1) }

func (ac *agentConn) end() {
	ac.since.Store(time.Now().UnixNano())
	ac.busy.Add(-1)
}

// belongs says whose connection it is: of the last session that was admitted on
// it. It is called while a request is open on it.
func (ac *agentConn) belongs(digest [32]byte, tunnel bool) {
	if ac == nil {
		return
	}
	if tunnel {
		ac.busy.Add(1)
	}
	if ac.owner.Load().digest == digest {
		return
	}
	ac.conns.mu.Lock()
	defer ac.conns.mu.Unlock()
	if !ac.gone {
		ac.quit()
		ac.join(digest)
	}
}

// Close implements net.Conn.
func (ac *agentConn) Close() error {
	ac.conns.mu.Lock()
	ac.leave()
	ac.conns.mu.Unlock()
	return ac.Conn.Close()
}

// SyscallConn gives the bare socket, if it is one.
func (ac *agentConn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := ac.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// CloseWrite lets net/http half-close before it closes.
func (ac *agentConn) CloseWrite() error {
	if h, ok := ac.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Beneath implements [Wrapped].
func (ac *agentConn) Beneath() (net.Conn, []byte) { return ac.Conn, nil }
