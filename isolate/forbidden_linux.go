package isolate

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// forbidden is an Error that says why the kernel forbids what failed, as far as
// can be told.
func forbidden(err error) error {
	why, todo := reasonUnder("/proc")
	if why != "" {
		err = fmt.Errorf("%w; %s", err, why)
	}
	return &Error{err, todo}
}

// otherwise is what is left to do where namespaces are not to be had.
const otherwise = "; or give it a machine or container of its own whose only network is the proxy, and leave --isolate out"

// reasonUnder looks at the kernel's settings, below the folder that they are in.
func reasonUnder(proc string) (why, todo string) {
	setting := func(name string) string {
		b, err := os.ReadFile(filepath.Join(proc, "sys", name))
		if err != nil {
			return "" // kernels that do not have it forbid nothing by it
		}
		return strings.TrimSpace(string(b))
	}
	switch {
	case setting("user/max_user_namespaces") == "0":
		return "user namespaces are switched off, or this runs inside of an isolated command already (user.max_user_namespaces is 0)",
			"have root run: sysctl -w user.max_user_namespaces=10000" + otherwise
	case setting("kernel/unprivileged_userns_clone") == "0":
		return "user namespaces are root's alone here (kernel.unprivileged_userns_clone is 0)",
			"have root run: sysctl -w kernel.unprivileged_userns_clone=1" + otherwise
	case setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
		return "AppArmor lets only programs with a profile of their own make user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
			"have root give agent-vault such a profile: docs/isolation.md has it" + otherwise
	case statusOf(filepath.Join(proc, "self/status"), "Seccomp") == "2":
		return "a seccomp filter is on this process, as containers have one, and it may be what forbids it",
			"run the container with a seccomp profile that allows unshare and mount" + otherwise
	}
	return "", "docs/isolation.md says what it needs of the kernel" + otherwise
}

// statusOf returns a field of a status file (proc_pid_status(5)).
func statusOf(path, field string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
