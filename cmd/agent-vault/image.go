package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func imageCommand() *cobra.Command {
	return group("image", "Make images whose programs use the vault", imageDockerfileCommand())
}

// An imageBase is a family of images, by where they keep the roots that they
// trust.
type imageBase struct {
	name   string
	before string // puts there what the rest needs; "": nothing
	source string // what to have beside the Dockerfile
	file   string // where that goes
	after  string // makes the bundle of it; "": it is one
	bundle string // all roots in one file
	alone  string // the vault's root, or the bundle where that is all there is
}

const (
	caSource     = "agent-vault-ca.crt"
	bundleSource = "agent-vault-bundle.crt"
)

// imageBases has the ways of update-ca-certificates(8) and update-ca-trust(8).
var imageBases = []imageBase{
	{
		name: "debian",
		before: `RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
`,
		source: caSource, file: "/usr/local/share/ca-certificates/agent-vault.crt", alone: "/usr/local/share/ca-certificates/agent-vault.crt",
		after: "RUN update-ca-certificates\n", bundle: "/etc/ssl/certs/ca-certificates.crt",
	},
	{
		name:   "alpine",
		before: "RUN apk add --no-cache ca-certificates\n",
		source: caSource, file: "/usr/local/share/ca-certificates/agent-vault.crt", alone: "/usr/local/share/ca-certificates/agent-vault.crt",
		after: "RUN update-ca-certificates\n", bundle: "/etc/ssl/certs/ca-certificates.crt",
	},
	{
		name:   "ubi",
		source: caSource, file: "/etc/pki/ca-trust/source/anchors/agent-vault.crt", alone: "/etc/pki/ca-trust/source/anchors/agent-vault.crt",
		after: "RUN update-ca-trust extract\n", bundle: "/etc/pki/tls/certs/ca-bundle.crt",
	},
	{ // has no shell: what it needs is made outside
		name:   "distroless-layer",
		source: bundleSource, file: "/etc/ssl/certs/ca-certificates.crt", bundle: "/etc/ssl/certs/ca-certificates.crt", alone: "/etc/ssl/certs/ca-certificates.crt",
	},
}

// imageTrust are the variables of programs that do not look where the system
// keeps its roots, for what is started beside the entry point too: vault run
// sets them for its command.
var imageTrust = []string{
	"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "AWS_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
}

// imageAdds are those of programs that trust what is there besides their own.
var imageAdds = []string{"NODE_EXTRA_CA_CERTS", "DENO_CERT"}

func imageDockerfileCommand() *cobra.Command {
	var base string
	user := "65532:65532"
	names := make([]string, len(imageBases))
	for i, b := range imageBases {
		names[i] = b.name
	}
	c := &cobra.Command{
		Use: "dockerfile", Short: "Print the end of a Dockerfile, for an image that starts behind a vault", Args: noArgs,
		Long: `Print the end of a Dockerfile. It puts the vault's root where images of this kind
keep the roots that they trust, names it to programs that look elsewhere, and makes
agent-vault the entry point: when a container starts, it redeems a one-time invite
(agent-vault vault run --invite) and runs the image's command with what it gets.

Nothing secret is in the image: the root certificate is public, and the invite comes
when a container is started, best as a file (AGENT_VAULT_INVITE_FILE). Beside the
Dockerfile there must be this program, built for Linux with CGO_ENABLED=0, and the
root certificate. No server is asked.`,
		Example: `  agent-vault image dockerfile --base debian >> Dockerfile
  agent-vault ca export > agent-vault-ca.crt
  docker run -e AGENT_VAULT_INVITE_FILE=/run/secrets/invite -v ./invite:/run/secrets/invite:ro my-agent`,
		RunE: func(c *cobra.Command, _ []string) error {
			at := slices.IndexFunc(imageBases, func(b imageBase) bool { return b.name == base })
			if at < 0 {
				return misused(c, "--base is %s", strings.Join(names, ", "))
			}
			if !imageUser.MatchString(user) {
				return misused(c, "--user is a user's number or name, perhaps with a group: 1000:1000")
			}
			_, err := io.WriteString(c.OutOrStdout(), imageBases[at].fragment(user))
			return err
		},
	}
	c.Flags().StringVar(&base, "base", "", "what the image is made of: "+strings.Join(names, ", "))
	c.Flags().StringVar(&user, "user", user, "who runs the command, as USER has it")
	completeFlag(c, "base", fixed(names...))
	return c
}

// imageUser is what stands in USER here: nothing that a Dockerfile reads as more.
var imageUser = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]*(:[a-zA-Z0-9_][a-zA-Z0-9_.-]*)?$`)

// fragment is the end of a Dockerfile.
func (b imageBase) fragment(user string) string {
	var f strings.Builder
	fmt.Fprintf(&f, "# Made by: agent-vault image dockerfile --base %s\n# Beside this file, and nothing of it secret:\n", b.name)
	f.WriteString("#   CGO_ENABLED=0 GOOS=linux go build -o agent-vault ./cmd/agent-vault\n")
	if b.source == bundleSource {
		fmt.Fprintf(&f, "#   { cat /etc/ssl/certs/ca-certificates.crt; agent-vault ca export; } > %s\n", b.source)
	} else {
		fmt.Fprintf(&f, "#   agent-vault ca export > %s\n", b.source)
	}
	f.WriteString("# A container gets its invite when it starts, in the file that AGENT_VAULT_INVITE_FILE\n# names, or in AGENT_VAULT_INVITE; never by ARG or ENV.\n")
	f.WriteString("USER 0\n" + b.before)
	f.WriteString("COPY --chmod=0755 agent-vault /usr/local/bin/agent-vault\n")
	fmt.Fprintf(&f, "COPY --chmod=0644 %s %s\n%s", b.source, b.file, b.after)
	f.WriteString("ENV NODE_USE_ENV_PROXY=1")
	for _, name := range imageTrust {
		fmt.Fprintf(&f, " \\\n    %s=%s", name, b.bundle)
	}
	for _, name := range imageAdds {
		fmt.Fprintf(&f, " \\\n    %s=%s", name, b.alone)
	}
	fmt.Fprintf(&f, "\nUSER %s\nENTRYPOINT [\"/usr/local/bin/agent-vault\", \"vault\", \"run\", \"--invite\", \"--\"]\n", user)
	return f.String()
}
