// Package ending has a context for what begins and ends with every request. It
// does what the library's cancelable one does, at a quarter of the price: it is part
// of what it ends, makes its channel only for who asks, and is passed on to the
// next one by a call.
package ending

import (
	"context"
	"sync"
)

// A Context ends when [Context.End] is called, or with the one that it was begun
// under. It must be begun before it is used, and must not be copied.
type Context struct {
	context.Context // whose values and deadline it has

	leave func() bool // the context above; nil: that has no end

	mu    sync.Mutex
	err   error
	done  chan struct{} // nil: nobody has asked
	after waiter        // the ring of those who wait
}

// A waiter has a function to call at the end.
type waiter struct {
	c          *Context
	f          func()
	prev, next *waiter
}

// afterFuncer is what package context looks for, too.
type afterFuncer interface {
	AfterFunc(f func()) (stop func() bool)
}

// AfterFunc is context.AfterFunc, and costs less for a Context.
func AfterFunc(ctx context.Context, f func()) (stop func() bool) {
	if c, ok := ctx.(afterFuncer); ok {
		return c.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

// Begin begins a Context under another. Its End must be called.
func (c *Context) Begin(under context.Context) {
	c.Context = under
	c.after.prev, c.after.next = &c.after, &c.after
	if u, ok := under.(afterFuncer); ok {
		c.leave = u.AfterFunc(c.end)
	} else if under.Done() != nil {
		c.leave = context.AfterFunc(under, c.end)
	}
}

// Begun reports whether it was.
func (c *Context) Begun() bool { return c.Context != nil }

// Detach lets the Context live on when the one that it was begun under ends; its
// values stay. One that has ended already stays so.
func (c *Context) Detach() {
	if c.leave != nil && !c.leave() {
		c.end() // it is about to
	}
	c.leave = nil
	c.Context = context.WithoutCancel(c.Context)
}

// End ends the Context. It may be called more than once.
func (c *Context) End() {
	c.end()
	if c.leave != nil {
		c.leave()
	}
}

func (c *Context) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = context.Canceled
	if c.done != nil {
		close(c.done)
	}
	for w := c.after.next; w != &c.after; w = c.after.next {
		w.leave()
		go w.f() // as the library does
	}
}

// AfterFunc calls f on a goroutine of its own once the Context has ended. Stop
// reports whether it has kept f from being called.
func (c *Context) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	w := &waiter{c: c, f: f, prev: c.after.prev, next: &c.after}
	w.prev.next, w.next.prev = w, w
	return w.stop
}

func (w *waiter) stop() bool {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	return w.leave()
}

// leave reports whether it was in the ring. Its caller holds mu.
func (w *waiter) leave() bool {
	if w.next == nil {
		return false
	}
	w.prev.next, w.next.prev = w.next, w.prev
	w.prev, w.next = nil, nil
	return true
}

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// Err implements context.Context.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
