package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/api"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answered(status int, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// TestLease: it is renewed three times in its life, and an outage is tried again
// sooner. Only a server that does not know the session ends it.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var asked []int // seconds
		var said bytes.Buffer
		l := leaseOf("http://vault.test", api.SessionResponse{Token: "av_sess_x", LeaseToken: "av_lease_x", LeaseSeconds: 45})
		l.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method+" "+r.URL.String() != "POST http://vault.test/v1/sessions/renew" || r.Header.Get("Authorization") != "Bearer av_lease_x" {
				t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
			}
			asked = append(asked, int(time.Since(began)/time.Second))
			switch len(asked) {
			case 2:
				return nil, errors.New("connection refused")
			case 3:
				return answered(503, `{"error":"unavailable","message":"starting"}`)
			case 4:
				<-r.Context().Done() // it hangs
				return nil, r.Context().Err()
			case 5:
				return answered(404, "another program")
			case 8:
				return answered(401, `{"error":"unauthorized","message":"the token is unknown"}`)
			}
			return answered(200, `{"ends_at":"2026-01-01T00:00:00Z"}`)
		})
		stop := l.kept(stdio{err: &said})
		synctest.Wait()
		time.Sleep(10 * time.Minute) // of the bubble's clock
		synctest.Wait()
		if gone := stop(); !gone {
			t.Error("the session is not seen to be gone")
		}
		if diff := cmp.Diff([]int{15, 30, 33, 36, 54, 57, 72, 87}, asked); diff != "" {
			t.Error(diff)
		}
		if got, want := said.String(), "agent-vault: the session has ended\n"; got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	})
}

// TestLeaseIsLetGo: at the command's end nothing is asked and said any more.
func TestLeaseIsLetGo(t *testing.T) {
	for name, s := range map[string]api.SessionResponse{"leased": {LeaseToken: "av_lease_x"}, "without a lease": {}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var said bytes.Buffer
				l := leaseOf("http://vault.test", s)
				l.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
					<-r.Context().Done()
					return nil, context.Cause(r.Context())
				})
				stop := l.kept(stdio{err: &said})
				time.Sleep(renewEvery + time.Second) // in the middle of a renewal
				if stop() || said.Len() != 0 {
					t.Errorf("it is gone, and said %q", &said)
				}
			})
		})
	}
}
