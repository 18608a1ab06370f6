package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestSkillLiterally does what the agent's manual says, command by command, as
// it stands there: discover, call by both entrances, be refused, ask, wait, and
// call again.
func TestSkillLiterally(t *testing.T) {
	needs(t, "curl")
	needs(t, "sh")
	ca := newAuthority(t, "Origin CA")
	o := startOrigin(t, ca.leaf(t, "api.github.com", "api.stripe.com"), false, originHandler())
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/origin.pem", ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	i := newInstance(t, fmt.Sprintf("upstream: {ca_file: %s/origin.pem, hosts: {api.github.com: '%s', api.stripe.com: '%[2]s'}}\nnetwork: {allow: [127.0.0.0/8]}\n", dir, o.Addr))
	i.register()
	i.apply("vaults: [{name: default, services: [{name: github, host: api.github.com, auth: {type: bearer, token: GITHUB_TOKEN}}], credentials: {GITHUB_TOKEN: {from: 'file:GITHUB_TOKEN'}}}]",
		map[string]string{"GITHUB_TOKEN": "ghp-0123456789abcdef"})
	manual := i.ask("GET", "/v1/skills/agent-vault", "", "", "")
	if manual.status != 200 || !strings.HasPrefix(manual.header.Get("Content-Type"), "text/markdown") {
		t.Fatalf("%d %v", manual.status, manual.header)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(manual.body, -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) != 6 {
		t.Fatalf("%d blocks of commands, and this test knows 6", len(blocks))
	}
	for _, token := range []string{i.agentToken("reader", "default"), i.token()} { // an agent's own, and a session
		agent := &literalAgent{t, i, token}
		agent.wants(blocks[0], `"api.github.com"`, `"GITHUB_TOKEN"`)
		agent.wants(blocks[1], `"uri":"/user"`, "Bearer ****")
		agent.wants(blocks[2], `"uri":"/user"`, "Bearer ****")
		agent.wants(blocks[3], "-----BEGIN CERTIFICATE-----")
	}

	agent := &literalAgent{t, i, i.agentToken("asker", "default")}
	retry := `curl -sS -i https://api.stripe.com/v1/charges/ch_17`
	byPath := `curl -sS -i -H "Authorization: Bearer $AGENT_VAULT_SESSION_TOKEN" -H "X-Vault: $AGENT_VAULT_VAULT" "$AGENT_VAULT_ADDR/proxy/api.stripe.com/v1/charges/ch_17"`
	for _, command := range []string{retry, byPath} {
		agent.wants(command, "X-Agent-Vault-Proxy-Error: true", `"error":"forbidden"`, `"proposal_hint"`)
	}
	agent.wants(strings.Replace(retry, "curl", `curl -x "http://unknown:default@${HTTPS_PROXY#*@}"`, 1), "CONNECT tunnel failed, response 407")
	agent.wants(blocks[4], `"id":1`, `"status":"pending"`, `"approval_url":"http://`)
	owner := i.login()
	var review struct{ Digest string }
	if err := json.Unmarshal([]byte(i.ask("GET", "/v1/proposals/1/review?vault=default", owner, "", "").body), &review); err != nil {
		t.Fatal(err)
	}
	i.ask("POST", "/v1/proposals/1/approve?vault=default", owner, "", fmt.Sprintf(`{"digest":%q,"credentials":{"STRIPE_KEY":"sk-0123456789abcdef"}}`, review.Digest)).object(t, 200)
	agent.wants(blocks[5], `"status":"applied"`)
	agent.wants(retry, " 200 ", `"uri":"/v1/charges/ch_17"`)
	agent.wants(byPath, " 200 ", `"uri":"/v1/charges/ch_17"`)
	agent.wants(strings.Replace(byPath, "curl", "curl -X POST", 1), `"error":"method_not_allowed"`, `"allowed_methods":["GET"]`)
}

// A literalAgent runs commands as an agent that has a token and no login.
type literalAgent struct {
	t     *testing.T
	i     *instance
	token string
}

func (a *literalAgent) runs(commands string) string {
	a.t.Helper()
	cmd := exec.Command(builtBinary(a.t), "vault", "run", "--", "sh", "-c", commands)
	cmd.Env = a.i.env("HOME="+a.t.TempDir(), "AGENT_VAULT_SESSION_TOKEN="+a.token, "AGENT_VAULT_PROXY="+a.i.Proxy)
	out, _ := cmd.CombinedOutput() // what matters is what it says
	if strings.Contains(string(out), "0123456789abcdef") {
		a.t.Errorf("%s\nshows a credential:\n%s", commands, out)
	}
	return string(out)
}

func (a *literalAgent) wants(commands string, parts ...string) {
	a.t.Helper()
	said := a.runs(commands)
	for _, part := range parts {
		if !strings.Contains(strings.ToLower(said), strings.ToLower(part)) { // names of fields
			a.t.Errorf("%s\nsays\n%s\nwithout %s", commands, said, part)
		}
	}
}
