package main_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScript runs the stories under testdata/script against the built binary,
// each in a folder and with a home of its own. Besides testscript's commands
// there are:
//
//	server [FILE...]      start a server in development mode, with the files' keys
//	                      added; sets AGENT_VAULT_ADDR and PROXY
//	stopserver            stop the server that was started last
//	origin FILE HOST...   start a TLS origin for hosts, and put into FILE the
//	                      keys with which a server finds and trusts it
//	openstream TOKEN VAULT HOST/PATH
//	                      begin an agent's request that is answered for long
//	[!] streamends        the stream has ended within a second, or is open
//	exits STATUS CMD...   run a command that ends with this exit status
//	capture NAME REGEXP   set a variable to the first group in the last output
//
// The binary is on the PATH: exec agent-vault …
func TestScript(t *testing.T) {
	t.Parallel() // some wait for what takes its time
	bin := filepath.Dir(builtBinary(t))
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			env.Setenv("LANG", "C.UTF-8")
			env.Values[streamKey{}] = new(scriptStream)
			env.Values[serverKey{}] = new(scriptServers)
			return os.Mkdir(home, 0o700)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"server":     scriptServer(filepath.Join(bin, "agent-vault")),
			"stopserver": scriptStopServer,
			"origin":     scriptOrigin(t),
			"openstream": scriptOpen,
			"streamends": scriptEnds,
			"exits":      scriptExits,
			"capture":    scriptCapture,
			"held":       scriptHeld,
		},
	})
}

func scriptServer(binary string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("usage: server [FILE...]")
		}
		i := &instance{dir: ts.MkAbs(filepath.Join(ts.Getenv("WORK"), "server"))}
		ts.Check(os.MkdirAll(i.dir, 0o700))
		config := "listen: {api: '127.0.0.1:0', proxy: '127.0.0.1:0'}\ndevelopment: true\ndata_dir: " + i.path("data") + "\n"
		for _, file := range args {
			config += ts.ReadFile(file)
		}
		ts.Check(os.WriteFile(i.path("config.yaml"), []byte(config), 0o600))
		ts.Check(i.launch(binary))
		ts.Value(serverKey{}).(*scriptServers).last = i
		ts.Defer(func() {
			ts.Check(i.halt())
			ts.Logf("[server]\n%s", i.stderr)
		})
		ts.Setenv("AGENT_VAULT_ADDR", i.API)
		ts.Setenv("PROXY", i.Proxy)
	}
}

// scriptServers knows a script's servers.
type scriptServers struct{ last *instance }

type serverKey struct{}

func scriptStopServer(ts *testscript.TestScript, neg bool, args []string) {
	i := ts.Value(serverKey{}).(*scriptServers).last
	if neg || len(args) != 0 || i == nil {
		ts.Fatalf("usage: stopserver, after server")
	}
	ts.Check(i.halt())
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS CMD...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got, err = exit.ExitCode(), nil
	}
	ts.Check(err)
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func scriptCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	found := re.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) != 2 {
		ts.Fatalf("%s matches nothing, or has not one group", args[1])
	}
	ts.Setenv(args[0], found[1])
}
