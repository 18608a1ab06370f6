package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"text/template"
)

// A place is what configurations are filled in with.
type place struct {
	Dir, Addr, Host string // the proxy's own folder and address, and the origin's name
	Origin, CA      string // where that is, and the file of its authority
	OriginPort      string
	Keys            string // the authority's key and certificate, for who writes them there
	User            string // to go on as; "" says nothing
	Helper          string
}

func placeOf(dir, addr string, w wiring) place {
	_, port, _ := net.SplitHostPort(w.OriginH1) // of a listener: it has one
	return place{
		Dir: dir, Addr: addr, Host: hostH1, Origin: w.OriginH1, OriginPort: port,
		CA: filepath.Join(w.Dir, caFile), Keys: filepath.Join(dir, "keys.pem"),
	}
}

// configure writes a configuration file.
func (p place) configure(path, text string) error {
	t, err := template.New("").Parse(text)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(t.Execute(f, p), f.Close())
}

const nginxConfig = `daemon off;
{{with .User}}user {{.}};{{end}}
worker_processes 2;
worker_rlimit_nofile 20000;
pid {{.Dir}}/pid;
error_log stderr error;
events { worker_connections 8192; }
http {
	access_log off;
	client_body_temp_path {{.Dir}}/body; proxy_temp_path {{.Dir}}/proxy; fastcgi_temp_path {{.Dir}}/fastcgi;
	uwsgi_temp_path {{.Dir}}/uwsgi; scgi_temp_path {{.Dir}}/scgi;
	keepalive_requests 10000000;
	client_max_body_size 0;
	map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
	upstream origin { server {{.Origin}}; keepalive 1024; keepalive_requests 10000000; }
	server {
		listen {{.Addr}};
		location /proxy/{{.Host}}/ {
			proxy_pass https://origin/;
			proxy_http_version 1.1;
			proxy_buffering off;
			proxy_request_buffering off;
			proxy_set_header Host {{.Host}};
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection $connection_upgrade;
			proxy_ssl_server_name on;
			proxy_ssl_name {{.Host}};
			proxy_ssl_verify on;
			proxy_ssl_protocols TLSv1.2 TLSv1.3;
			proxy_ssl_trusted_certificate {{.CA}};
		}
	}
}
`

func nginx(_ context.Context, at, dir, addr string, w wiring) (*exec.Cmd, error) {
	p := placeOf(dir, addr, w)
	if os.Geteuid() == 0 {
		p.User = "root" // its workers could not enter the folder as another
	}
	path := filepath.Join(dir, "nginx.conf")
	return exec.Command(at, "-p", dir, "-e", "stderr", "-c", path), p.configure(path, nginxConfig)
}

const haproxyConfig = `global
	nbthread 2
	maxconn 8000
defaults
	mode http
	timeout connect 10s
	timeout client 300s
	timeout server 300s
	timeout tunnel 300s
	http-reuse always
	option http-no-delay
frontend path
	bind {{.Addr}}
	http-request replace-path /proxy/{{.Host}}(/.*) \1
	http-request set-header Host {{.Host}}
	default_backend origin
backend origin
	server origin {{.Origin}} ssl verify required ca-file {{.CA}} sni str({{.Host}}) verifyhost {{.Host}} alpn http/1.1 pool-max-conn 1024
`

func haproxy(_ context.Context, at, dir, addr string, w wiring) (*exec.Cmd, error) {
	path := filepath.Join(dir, "haproxy.cfg")
	return exec.Command(at, "-db", "-f", path), placeOf(dir, addr, w).configure(path, haproxyConfig)
}

const squidConfig = `http_port {{.Addr}} ssl-bump tls-cert={{.Keys}} generate-host-certificates=on dynamic_cert_mem_cache_size=16MB
sslcrtd_program {{.Helper}} -s {{.Dir}}/leaves -M 16MB
sslcrtd_children 2 startup=1
ssl_bump bump all
hosts_file {{.Dir}}/hosts
tls_outgoing_options cafile={{.Keys}}
http_access allow all
cache deny all
cache_mem 0
access_log none
cache_log {{.Dir}}/cache.log
cache_store_log none
pid_filename none
pinger_enable off
coredump_dir {{.Dir}}
shutdown_lifetime 0 seconds
client_persistent_connections on
server_persistent_connections on
visible_hostname wirebench
`

// squid intercepts only as its OpenSSL flavour, which has a helper that mints leaves.
func squid(ctx context.Context, at, dir, addr string, w wiring) (*exec.Cmd, error) {
	helper := filepath.Join(filepath.Dir(at), "../lib/squid/security_file_certgen")
	if _, err := os.Stat(helper); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, helper, "-c", "-s", filepath.Join(dir, "leaves"), "-M", "16MB").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	p := placeOf(dir, addr, w)
	p.Helper = helper
	path := filepath.Join(dir, "squid.conf")
	// It knows where a host is, but not at another port: clients ask for that.
	hosts := []byte("127.0.0.1 " + hostH1 + "\n")
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "hosts"), hosts, 0o600), keys(p.Keys, w), p.configure(path, squidConfig)); err != nil {
		return nil, err
	}
	return exec.Command(at, "-N", "-f", path), forSquid(w.Dir, dir)
}

// forSquid gives its folder to the user as which it goes on when root starts it.
func forSquid(parent, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("proxy")
	if err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2, os.Chmod(parent, 0o711)); err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, gid))
	})
}

const mitmproxyScript = `from mitmproxy.proxy import server_hooks

def server_connect(data: server_hooks.ServerConnectionHookData):
    data.server.address = ("127.0.0.1", {{.OriginPort}})
`

func mitmproxy(_ context.Context, at, dir, addr string, w wiring) (*exec.Cmd, error) {
	path := filepath.Join(dir, "origin.py")
	err := errors.Join(keys(filepath.Join(dir, "mitmproxy-ca.pem"), w), placeOf(dir, addr, w).configure(path, mitmproxyScript))
	_, port, err2 := net.SplitHostPort(addr)
	return exec.Command(at, "-q", "--listen-host", "127.0.0.1", "--listen-port", port, "-s", path,
		"--set", "confdir="+dir, "--set", "ssl_verify_upstream_trusted_ca="+filepath.Join(w.Dir, caFile),
		"--set", "stream_large_bodies=64k", "--set", "http2=false"), errors.Join(err, err2)
}

// keys writes key and certificate of the run's authority into one file.
func keys(path string, w wiring) error {
	var both []byte
	for _, name := range []string{caKeyFile, caFile} {
		raw, err := os.ReadFile(filepath.Join(w.Dir, name))
		if err != nil {
			return err
		}
		both = append(both, raw...)
	}
	return os.WriteFile(path, both, 0o600)
}
