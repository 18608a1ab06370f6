package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	rtdebug "runtime/debug"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"time"
)

// Bounds of a profile that takes time.
const (
	pprofSeconds    = 30
	maxPprofSeconds = 600
)

// startPprof serves profiles on a unix socket that only this user and root can
// open. net/http/pprof is not used: importing it puts handlers into
// http.DefaultServeMux, one mistake away from a port.
func (i *instance) startPprof() error {
	ln, err := listenPrivately(i.cfg.PprofSocket, "a folder of the server's own, such as pprof.sock, which is below the data folder")
	if err != nil {
		return err
	}
	i.operator.tell("profiles of this process are given out on " + i.cfg.PprofSocket + ". They can hold what is in its memory; keep them like credentials.")
	i.pprof = &http.Server{Handler: pprofHandler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	i.serve("debug.pprof_socket", func() error { return i.pprof.Serve(ln) })
	return nil
}

// listenPrivately listens on a unix socket in a folder that is ours alone, so
// that nobody gets in before it has its mode. One that a killed server left
// behind is replaced; anything else in its place is not. The hint of its errors
// says which folder that could be.
func listenPrivately(path, folder string) (net.Listener, error) {
	dir := filepath.Dir(path)
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkWay(filepath.Dir(dir)), checkOwn(dir, info)); err != nil {
		// The folder may be everybody's, such as /tmp: it is not to be closed.
		return nil, hint(errors.New(err.Error()), "name a path in %s", folder)
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, fmt.Errorf("%s is a symbolic link; name the real place", path)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is there already and is no socket; name another path", path)
	default:
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			return nil, errors.Join(fmt.Errorf("%s is in use by another process; name another path", path), c.Close())
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// pprofHandler answers GET /debug/pprof/NAME as net/http/pprof does, so that
// what people know of it holds.
func pprofHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/{$}", func(w http.ResponseWriter, _ *http.Request) {
		for _, p := range pprof.Profiles() {
			fmt.Fprintf(w, "%d\t%s\n", p.Count(), p.Name())
		}
		fmt.Fprint(w, "-\tprofile\n-\ttrace\n")
	})
	mux.HandleFunc("GET /debug/pprof/profile", during(pprof.StartCPUProfile, pprof.StopCPUProfile))
	mux.HandleFunc("GET /debug/pprof/trace", during(trace.Start, trace.Stop))
	mux.HandleFunc("GET /debug/pprof/{name}", func(w http.ResponseWriter, r *http.Request) {
		p := pprof.Lookup(r.PathValue("name"))
		debug, err := strconv.Atoi(r.FormValue("debug"))
		switch {
		case p == nil:
			http.Error(w, "there is no such profile; GET /debug/pprof/ lists them", http.StatusNotFound)
		case err != nil && r.FormValue("debug") != "":
			http.Error(w, "debug is a number", http.StatusBadRequest)
		default:
			if r.FormValue("gc") != "" {
				rtdebug.FreeOSMemory() // collects first
			}
			w.Header().Set("Content-Type", "application/octet-stream")
			_ = p.WriteTo(w, debug) // the reader may have gone
		}
	})
	return mux
}

// during gives what is recorded for ?seconds=N (30), or until the reader goes.
func during(start func(io.Writer) error, stop func()) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		seconds := pprofSeconds
		if s := r.FormValue("seconds"); s != "" {
			var err error
			if seconds, err = strconv.Atoi(s); err != nil || seconds < 1 || seconds > maxPprofSeconds {
				http.Error(w, fmt.Sprintf("seconds is a number from 1 to %d", maxPprofSeconds), http.StatusBadRequest)
				return
			}
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		if err := start(w); err != nil {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			http.Error(w, "another one is being recorded", http.StatusConflict)
			return
		}
		defer stop()
		ctx, cancel := context.WithTimeout(r.Context(), time.Duration(seconds)*time.Second)
		defer cancel()
		<-ctx.Done()
	}
}
