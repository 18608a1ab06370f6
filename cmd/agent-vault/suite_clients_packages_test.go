package main_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
)

// The package and image registries of the matrix of clients. Each has a package
// with the origin's content in it, and takes one that is pushed.

// packages serves the package that is asked for, as the registry at the host
// spells it.
func (o *clientOrigin) packages(w http.ResponseWriter, r *http.Request, host string, body []byte) {
	if r.Method == http.MethodPut {
		o.published(host, body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"ok": true}`)
		return
	}
	switch host {
	case "npm.test":
		o.npm(w, r)
	case "pypi.test":
		o.pypi(w, r)
	case "crates.test":
		o.crates(w, r)
	case "goproxy.test":
		o.modules(w, r)
	case "apt.test":
		o.debs(w, r)
	}
}

// published stores what is in the envelope of a package that was pushed.
func (o *clientOrigin) published(host string, body []byte) {
	archive := body
	if host == "npm.test" {
		var p struct {
			Attachments map[string]struct{ Data []byte } `json:"_attachments"`
		}
		if err := json.Unmarshal(body, &p); err != nil {
			return // the cell finds nothing stored
		}
		for _, a := range p.Attachments {
			archive = a.Data
		}
	} else if len(body) > 4 { // cargo: the length of what describes the crate, that, the length of the crate, that
		n := 4 + int(uint32(body[0])|uint32(body[1])<<8|uint32(body[2])<<16|uint32(body[3])<<24)
		if n+4 <= len(body) {
			archive = body[n+4:]
		}
	}
	o.storeArchive(archive)
}

// storeArchive stores each file of a gzipped archive. What is none, such as an
// image's config, has no files.
func (o *clientOrigin) storeArchive(b []byte) {
	gz, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return
	}
	for files := tar.NewReader(gz); ; {
		if _, err := files.Next(); err != nil {
			return
		}
		if content, err := io.ReadAll(files); err == nil {
			o.store(content)
		}
	}
}

// tarball is a gzipped archive of the files.
func tarball(names []string, contents ...[]byte) []byte {
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	files := tar.NewWriter(gz)
	for n, name := range names { // into memory, which takes everything
		_ = files.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(contents[n])), Format: tar.FormatUSTAR})
		_, _ = files.Write(contents[n])
	}
	_, _ = files.Close(), gz.Close()
	return b.Bytes()
}

func zipped(names []string, contents ...[]byte) []byte {
	var b bytes.Buffer
	files := zip.NewWriter(&b)
	for n, name := range names { // into memory, which takes everything
		f, _ := files.Create(name)
		_, _ = f.Write(contents[n])
	}
	_ = files.Close()
	return b.Bytes()
}

func (o *clientOrigin) npm(w http.ResponseWriter, r *http.Request) {
	tgz := tarball([]string{"package/package.json", "package/content.bin"}, []byte(`{"name":"held","version":"1.0.0"}`), o.content)
	if strings.HasSuffix(r.URL.Path, ".tgz") {
		w.Write(tgz)
		return
	}
	if r.URL.Path != "/held" {
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, "{}")
		return
	}
	sum := sha512.Sum512(tgz)
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"name":"held","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"name":"held","version":"1.0.0","dist":{"tarball":"https://npm.test/held/-/held-1.0.0.tgz","integrity":"sha512-%s"}}}}`, base64.StdEncoding.EncodeToString(sum[:]))
}

func (o *clientOrigin) pypi(w http.ResponseWriter, r *http.Request) {
	info := "held-1.0.0.dist-info/"
	wheel := zipped([]string{"held/content.bin", info + "METADATA", info + "WHEEL", info + "RECORD"}, o.content,
		[]byte("Metadata-Version: 2.1\nName: held\nVersion: 1.0.0\n"), []byte("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
		[]byte("held/content.bin,,\n"+info+"METADATA,,\n"+info+"WHEEL,,\n"+info+"RECORD,,\n"))
	if strings.HasSuffix(r.URL.Path, ".whl") {
		w.Write(wheel)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprintf(w, `<!DOCTYPE html><a href="/files/held-1.0.0-py3-none-any.whl#sha256=%s">held-1.0.0-py3-none-any.whl</a>`, hexDigest(wheel))
}

func (o *clientOrigin) crates(w http.ResponseWriter, r *http.Request) {
	crate := tarball([]string{"held-1.0.0/Cargo.toml", "held-1.0.0/src/lib.rs", "held-1.0.0/content.bin"}, []byte("[package]\nname = \"held\"\nversion = \"1.0.0\"\nedition = \"2021\"\n"), nil, o.content)
	switch {
	case r.URL.Path == "/config.json":
		io.WriteString(w, `{"dl":"https://crates.test/dl","api":"https://crates.test"}`)
	case strings.HasPrefix(r.URL.Path, "/dl/"):
		w.Write(crate)
	case r.URL.Path == "/he/ld/held":
		fmt.Fprintf(w, `{"name":"held","vers":"1.0.0","deps":[],"cksum":%q,"features":{},"yanked":false}`+"\n", hexDigest(crate))
	case r.URL.Path == "/mi/ne/mine" && o.pushed():
		io.WriteString(w, `{"name":"mine","vers":"1.0.0","deps":[],"cksum":"00","features":{},"yanked":false}`+"\n")
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// pushed reports whether there was a PUT in this client's turn.
func (o *clientOrigin) pushed() bool {
	for _, r := range o.requests() {
		if strings.HasPrefix(r.what, "PUT ") {
			return true
		}
	}
	return false
}

func (o *clientOrigin) modules(w http.ResponseWriter, r *http.Request) {
	mod := []byte("module example.test/held\n")
	switch path.Ext(r.URL.Path) {
	case ".info":
		io.WriteString(w, `{"Version":"v1.0.0","Time":"2026-06-01T00:00:00Z"}`)
	case ".mod":
		w.Write(mod)
	case ".zip":
		w.Write(zipped([]string{"example.test/held@v1.0.0/go.mod", "example.test/held@v1.0.0/content.bin"}, mod, o.content))
	default:
		io.WriteString(w, "v1.0.0\n")
	}
}

func (o *clientOrigin) debs(w http.ResponseWriter, r *http.Request) {
	switch path.Base(r.URL.Path) {
	case "Packages":
		fmt.Fprintf(w, "Package: held\nVersion: 1.0.0\nArchitecture: all\nMaintainer: m <m@example.test>\nDescription: held\nFilename: ./held_1.0.0_all.deb\nSize: %d\nSHA256: %s\n", len(o.content), o.digest)
	case "held_1.0.0_all.deb":
		w.Write(o.content)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// images is a registry of container images: library/held has one layer, with the
// content in it.
func (o *clientOrigin) images(w http.ResponseWriter, r *http.Request, body []byte) {
	base, last := path.Split(r.URL.Path)
	held := o.image()
	switch {
	case r.Method == http.MethodPost: // an upload begins
		w.Header().Set("Location", r.URL.Path+rand.Text())
		w.Header().Set("Range", "0-0")
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodPatch: // in one piece
		o.keep(r.URL.Path, body)
		w.Header().Set("Location", r.URL.Path)
		w.Header().Set("Range", fmt.Sprintf("0-%d", len(body)-1))
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodPut:
		if strings.HasSuffix(base, "/uploads/") {
			if len(body) == 0 {
				body = o.kept(r.URL.Path)
			}
			o.storeArchive(body)
		} else {
			o.keep(last, body)
		}
		digest := "sha256:" + hexDigest(body)
		o.keep(digest, body)
		w.Header().Set("Docker-Content-Digest", digest)
		w.Header().Set("Location", "/v2/library/mine/blobs/"+digest)
		w.WriteHeader(http.StatusCreated)
	case strings.HasSuffix(base, "/manifests/"), strings.HasSuffix(base, "/blobs/"):
		b, ok := held[last]
		if !ok || strings.Contains(base, "/mine/") {
			b = o.kept(last)
		}
		if b == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Docker-Content-Digest", "sha256:"+hexDigest(b))
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		if strings.HasSuffix(base, "/manifests/") {
			w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v2+json")
		}
		if r.Method == http.MethodGet {
			w.Write(b)
		}
	default: // GET /v2/
		io.WriteString(w, "{}")
	}
}

// image is library/held: its manifest by tag and digest, and its blobs by digest.
func (o *clientOrigin) image() map[string][]byte {
	var plain bytes.Buffer
	files := tar.NewWriter(&plain)
	_ = files.WriteHeader(&tar.Header{Name: "content.bin", Mode: 0o644, Size: int64(len(o.content)), Format: tar.FormatUSTAR})
	_, _ = files.Write(o.content)
	_ = files.Close() // into memory, which takes everything
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}`, hexDigest(plain.Bytes()))
	layer := tarball([]string{"content.bin"}, o.content)
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":%d,"digest":"sha256:%s"},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":%d,"digest":"sha256:%s"}]}`,
		len(config), hexDigest(config), len(layer), hexDigest(layer))
	return map[string][]byte{"1": manifest, "sha256:" + hexDigest(manifest): manifest, "sha256:" + hexDigest(config): config, "sha256:" + hexDigest(layer): layer}
}

func (o *clientOrigin) keep(name string, b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.objects[name] = b
}

func (o *clientOrigin) kept(name string) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.objects[name]
}
