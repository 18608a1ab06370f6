package main_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var imageBases = []string{"debian", "alpine", "ubi", "distroless-layer"}

// fragment is what image dockerfile prints.
func fragment(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(builtBinary(t), append([]string{"image", "dockerfile"}, args...)...).Output()
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return string(out)
}

// TestImageDockerfile: each fragment is whole, ends as an ordinary user at the
// entry point, and has no place in which a secret would be kept.
func TestImageDockerfile(t *testing.T) {
	for _, base := range imageBases {
		t.Run(base, func(t *testing.T) {
			text := fragment(t, "--base", base, "--user", "agent:1000")
			var words []string
			stores, variables := "", []string(nil)
			for _, i := range dockerfile(t, text) {
				words = append(words, i.word)
				switch i.word {
				case "ENV":
					variables = i.variables(t)
				case "COPY":
					if !regexp.MustCompile(`^--chmod=0(755|644) [a-z.-]+ /[a-z/.-]+$`).MatchString(i.rest) {
						t.Errorf("COPY %s", i.rest)
					}
					stores += i.rest + "\n"
				case "RUN":
					if base == "distroless-layer" {
						t.Errorf("RUN %s: there is no shell", i.rest)
					}
				}
			}
			want := "USER RUN COPY COPY RUN ENV USER ENTRYPOINT"
			switch base {
			case "ubi": // brings the package along
				want = "USER COPY COPY RUN ENV USER ENTRYPOINT"
			case "distroless-layer":
				want = "USER COPY COPY ENV USER ENTRYPOINT"
			}
			if got := strings.Join(words, " "); got != want {
				t.Errorf("instructions %s, want %s", got, want)
			}
			if !strings.HasSuffix(text, "\nUSER agent:1000\nENTRYPOINT [\"/usr/local/bin/agent-vault\", \"vault\", \"run\", \"--invite\", \"--\"]\n") {
				t.Errorf("the end of\n%s", text)
			}
			for _, entry := range variables {
				name, value, _ := strings.Cut(entry, "=")
				if strings.HasPrefix(name, "AGENT_VAULT_") || strings.HasSuffix(name, "_PROXY") && name != "NODE_USE_ENV_PROXY" {
					t.Errorf("%s stays in the image", entry)
				}
				if strings.HasPrefix(value, "/") && !strings.Contains(stores, value) && !slices.Contains([]string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"}, value) {
					t.Errorf("%s: nothing puts it there", entry)
				}
			}
			if strings.Contains(text, "av_") || strings.Contains(text, "\nARG ") {
				t.Errorf("a secret has a place in\n%s", text)
			}
		})
	}
}

func TestImageMisused(t *testing.T) {
	for _, args := range [][]string{{}, {"--base", "windows"}, {"--base", "debian", "--user", "a\nRUN id"}, {"--base", "debian", "--user", ""}, {"--base", "debian", "--user", "$USER"}} {
		out, err := exec.Command(builtBinary(t), append([]string{"image", "dockerfile"}, args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "agent-vault: --") || strings.Contains(string(out), "ENTRYPOINT") {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}

// TestImageVariables: the fragment names the roots in no other variables than
// vault run does.
func TestImageVariables(t *testing.T) {
	needs(t, "sh")
	i := newInstance(t, "")
	i.register()
	env := "\n" + i.must("", "vault", "run", "--", "sh", "-c", "env")
	for _, in := range dockerfile(t, fragment(t, "--base", "debian")) {
		if in.word == "ENV" {
			for _, entry := range in.variables(t) {
				if name, _, _ := strings.Cut(entry, "="); !strings.Contains(env, "\n"+name+"=") {
					t.Errorf("vault run does not set %s", name)
				}
			}
		}
	}
}

// TestHadolint: a linter of Dockerfiles finds nothing, but for a package whose
// version is not given: roots are meant to be the newest.
func TestHadolint(t *testing.T) {
	hadolint, err := exec.LookPath("hadolint")
	if err != nil {
		t.Skip("needs hadolint, which is not installed; make images brings it")
	}
	for _, base := range imageBases {
		path := t.TempDir() + "/Dockerfile"
		if err := os.WriteFile(path, []byte("FROM registry.example.com/base:1.0\n"+fragment(t, "--base", base)), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(hadolint, "--no-color", "--ignore", "DL3008", "--ignore", "DL3018", path).CombinedOutput(); err != nil || len(out) != 0 {
			t.Errorf("%s: %v\n%s", base, err, out)
		}
	}
	if out, err := exec.Command(hadolint, "--no-color", "../../configs/server.Dockerfile").CombinedOutput(); err != nil || len(out) != 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
