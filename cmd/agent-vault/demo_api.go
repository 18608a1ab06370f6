package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"
)

// A demoAPI is a TLS server that demands a key. It remembers what it received.
type demoAPI struct {
	listener net.Listener
	server   *http.Server
	caPEM    []byte // of the authority that vouches for it

	mu       sync.Mutex
	last     demoRequest
	received bytes.Buffer
}

type demoRequest struct{ line, authorization string }

func startDemoAPI(host, key string) (*demoAPI, error) {
	cert, caPEM, err := throwAwayCertificate(host)
	if err != nil {
		return nil, err
	}
	a := &demoAPI{caPEM: caPEM}
	if a.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	a.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}},
		ErrorLog:          log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a.remember(r)
			if r.Header.Get("Authorization") != "Bearer "+key {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"balance": 1200, "currency": "eur"}`)
		}),
	}
	go a.server.ServeTLS(a.listener, "", "") // ends with close
	return a, nil
}

func (a *demoAPI) close() { _ = a.server.Close() }

func (a *demoAPI) remember(r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = demoRequest{r.Method + " https://" + r.Host + r.RequestURI, r.Header.Get("Authorization")}
	fmt.Fprintf(&a.received, "%s %s %v\n", r.Host, r.RequestURI, r.Header)
}

// next returns the request that came since it was last asked.
func (a *demoAPI) next() demoRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := a.last
	a.last = demoRequest{}
	return last
}

// everything is all that was received so far.
func (a *demoAPI) everything() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return bytes.Clone(a.received.Bytes())
}

// throwAwayCertificate makes an authority and a certificate of it that last for
// an hour. The authority's key is forgotten at once.
func throwAwayCertificate(host string) (tls.Certificate, []byte, error) {
	var none tls.Certificate
	begins, ends := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return none, nil, err
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Demo CA"}, NotBefore: begins, NotAfter: ends,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)
	if err != nil {
		return none, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return none, nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotBefore: begins, NotAfter: ends,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), caKey)
	if err != nil {
		return none, nil, err
	}
	caPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, caPEM, nil
}
