package ending_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"agentvault/broker/ending"
)

type key struct{}

// under says under what a Context is begun.
var under = map[string]func() (context.Context, func()){
	"nothing that ends": func() (context.Context, func()) { return context.WithValue(context.Background(), key{}, 1), func() {} },
	"the library's": func() (context.Context, func()) {
		return context.WithCancel(context.WithValue(context.Background(), key{}, 1))
	},
	"another": func() (context.Context, func()) {
		c := new(ending.Context)
		c.Begin(context.WithValue(context.Background(), key{}, 1))
		return c, c.End
	},
}

// ended reports whether all of a context says that it has ended, or none does.
func ended(t *testing.T, c context.Context) bool {
	t.Helper()
	over := c.Err() != nil
	select {
	case <-c.Done():
		if !over {
			t.Error("Done, and Err is nil")
		}
	default:
		if over {
			t.Errorf("%v, and not Done", c.Err())
		}
	}
	if over && (!errors.Is(c.Err(), context.Canceled) || !errors.Is(context.Cause(c), context.Canceled)) {
		t.Errorf("%v, because of %v", c.Err(), context.Cause(c))
	}
	return over
}

func TestEnds(t *testing.T) {
	for name, begin := range under {
		for _, from := range []string{"itself", "above"} {
			for _, asked := range []bool{false, true} { // for its channel, before
				synctest.Test(t, func(t *testing.T) {
					above, end := begin()
					defer end()
					var c ending.Context
					if c.Begun() {
						t.Error("begun before it was")
					}
					c.Begin(above)
					if !c.Begun() || c.Value(key{}) != 1 {
						t.Errorf("%s: begun %v, value %v", name, c.Begun(), c.Value(key{}))
					}
					if asked && ended(t, &c) {
						t.Fatalf("%s: ended before its time", name)
					}
					var calls, kept int
					stop := ending.AfterFunc(&c, func() { kept++ })
					ending.AfterFunc(&c, func() { calls++ })
					child, cancel := context.WithCancel(&c)
					defer cancel()
					if !stop() || stop() {
						t.Error("stop reports what it did not do")
					}
					if from == "above" {
						end()
						synctest.Wait()
						if name == "nothing that ends" {
							c.End()
						}
					}
					c.End()
					c.End()
					synctest.Wait()
					late := 0
					stopLate := ending.AfterFunc(&c, func() { late++ })
					synctest.Wait()
					if !ended(t, &c) || child.Err() == nil || calls != 1 || kept != 0 || late != 1 || stopLate() {
						t.Errorf("%s, from %s: child %v, calls %d, kept %d, late %d", name, from, child.Err(), calls, kept, late)
					}
					if from == "itself" && above.Err() != nil {
						t.Errorf("%s: ended with what is under it", name)
					}
				})
			}
		}
	}
}

// One that is begun under what has ended ends at once.
func TestBeginsAtTheEnd(t *testing.T) {
	for name, begin := range under {
		if name == "nothing that ends" {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			above, end := begin()
			end()
			var c ending.Context
			c.Begin(above)
			defer c.End()
			synctest.Wait()
			if !ended(t, &c) {
				t.Errorf("under %s: has not ended", name)
			}
		})
	}
}

// Any goroutine may end it, while others begin to wait and give up.
func TestEndsWhileOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 200 {
			var above, c ending.Context
			above.Begin(context.Background())
			c.Begin(&above)
			called := make(chan bool, 1)
			go above.End()
			go c.End()
			go func() {
				stop := c.AfterFunc(func() { called <- true })
				if stop() {
					called <- false
				}
			}()
			<-called
			<-c.Done()
			synctest.Wait()
		}
	})
}

func TestDeadlineIsTheOneAbove(t *testing.T) {
	at := time.Now().Add(time.Hour)
	above, cancel := context.WithDeadline(t.Context(), at)
	defer cancel()
	var c ending.Context
	c.Begin(above)
	defer c.End()
	if got, ok := c.Deadline(); !ok || !got.Equal(at) {
		t.Errorf("%v %v, want %v", got, ok, at)
	}
}

func BenchmarkContext(b *testing.B) {
	for _, lib := range []bool{true, false} {
		b.Run(map[bool]string{true: "library", false: "own"}[lib], func(b *testing.B) {
			b.ReportAllocs()
			f := func() {}
			for b.Loop() {
				if lib {
					ctx, cancel := context.WithCancel(context.Background())
					inner, end := context.WithCancel(ctx)
					stop := context.AfterFunc(inner, f)
					stop()
					end()
					cancel()
					continue
				}
				outer, inner := new(ending.Context), new(ending.Context)
				outer.Begin(context.Background())
				inner.Begin(outer)
				stop := ending.AfterFunc(inner, f)
				stop()
				inner.End()
				outer.End()
			}
		})
	}
}

// A detached one outlives the one above, and ends by itself.
func TestDetach(t *testing.T) {
	above, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	var c, late ending.Context
	c.Begin(above)
	late.Begin(above)
	c.Detach()
	cancel()
	if c.Err() != nil || c.Value(key{}) != "value" {
		t.Errorf("%v, %v", c.Err(), c.Value(key{}))
	}
	c.End()
	if c.Err() == nil {
		t.Error("it does not end")
	}
	late.Detach() // too late
	if late.Err() == nil {
		t.Error("it had ended")
	}
	late.End()
}
