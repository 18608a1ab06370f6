package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
)

func credentialConnectCommand() *cobra.Command {
	var vaultName string
	var paste bool
	var o output
	c := &cobra.Command{
		Use:   "connect SERVICE",
		Short: "Sign in at a service's authorization server, for a refresh token",
		Long: `Sign in at the authorization server of a service whose auth has the grant
refresh_token and an authorization_url. The address to open is printed; the
server sends the browser back to a port of this machine, and the refresh token is
stored. Nobody gets to see it.

With --paste, or where the browser is on another machine, paste the address at
which it ends, although nothing answers there.`,
		Example: `  agent-vault credential connect mail
  agent-vault credential connect mail --vault team-a --paste`,
		Args:              exactly("SERVICE"),
		ValidArgsFunction: arguments(serviceNames),
		RunE: func(c *cobra.Command, args []string) error {
			done, err := connect(c, vaultOrDefault(vaultName), args[0], paste)
			if err != nil {
				return err
			}
			return o.print(c.OutOrStdout(), done, func(w io.Writer) {
				fmt.Fprintf(w, "connected %s in the vault %s; its refresh token is stored as %s\n", plain(done.Service), plain(done.Vault), plain(done.Credential))
			})
		},
	}
	addVault(c, &vaultName)
	c.Flags().BoolVar(&paste, "paste", false, "wait for no browser; the address at which it ends is pasted")
	o.add(c)
	return c
}

// callbackPath is where the browser comes back to, on loopback (RFC 8252 §7.3): below
// it each authorization server has a path of its own.
const callbackPath = "/callback"

func connect(c *cobra.Command, vaultName, service string, paste bool) (done api.Connected, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return done, err
	}
	defer ln.Close()
	redirect := "http://" + ln.Addr().String() + callbackPath
	begun, err := byPerson(c, func(client *api.Client) (api.Connection, error) {
		return client.BeginConnection(c.Context(), vaultName, service, api.ConnectRequest{RedirectURI: redirect})
	})
	if err != nil {
		return done, err
	}
	std := stdioOf(c)
	fmt.Fprintf(std.err, "Open this address in a browser and sign in:\n\n  %s\n\n", plain(begun.URL))
	var code string
	if paste {
		code, err = pastedCode(std, begun)
	} else {
		code, err = awaitCode(c.Context(), ln, begun)
	}
	if err != nil {
		return done, err
	}
	return byPerson(c, func(client *api.Client) (api.Connected, error) {
		return client.FinishConnection(c.Context(), api.ConnectionCode{State: begun.State, Code: code})
	})
}

// pastedCode reads the address at which a browser ended.
func pastedCode(std stdio, begun api.Connection) (string, error) {
	line, err := askLine(std, "The address at which the browser ends: ")
	if err != nil {
		return "", err
	}
	u, err := url.Parse(line)
	if err != nil || u.RawQuery == "" || u.Scheme+"://"+u.Host+u.EscapedPath() != begun.RedirectURI {
		return "", hint(errors.New("that is not the address of a browser that was sent back"), "it begins with %s and has a code in it", begun.RedirectURI)
	}
	return codeOf(u.Query(), begun.State)
}

// codeOf is the code that an authorization server sent (RFC 6749 §4.1.2).
func codeOf(q url.Values, state string) (string, error) {
	switch {
	case q.Get("state") != state:
		return "", hint(errors.New("that is the answer to another question"), "begin again, and use the address that is printed then")
	case q.Get("error") != "":
		return "", fmt.Errorf("the authorization server refused: %s", plain(q.Get("error")))
	case q.Get("code") == "":
		return "", errors.New("the authorization server sent no code")
	}
	return q.Get("code"), nil
}

// awaitCode serves the browser that comes back, until it has brought a code or a
// refusal that belongs to the question. Whatever else comes by is sent away.
func awaitCode(ctx context.Context, ln net.Listener, begun api.Connection) (string, error) {
	ctx, cancel := context.WithDeadline(ctx, begun.ExpiresAt)
	defer cancel()
	type answer struct {
		code string
		err  error
	}
	came := make(chan answer, 1)
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		if r.Method != http.MethodGet || "http://"+r.Host+r.URL.EscapedPath() != begun.RedirectURI || r.URL.Query().Get("state") != begun.State {
			http.Error(w, "this is not what is waited for", http.StatusBadRequest)
			return
		}
		code, err := codeOf(r.URL.Query(), begun.State)
		select {
		case came <- answer{code, err}:
			fmt.Fprintln(w, "The terminal has what it needs. This page can be closed.")
		default:
			http.Error(w, "this was answered before", http.StatusConflict)
		}
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	defer func() {
		// The page is told before the command goes on.
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if srv.Shutdown(stopping) != nil {
			_ = srv.Close() // what is open then has been answered
		}
		<-served
	}()
	select {
	case a := <-came:
		return a.code, a.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return "", hint(errors.New("nobody signed in in time"), "begin again; with --paste where the browser is on another machine")
		}
		return "", ctx.Err()
	}
}
