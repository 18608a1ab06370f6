package main_test

import (
	"os"
	"strings"
	"testing"
)

// What docs/requests.md says of programs that cannot send proxy credentials, as
// it stands there.

// TestJava: java.net.http over HTTP/2 too, which takes a proxy from system
// properties and sends it no credentials, and what it says of a refusal.
func TestJava(t *testing.T) {
	needs(t, "java")
	w := newWorld(t)
	source := w.path("Fetch.java")
	if err := os.WriteFile(source, []byte(`
import java.net.URI;
import java.net.http.*;
public class Fetch {
  public static void main(String[] args) throws Exception {
    for (String url : args) {
      var r = HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(url)).build(), HttpResponse.BodyHandlers.ofString());
      System.out.println(r.statusCode() + " " + r.version() + " " + r.body());
    }
    var old = new java.net.URL(args[0]).openConnection();
    System.out.println(new String(old.getInputStream().readAllBytes()));
  }
}`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, err := w.run("", "vault", "run", "--", "java", source, "https://api.test/java", "https://modern.test/java", "https://unknown.test/")
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, errs)
	}
	for _, want := range []string{"200 HTTP_2 ", `"proto":"HTTP/1.1"`, `"proto":"HTTP/2.0"`, "403 ", `"proposal_hint"`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s%s", want, out, errs)
		}
	}
	if n := strings.Count(out, "Bearer "+strings.Repeat("*", len(worldCredentials["API_KEY"]))); n != 3 {
		t.Errorf("the credential was injected %d times:\n%s%s", n, out, errs)
	}
}

// TestChromium takes a proxy by a flag, and would ask a person for credentials.
func TestChromium(t *testing.T) {
	needs(t, "chromium")
	needs(t, "certutil")
	w := newWorld(t)
	out, errs := w.ownPort(t, `
set -e
mkdir -p "$HOME/.pki/nssdb"
certutil -d sql:"$HOME/.pki/nssdb" -N --empty-password
certutil -d sql:"$HOME/.pki/nssdb" -A -n agent-vault -t C,, -i "$NODE_EXTRA_CA_CERTS"
chromium --headless --no-sandbox --disable-gpu --user-data-dir="$HOME/profile" --proxy-server="$HTTPS_PROXY" --dump-dom https://modern.test/chromium`)
	if !strings.Contains(out, "Bearer "+strings.Repeat("*", len(worldCredentials["API_KEY"]))) || !strings.Contains(out, "/chromium") {
		t.Errorf("the origin got no credential:\n%s%s", out, errs)
	}
}
