package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
)

//go:embed static
var staticFiles embed.FS

//go:embed templates
var templateFiles embed.FS

// An asset is a file that pages load. Its URL has its digest, so that browsers
// may keep it.
type asset struct {
	content []byte
	kind    string
	url     string
}

func readAssets() (map[string]asset, error) {
	entries, err := fs.ReadDir(staticFiles, "static")
	if err != nil {
		return nil, err
	}
	assets := make(map[string]asset, len(entries))
	for _, e := range entries {
		content, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		assets[e.Name()] = asset{content, kinds[path.Ext(e.Name())], "/static/" + hex.EncodeToString(sum[:8]) + "/" + e.Name()}
	}
	return assets, nil
}

// kinds are those of the files that there are; what the system says of suffixes
// does not matter.
var kinds = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
	".txt": mime.FormatMediaType("text/plain", map[string]string{"charset": "utf-8"}),
}

func serveAsset(v *visit) error {
	a, ok := v.assets[v.r.PathValue("name")]
	if !ok || a.url != v.r.URL.Path {
		return refusal{http.StatusNotFound, "There is no such file."}
	}
	h := v.w.Header()
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Content-Type", a.kind)
	h.Del("Vary")
	_, _ = v.w.Write(a.content) // a client that went away is no concern of ours
	return nil
}
