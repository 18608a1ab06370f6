package main_test

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// TestAgentsTokenRotationUnderLoad gives an agent a new token, with an overlap,
// while requests with the old one and then with the new one come through both
// entrances, in tunnels that stay and in new ones. None may fail.
func TestAgentsTokenRotationUnderLoad(t *testing.T) {
	w := newWorld(t)
	roots := pool(t, w.must("", "ca", "export"))
	w.token = strings.TrimSpace(w.must("", "agent", "create", "build-bot", "--vault", "default"))
	const every = 50 * time.Millisecond
	with := func(whose string) []*load {
		v := &world{instance: w.instance, token: w.token}
		return []*load{
			{name: whose + ", path entrance", every: every, ask: v.asksByPath()},
			{name: whose + ", a tunnel that stays", every: every, ask: v.longTunnel(t)},
			{name: whose + ", new tunnels", every: every, ask: v.asks(t, roots, false)},
		}
	}
	var all sync.WaitGroup
	end := make(chan struct{})
	stop := sync.OnceFunc(func() { close(end); all.Wait() })
	defer stop()
	start := func(loads []*load) {
		for _, l := range loads {
			all.Go(func() { l.run(t, end) })
		}
	}
	old := with("the old token")
	start(old)
	await(t, old, 10)
	first := w.token
	w.token = strings.TrimSpace(w.must("", "agent", "rotate", "build-bot", "--overlap", "1h"))
	fresh := with("the new token")
	start(fresh)
	loads := append(old, fresh...)
	await(t, loads, 20)
	stop()
	for _, l := range loads {
		t.Logf("%s: %d requests, %d failed", l.name, l.asked.Load(), l.failed.Load())
	}
	w.token = strings.TrimSpace(w.must("", "agent", "rotate", "build-bot"))
	if a := w.do(byPath, first, call{host: "api.test", target: "/"}); a.status != 401 {
		t.Errorf("the first token after a rotation without an overlap: %d", a.status)
	}
}
