package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"agentvault/api"
	"agentvault/broker"
	"agentvault/broker/audit"
	"agentvault/broker/http1"
	"agentvault/ca"
	"agentvault/mitm"
	"agentvault/pathproxy"
	"agentvault/policy/inject"
	"agentvault/store"
	"agentvault/vault"
	"agentvault/vault/catalog"
	"agentvault/vault/seal"
	"agentvault/web"
)

// An instance is a running server.
type instance struct {
	cfg      *config
	log      *slog.Logger
	operator operator
	lock     *os.File
	db       *store.DB
	audit    *audit.Log
	broker   *broker.Broker
	registry *vault.Registry
	roots    *vault.Roots
	proxy    *mitm.Proxy
	api      *http.Server
	plain    *http1.Server // before api: serves the plain requests of the path entrance
	apiAddr  net.Addr
	mitmAddr net.Addr
	pprof    *http.Server // nil unless asked for

	stop     context.CancelFunc // of the View's loop
	stopping chan struct{}      // closed when the API stops: nobody is to wait any more
	running  sync.WaitGroup
	endLog   context.CancelFunc // of what keeps the records
	logging  sync.WaitGroup     // for that
	failed   chan error         // a listener that ended by itself
}

// startInstance is the one wiring function: it knows every part, and which
// needs which. On an error nothing is left running.
func startInstance(ctx context.Context, cfg *config, master masterSource, stderr io.Writer) (i *instance, err error) {
	i = &instance{cfg: cfg, log: newLogger(cfg, stderr), operator: newOperator(cfg, stderr), failed: make(chan error, 2), stopping: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.shutdown())
		}
	}()
	if err = forbidCores(); err != nil {
		return i, err
	}
	if cfg.RootsFile != "" {
		if err = checkWay(cfg.RootsFile); err != nil { // who changes it speaks for every host
			return i, fmt.Errorf("configuration: upstream.ca_file: %w", err)
		}
	}
	if cfg.EgressPasswordFile != "" {
		if err = checkPasswordFile(cfg.EgressPasswordFile); err != nil {
			return i, fmt.Errorf("configuration: egress.password: %w", err)
		}
	}
	if i.lock, err = lockFolder(cfg.DataDir); err != nil {
		return i, err
	}
	if i.db, err = store.Open(ctx, store.Options{Path: filepath.Join(cfg.DataDir, "agent-vault.db"), Log: i.log}); err != nil {
		return i, err
	}
	key, err := unlock(ctx, i.db, cfg.DataDir, master, i.operator)
	if err != nil {
		return i, err
	}
	if i.roots, err = vault.OpenRoots(ctx, i.db, key, ca.Options{Hosts: func(vaultID string) []string { return i.broker.VaultHosts(vaultID) }}); err != nil {
		return i, err
	}
	apiListener, err := net.Listen("tcp", cfg.ListenAPI)
	if err != nil {
		return i, listenError("listen.api", cfg.ListenAPI, err)
	}
	i.apiAddr = apiListener.Addr()
	proxyListener, err := net.Listen("tcp", cfg.ListenProxy)
	if err != nil {
		return i, errors.Join(listenError("listen.proxy", cfg.ListenProxy, err), apiListener.Close())
	}
	i.mitmAddr = proxyListener.Addr()

	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := i.build(ctx, key, metrics); err != nil {
		return i, errors.Join(err, apiListener.Close(), proxyListener.Close())
	}
	if cfg.PprofSocket != "" {
		if err := i.startPprof(); err != nil {
			return i, errors.Join(fmt.Errorf("debug.pprof_socket: %w", err), apiListener.Close(), proxyListener.Close())
		}
	}
	var rest net.Listener
	i.plain, rest = http1.Front(i.api, i.broker.Share(i.api, apiListener), pathproxy.ServesTarget, i.log)
	i.serve("API", func() error { return i.api.Serve(broker.PlainErrors(i.api, rest, broker.Path)) })
	i.serve("proxy", func() error { return i.proxy.Serve(proxyListener) })
	return i, nil
}

// build makes the parts that answer requests.
func (i *instance) build(ctx context.Context, key seal.Key, metrics *prometheus.Registry) (err error) {
	if err := i.openAudit(ctx, key, metrics); err != nil {
		return err
	}
	filler, mirror, err := i.recorders()
	if err != nil {
		return err
	}
	if i.registry, err = vault.New(vault.Options{
		Store: i.db, Key: key, Recorded: i.recorded(filler), ProxyURL: i.pathProxyURL,
		KnownHosts: catalog.Hosts(), Development: i.cfg.Development, Log: i.log,
		Published: func(ctx context.Context, revision int64) error {
			return errors.Join(i.broker.Await(ctx, revision), i.roots.Refresh(ctx))
		},
		Exchange: func(ctx context.Context, x vault.CodeExchange) (inject.Token, error) {
			return i.broker.ExchangeCode(ctx, x)
		},
		CallbackURL: func() string { return i.baseURL() + web.CallbackPath },
	}); err != nil {
		return err
	}
	if i.broker, err = broker.New(broker.Options{
		Source: i.db, Key: key, Audit: i.audit, Ledger: i.db, Tokens: i.registry, Roots: i.cfg.Roots, Limits: i.cfg.Limits,
		Dialer:    broker.Dialer{Hosts: i.cfg.Hosts, Allow: i.cfg.Allow, Own: i.ownListeners, Egress: i.cfg.Egress},
		Approvals: vault.NewHolder(i.db, key, nil), ApprovalWait: i.cfg.ApprovalWait, Stopping: i.stopping,
		Registerer: metrics, Log: i.log,
	}); err != nil {
		return err
	}
	if i.proxy, err = mitm.New(mitm.Options{Broker: i.broker, Authority: i.roots, Registerer: metrics, Log: i.log}); err != nil {
		return err
	}
	control, err := api.New(api.Options{
		Registry: i.registry, CAPEM: i.roots.PEM, CA: i.roots.Succession, Ready: i.broker.Ready, About: i.about,
		Metrics: promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}),
		BaseURL: i.baseURL, PathProxyURL: i.pathProxyURL, ProxyURL: i.mitmURL, Stopping: i.stopping, Log: i.log,
		AgentRate: i.cfg.AgentRate, AgentConcurrent: i.cfg.AgentConcurrent,
	})
	if err != nil {
		return err
	}
	pages, err := web.New(web.Options{
		API: func(remoteAddr string) http.RoundTripper { return inProcess{control, remoteAddr} }, BaseURL: i.baseURL, Stopping: i.stopping, Log: i.log,
	})
	if err != nil {
		return err
	}
	i.api = newAPIServer(control, pathproxy.New(pathproxy.Options{Broker: i.broker}), pages)
	i.api.RegisterOnShutdown(sync.OnceFunc(func() { close(i.stopping) }))

	if err := i.broker.Refresh(ctx); err != nil {
		return err
	}
	changes, unsubscribe := i.db.Changes()
	loop, stop := context.WithCancel(context.Background())
	i.stop = stop
	i.running.Go(func() {
		defer unsubscribe()
		_ = i.broker.Run(loop, changes) // ends with the context
	})
	i.running.Go(func() { i.registry.Run(loop) })
	rootChanges, endRoots := i.db.Changes()
	i.running.Go(func() {
		defer endRoots()
		i.roots.Run(loop, rootChanges, i.log)
	})
	logging, endLog := context.WithCancel(context.Background())
	i.endLog = endLog
	filling, endFilling := context.WithCancel(context.Background())
	i.logging.Go(func() {
		defer endFilling() // after the last change was copied
		mirror.Run(logging)
	})
	i.logging.Go(func() { filler.Run(filling) })
	i.logging.Go(func() { i.audit.Run(logging) })
	return nil
}

// newAPIServer serves the path entrance before any mux, which would clean its
// paths, then the pages, and the API for the rest.
func newAPIServer(control, path http.Handler, pages *web.Pages) *http.Server {
	srv := &http.Server{
		Handler: broker.BoundUploads(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case pathproxy.Serves(r):
				path.ServeHTTP(w, r)
			case pages.Serves(r):
				pages.ServeHTTP(w, r)
			default:
				control.ServeHTTP(w, r)
			}
		})),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // net/http would repeat what peers sent; panics are caught further in

		DisableGeneralOptionsHandler: true,
	}
	broker.ClearHTTP2(srv)
	return srv
}

func (i *instance) serve(name string, f func() error) {
	i.running.Go(func() {
		if err := f(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			i.failed <- fmt.Errorf("%s listener: %w", name, err)
		}
	})
}

// shutdown drains and closes what has been started, last things first.
func (i *instance) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime+cutTime)
	defer cancel()
	if i.broker != nil {
		// What is still open then is told so, and its outcome recorded.
		defer time.AfterFunc(drainTime, i.broker.Close).Stop()
		defer time.AfterFunc(time.Second, func() {
			i.operator.tell(fmt.Sprintf("stopping; requests that are open have %v to end", drainTime))
		}).Stop()
	}
	var errs []error
	var drains sync.WaitGroup
	var mu sync.Mutex
	drain := func(f func(context.Context) error) {
		drains.Go(func() {
			if err := f(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	if i.api != nil {
		drain(func(ctx context.Context) error { return errors.Join(i.api.Shutdown(ctx), i.api.Close()) })
	}
	if i.plain != nil {
		drain(i.plain.Shutdown)
	}
	if i.proxy != nil {
		drain(i.proxy.Shutdown)
	}
	if i.pprof != nil {
		_ = i.pprof.Close() // nobody waits for a profile
	}
	drains.Wait()
	if i.stop != nil {
		i.stop()
	}
	i.running.Wait()
	if i.broker != nil {
		i.broker.Close()
	}
	if i.endLog != nil { // after the last outcome
		i.endLog()
	}
	i.logging.Wait()
	if i.audit != nil {
		errs = append(errs, i.audit.Close())
	}
	if i.db != nil {
		errs = append(errs, i.db.Close())
	}
	if i.lock != nil {
		errs = append(errs, i.lock.Close())
	}
	return errors.Join(errs...)
}

// ownListeners are never dialed, whatever the networks that are allowed.
func (i *instance) ownListeners() []netip.AddrPort {
	var own []netip.AddrPort
	for _, a := range []net.Addr{i.apiAddr, i.mitmAddr} {
		if ap, err := netip.ParseAddrPort(a.String()); err == nil {
			own = append(own, ap)
		}
	}
	return own
}

// lockFolder makes the data folder, and keeps other users and other servers out
// of it.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := checkFolder(dir); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another server is running on %s; stop it, or name another folder with --data-dir", dir), f.Close())
	}
	return f, nil
}
