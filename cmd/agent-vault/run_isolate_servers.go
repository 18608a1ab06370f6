package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// dataOfServers returns the data folders of this user's servers on this machine,
// and their files of passwords, as far as their command lines tell, below the
// folder of a /proc. What a server
// was told by its environment is not to be seen. The error is of those of which
// it cannot be told.
func dataOfServers(proc string) (paths []string, err error) {
	processes, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	var unknown error
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		args := serverArgs(filepath.Join(proc, p.Name()))
		if args == nil {
			continue
		}
		of, err := dataOf(args)
		if err != nil {
			unknown = errors.Join(unknown, fmt.Errorf("the data folder of the server that is process %s cannot be told (%w)", p.Name(), err))
			continue
		}
		paths = append(paths, of...)
	}
	return paths, unknown
}

// serverArgs are the arguments of a server of this user's; nil is another
// process, or one that has ended meanwhile.
func serverArgs(process string) []string {
	line, err := os.ReadFile(filepath.Join(process, "cmdline"))
	if err != nil {
		return nil
	}
	words := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	at := slices.Index(words, "server")
	if filepath.Base(words[0]) != "agent-vault" || at < 1 {
		return nil
	}
	status, err := os.ReadFile(filepath.Join(process, "status"))
	if err != nil || !strings.Contains(string(status), fmt.Sprintf("\nUid:\t%d\t", os.Getuid())) {
		return nil
	}
	return words[at+1:]
}

func dataOf(args []string) ([]string, error) {
	c := serverCommand()
	if err := c.ParseFlags(args); err != nil {
		return nil, err
	}
	if path, err := c.Flags().GetString("config"); err != nil || path != "" && !filepath.IsAbs(path) {
		return nil, errors.Join(err, errors.New("its configuration is named from its own working folder"))
	}
	cfg, err := loadConfig(c.Flags(), nil)
	if err != nil {
		return nil, err
	}
	paths := []string{cfg.DataDir}
	if cfg.EgressPasswordFile != "" {
		paths = append(paths, cfg.EgressPasswordFile)
	}
	return paths, nil
}
