package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A runtimeProbe is a program as people write it, with nothing in it that is
// made for the vault: it gets https://api.test/NAME and prints what comes back.
type runtimeProbe struct {
	name, program string
	args          []string
	file, source  string // written beside, and the last of args; "" has none
	requests      int    // at least; 0: one
}

const goProbe = `package main
import ("io"; "net/http"; "os")
func main() {
	r, err := http.Get("https://api.test/go")
	if err != nil { panic(err) }
	io.Copy(os.Stdout, r.Body)
}`

const javaProbe = `
import java.net.URI;
import java.net.http.*;
public class Fetch {
  public static void main(String[] args) throws Exception {
    var r = HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create("https://api.test/java")).build(), HttpResponse.BodyHandlers.ofString());
    System.out.println(r.body());
    System.out.println(new String(new java.net.URL("https://api.test/java").openConnection().getInputStream().readAllBytes()));
    System.out.println(new String(new java.net.URL("http://plain.test:8080/java").openConnection().getInputStream().readAllBytes()));
  }
}`

const nodeProbe = `
const http = require("http"), https = require("https");
const get = (of, url, options) => new Promise((done, fail) => of.request(url, options || {}, r => {
  let body = ""; r.on("data", d => body += d); r.on("end", () => done(body));
}).on("error", fail).end());
// As agents do that keep what they are given.
class Keeping extends https.Agent {
  createConnection(...args) { const socket = super.createConnection(...args); socket.setNoDelay(true); return socket; }
}
(async () => {
  const agent = new https.Agent({keepAlive: true, maxSockets: 1});
  console.log(await get(https, "https://api.test/node"));
  console.log(await get(https, "https://api.test/node", {agent, method: "POST"}), await get(https, "https://api.test/node", {agent}));
  console.log(await get(https, "https://api.test/node", {agent: new Keeping({keepAlive: true})}));
  console.log(await get(http, "http://plain.test:8080/node"));
  console.log(await (await fetch("https://api.test/fetch", {method: "PUT", body: "sent"})).text());
  const [major, minor] = process.versions.node.split(".").map(Number); // newer ones open a tunnel for http:// too, which is refused
  if (major < 22 || major === 22 && minor < 21) console.log(await (await fetch("http://plain.test:8080/fetch?x=%2F")).text());
  console.log(await get(http, process.env.AGENT_VAULT_ADDR + "/health"), await (await fetch(process.env.AGENT_VAULT_ADDR + "/health")).text());
  agent.destroy();
})();`

var runtimeProbes = []runtimeProbe{
	{name: "wget", program: "wget", args: []string{"-qO-", "https://api.test/wget"}},
	{name: "ruby", program: "ruby", args: []string{"-rnet/http", "-e", `puts Net::HTTP.get(URI("https://api.test/ruby"))`}},
	{name: "perl LWP", program: "perl", args: []string{"-MLWP::UserAgent", "-e", `$r = LWP::UserAgent->new->get("https://api.test/perl"); print $r->status_line, $r->content`}},
	{name: "perl HTTP::Tiny", program: "perl", args: []string{"-MHTTP::Tiny", "-e", `$r = HTTP::Tiny->new->get("https://api.test/perl"); print $r->{content}`}},
	{name: "php", program: "php", args: []string{"-r", `$c = curl_init("https://api.test/php"); curl_setopt($c, CURLOPT_RETURNTRANSFER, true); echo curl_exec($c), curl_error($c);`}},
	{name: "go", program: "go", args: []string{"run", ""}, file: "fetch.go", source: goProbe},
	{name: "node", program: "node", args: []string{""}, file: "fetch.cjs", source: nodeProbe, requests: 6},
	{name: "java", program: "java", args: []string{""}, file: "Fetch.java", source: javaProbe, requests: 3},
}

// goCache is where the compiled standard library is: the children's home is
// empty.
func goCache(t *testing.T) string {
	t.Helper()
	out, err := exec.Command(needs(t, "go"), "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestRuntimes: each gets its answer with the vault's credential on it, with no
// setting but those of vault run, and beside settings of the operator's own.
func TestRuntimes(t *testing.T) {
	w := newWorld(t)
	write := func(name, content string) string {
		path := w.path(name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(".wgetrc", "user_agent = of the operator's file\nca_certificate = /nowhere/roots.pem")
	scan := filepath.Join(w.dir, "php")
	if err := os.Mkdir(scan, 0o700); err != nil {
		t.Fatal(err)
	}
	write("php/operator.ini", "user_agent = operator\n")
	spaced := w.path("with a space") // where the child's folder is
	if err := os.Mkdir(spaced, 0o700); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"PHP_INI_SCAN_DIR=:" + scan, "JAVA_TOOL_OPTIONS=-Doperators=own -Dhttps.proxyHost=corp.example -Dhttps.proxyPort=1", "ALL_PROXY=http://corp.example:1", "NODE_OPTIONS=--no-deprecation",
		"GOCACHE=" + goCache(t), "TMPDIR=" + spaced, "HTTPS_PROXY=http://corp.example:1",
	}
	for _, p := range runtimeProbes {
		t.Run(p.name, func(t *testing.T) {
			program := needs(t, p.program)
			args := append([]string{"vault", "run", "--", program}, p.args...)
			if p.file != "" {
				args[len(args)-1] = write(p.file, p.source)
			}
			out, errs, err := w.runWith(env, args...)
			if err != nil {
				t.Fatalf("%v\n%s%s", err, out, errs)
			}
			w.wantInjected(t, out)
			if n := strings.Count(out, `"Authorization"`); n < max(1, p.requests) {
				t.Errorf("%d answers: %s", n, out)
			}
		})
	}
	t.Run("what the operator set stays", func(t *testing.T) {
		got, errs, err := w.runWith(env, "vault", "run", "--", "sh", "-c", `wget -qO- https://api.test/; php -r 'echo ini_get("user_agent"), " ", ini_get("curl.cainfo"), "\n";'; echo "$JAVA_TOOL_OPTIONS"; node -p 'process.noDeprecation+" "+process.env.NODE_OPTIONS'`)
		if err != nil {
			t.Fatalf("%v\n%s%s", err, got, errs)
		}
		for _, want := range []string{`["of the operator's file"]`, "operator /", "-Doperators=own ", "\ntrue --no-deprecation --require="} {
			if !strings.Contains(got, want) {
				t.Errorf("no %s in\n%s", want, got)
			}
		}
	})
}
