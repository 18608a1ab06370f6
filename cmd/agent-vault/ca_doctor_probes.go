package main

import "regexp"

// A probe is a runtime, and the request that it is tried with. In args, {dir} is
// the doctor's folder and {port} the proxy without credentials.
type probe struct {
	name, program string
	version       []string // arguments that make it say its version; nil: none
	args          []string
	env           []string
	stdin         string
	needs         []string       // arguments with which it must end well to be tried
	lacking       string         // the note if not
	usesPort      bool           // {port} is in args
	answered      *regexp.Regexp // what it says when it has the vault's answer; nil: ourAnswer
	note          string         // why it is never tried

	trusts string // what it trusts by itself
	fix    string // what makes it work by itself
	runFix string // what makes it work under vault run, if it is nothing common
}

// doctorURL is on a host that cannot exist (RFC 6761 §6.4). No vault lets it
// tunnel, so each refuses it inside, behind TLS.
const doctorHost, doctorURL = "doctor.agent-vault.invalid", "https://doctor.agent-vault.invalid/"

// Lines that mend.
const (
	systemFix    = "agent-vault ca export | sudo tee /usr/local/share/ca-certificates/agent-vault.crt && sudo update-ca-certificates"
	untrustedFix = "its own settings name other roots, and win over the environment: take them out, or add what agent-vault ca export prints to them"
	otherFix     = "its own settings may name another proxy, which wins over the environment: take it out"
	wayFix       = "export AGENT_VAULT_PROXY=http://HOST:14322   # where the proxy entrance is; it must be reachable from here, and no other proxy be set"
	portFix      = "agent-vault vault run --proxy-port -- …"
	bundleFix    = "agent-vault ca export > agent-vault-ca.pem && export NODE_EXTRA_CA_CERTS=$PWD/agent-vault-ca.pem"
	nodeFix      = "take Node 22.21 or 24.5 and newer, or send its requests to $AGENT_VAULT_ADDR/proxy/HOST/PATH"

	systemRootsOf = "the system's roots"
	opensslRoots  = "SSL_CERT_FILE, or the system's roots"
)

const pythonProgram = `
import urllib.request, urllib.error
try:
    urllib.request.urlopen("` + doctorURL + `")
except urllib.error.HTTPError as e:
    print(e.read().decode())
`

const nodeHTTPS = `require("https").get("` + doctorURL + `", r => r.pipe(process.stdout)).on("error", e => { console.error(String(e)); process.exit(1) })`

const fetchProgram = `fetch("` + doctorURL + `").then(r => r.text()).then(t => console.log(t), e => console.error(String(e), String(e.cause)))`

// The classes of the JDK's own two clients.
const javaProgram = `
import java.net.*;
import java.net.http.*;
public class Doctor {
  public static void main(String[] args) throws Exception {
    var old = (HttpURLConnection) new URL("` + doctorURL + `").openConnection();
    old.getResponseCode();
    var body = old.getErrorStream();
    System.out.println(body == null ? "" : new String(body.readAllBytes()));
    var r = HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create("` + doctorURL + `")).build(), HttpResponse.BodyHandlers.ofString());
    if (r.statusCode() == 403) System.out.println("both: " + r.body());
  }
}
`

const (
	rubyProgram = `puts Net::HTTP.get(URI("` + doctorURL + `"))`
	perlProgram = `my $r = HTTP::Tiny->new(verify_SSL => 1)->get("` + doctorURL + `"); print $r->{content}`
	phpProgram  = `$c = curl_init("` + doctorURL + `"); curl_setopt($c, CURLOPT_RETURNTRANSFER, true); echo curl_exec($c), curl_error($c);`
)

var probes = []probe{
	{name: "curl", program: "curl", version: []string{"--version"}, args: []string{"-sS", doctorURL}, trusts: "CURL_CA_BUNDLE, " + opensslRoots, fix: systemFix},
	{name: "wget", program: "wget", version: []string{"--version"}, args: []string{"-O-", "--no-verbose", "--content-on-error", "--tries=1", doctorURL},
		trusts: "ca_certificate of ~/.wgetrc, or " + systemRootsOf, fix: systemFix},
	{name: "git", program: "git", version: []string{"--version"}, args: []string{"-c", "credential.helper=", "ls-remote", doctorURL + "doctor.git"},
		env: []string{"GIT_CURL_VERBOSE=1", "GIT_TERMINAL_PROMPT=0"}, answered: regexp.MustCompile(`returned error: 403`),
		trusts: "GIT_SSL_CAINFO, http.sslCAInfo, or " + systemRootsOf, fix: systemFix},
	{name: "gh", program: "gh", version: []string{"--version"}, args: []string{"api", "/"}, env: []string{"GH_TOKEN=none", "GH_ENTERPRISE_TOKEN=none", "GH_HOST=" + doctorHost},
		trusts: opensslRoots, fix: systemFix},
	{name: "openssl", program: "openssl", version: []string{"version"}, usesPort: true,
		args:   []string{"s_client", "-quiet", "-verify_return_error", "-proxy", "{port}", "-connect", doctorHost + ":443", "-servername", doctorHost, "-verify_hostname", doctorHost},
		stdin:  "GET / HTTP/1.0\r\nHost: " + doctorHost + "\r\n\r\n",
		trusts: opensslRoots, fix: systemFix},
	{name: "python", program: "python3", version: []string{"--version"}, args: []string{"-c", pythonProgram}, trusts: opensslRoots, fix: systemFix},
	{name: "python-requests", program: "python3", version: []string{"-c", "import requests; print(requests.__version__)"},
		needs: []string{"-c", "import requests"}, lacking: "requests is not installed for this Python",
		args:   []string{"-c", `import requests; print(requests.get("` + doctorURL + `").text)`},
		trusts: "REQUESTS_CA_BUNDLE, or certifi's roots", fix: systemFix + " && export REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt"},
	{name: "node", program: "node", version: []string{"--version"}, args: []string{"-e", nodeHTTPS}, trusts: "NODE_EXTRA_CA_CERTS, and Node's own roots", fix: bundleFix + " NODE_USE_ENV_PROXY=1   # from Node 22.21 and 24.5", runFix: nodeFix},
	{name: "node-fetch", program: "node", version: []string{"--version"}, needs: []string{"-e", "fetch"}, lacking: "this Node has no fetch",
		args: []string{"-e", fetchProgram}, trusts: "NODE_EXTRA_CA_CERTS, and Node's own roots", fix: bundleFix + " NODE_USE_ENV_PROXY=1   # from Node 22.21 and 24.5", runFix: nodeFix},
	{name: "npm", program: "npm", version: []string{"--version"}, args: []string{"ping", "--registry", doctorURL, "--fetch-retries=0", "--loglevel=http", "--cache", "{dir}/npm"},
		answered: regexp.MustCompile(`403 Forbidden - GET`), trusts: "cafile of .npmrc, NODE_EXTRA_CA_CERTS, and Node's own roots", fix: systemFix + " && npm config set cafile /etc/ssl/certs/ca-certificates.crt"},
	{name: "deno", program: "deno", version: []string{"--version"}, args: []string{"eval", fetchProgram}, trusts: "DENO_CERT, and Mozilla's roots", fix: systemFix + " && export DENO_TLS_CA_STORE=system"},
	{name: "bun", program: "bun", version: []string{"--version"}, args: []string{"-e", fetchProgram}, trusts: "NODE_EXTRA_CA_CERTS, and Bun's own roots", fix: bundleFix},
	{name: "java", program: "java", version: []string{"-version"}, needs: []string{"--describe-module", "jdk.compiler"}, lacking: "it takes a JDK of version 11 or newer to run the check",
		args: []string{"{dir}/Doctor.java"}, answered: regexp.MustCompile(`both: .*"proposal_hint"`),
		trusts: "javax.net.ssl.trustStore, or the JVM's cacerts", fix: "it takes no proxy from its environment: use vault run", runFix: portFix},
	{name: "go", program: "go", version: []string{"version"}, args: []string{"list", "-m", doctorHost + "/x@v1.0.0"},
		env:      []string{"GOPROXY=" + doctorURL, "GONOPROXY=", "GONOSUMDB=*", "GOFLAGS=", "GOTOOLCHAIN=local", "GO111MODULE=on"},
		answered: regexp.MustCompile(`: 403 Forbidden`), trusts: opensslRoots, fix: systemFix},
	{name: "ruby", program: "ruby", version: []string{"--version"}, args: []string{"-rnet/http", "-e", rubyProgram}, trusts: opensslRoots, fix: systemFix},
	{name: "perl", program: "perl", version: []string{"-e", "print $^V"}, needs: []string{"-MHTTP::Tiny", "-MIO::Socket::SSL", "-e1"}, lacking: "IO::Socket::SSL is not installed",
		args: []string{"-MHTTP::Tiny", "-e", perlProgram}, trusts: opensslRoots, fix: systemFix},
	{name: "php", program: "php", version: []string{"--version"}, needs: []string{"-r", `exit(extension_loaded("curl") ? 0 : 1);`}, lacking: "its curl extension is not installed",
		args: []string{"-r", phpProgram}, trusts: "curl.cainfo, or " + systemRootsOf, fix: systemFix},
	{name: "cargo", program: "cargo", version: []string{"--version"}, args: []string{"search", "--registry", "doctor", "x"}, env: []string{"CARGO_REGISTRIES_DOCTOR_INDEX=sparse+" + doctorURL},
		trusts: "CARGO_HTTP_CAINFO, http.cainfo, or " + systemRootsOf, fix: systemFix},
	{name: "aws", program: "aws", version: []string{"--version"}, args: []string{"s3", "ls", "--endpoint-url", doctorURL, "--no-sign-request", "--region", "us-east-1"},
		env: []string{"AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1"}, answered: regexp.MustCompile(`occurred \(403\)`),
		trusts: "AWS_CA_BUNDLE, ca_bundle, or its own roots", fix: systemFix + " && export AWS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt"},

	{name: "docker", program: "docker", note: "its daemon pulls images, with an environment and roots of its own: give its service HTTPS_PROXY, and the system the certificate", trusts: "the daemon's system"},
	{name: "chromium", program: "chromium", note: "it takes its proxy from a flag and its roots from NSS: vault run --proxy-port, and docs/requests.md", trusts: "NSS"},
	{name: "dotnet", program: "dotnet", note: "it runs no program without a project; vault run sets HTTPS_PROXY and SSL_CERT_FILE, which it takes on Linux", trusts: opensslRoots},
}

func probeNames() (names []string) {
	for _, p := range probes {
		names = append(names, p.name)
	}
	return names
}
