package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// readConfigFile reads a file in the format that its name ends in. The tree is
// walked here rather than by viper, which does not see a key without a value.
func readConfigFile(v *viper.Viper, path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		var missing *fs.PathError
		if errors.As(err, &missing) {
			err = missing.Err
		}
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	formats := map[string]string{".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}
	format, ok := formats[strings.ToLower(filepath.Ext(path))]
	if !ok {
		return fmt.Errorf("configuration %s: the file's name must end in .yaml, .yml, .json or .toml", path)
	}
	decoder, err := viper.NewCodecRegistry().Decoder(format)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	tree := make(map[string]any)
	if err := decoder.Decode(raw, tree); err != nil {
		return fmt.Errorf("configuration %s: %s", path, oneLine(err.Error()))
	}
	if err := checkKeys(path, tree, ""); err != nil {
		return err
	}
	if format == "yaml" && documents(raw) > 1 {
		return fmt.Errorf("configuration %s: it holds more than one document; only one is read", path)
	}
	return v.MergeConfigMap(tree)
}

// documents counts the documents of a YAML file, up to two.
func documents(raw []byte) int {
	d := yaml.NewDecoder(bytes.NewReader(raw))
	for n := range 2 {
		if d.Decode(new(yaml.Node)) != nil {
			return n
		}
	}
	return 2
}

// oneLine joins what libraries spread over several lines.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// checkKeys refuses keys that are not in the list, at any depth. prefix is ""
// or a group with its delimiter.
func checkKeys(path string, tree map[string]any, prefix string) error {
	for _, spelled := range slices.Sorted(maps.Keys(tree)) {
		name := prefix + strings.ToLower(spelled) // viper knows no case
		shown := strings.ReplaceAll(name, delimiter, ".")
		if slices.ContainsFunc(keys, func(k key) bool { return inner(k.name) == name }) {
			continue
		}
		group := name + delimiter
		if !slices.ContainsFunc(keys, func(k key) bool { return strings.HasPrefix(inner(k.name), group) }) {
			return unknownKey(path, shown)
		}
		below, ok := tree[spelled].(map[string]any)
		if !ok && tree[spelled] != nil {
			return fmt.Errorf("configuration %s: %s: it is a group of keys, not a value", path, shown)
		}
		if err := checkKeys(path, below, group); err != nil {
			return err
		}
	}
	return nil
}

func unknownKey(where, name string) error {
	message := fmt.Sprintf("configuration %s: unknown key %s", where, name)
	best, distance := "", 4
	for _, k := range keys {
		if d := levenshtein.ComputeDistance(name, k.name); d < distance {
			best, distance = k.name, d
		}
	}
	if group, rest, _ := strings.Cut(best, "."); best == name { // written with the dot in it
		message += fmt.Sprintf("; write it as %s: {%s: …}", group, rest)
	} else if best != "" {
		message += "; did you mean " + best + "?"
	}
	return errors.New(message)
}

// otherVariables begin with AGENT_VAULT_ as well and are not configuration.
var otherVariables = append([]string{
	addressVariable, vaultVariable, proxyVariable, masterPasswordVariable, masterPasswordFileVariable, loginTokenVariable, socketVariable, trustStoreVariable,
	inviteVariable, inviteFileVariable,
}, agentTokenVariables...)

// readEnvironment takes AGENT_VAULT_LISTEN_API for listen.api and so on. Lists
// are parted by commas; maps are name=value, parted by commas. An empty
// variable counts as not set.
func readEnvironment(v *viper.Viper, environ []string) error {
	byVariable := make(map[string]key, len(keys))
	for _, k := range keys {
		byVariable["AGENT_VAULT_"+strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))] = k
	}
	for _, entry := range environ {
		variable, text, _ := strings.Cut(entry, "=")
		k, ok := byVariable[variable]
		if !ok {
			if err := checkVariable(variable, byVariable); err != nil {
				return err
			}
			continue
		}
		if text == "" {
			continue
		}
		value, err := k.parse(text)
		if err != nil {
			return fmt.Errorf("configuration %s: %s: %w", variable, k.name, err)
		}
		v.Set(inner(k.name), value)
	}
	return nil
}

// parse turns a variable's text into what the key's default is.
func (k key) parse(text string) (any, error) {
	switch k.def.(type) {
	case []string:
		return strings.Split(text, ","), nil
	case map[string]string:
		m := make(map[string]string)
		for part := range strings.SplitSeq(text, ",") {
			name, to, ok := strings.Cut(part, "=")
			if !ok {
				return nil, fmt.Errorf("%q is not name=address", part)
			}
			m[strings.TrimSpace(name)] = strings.TrimSpace(to)
		}
		return m, nil
	}
	return text, nil
}

// checkVariable refuses a variable of our prefix that is no key: a limit that
// was mistyped must not be a limit that does not hold. What Kubernetes sets for
// a service of the name agent-vault is let be.
func checkVariable(variable string, known map[string]key) error {
	if !strings.HasPrefix(variable, "AGENT_VAULT_") || slices.Contains(otherVariables, variable) ||
		strings.HasPrefix(variable, "AGENT_VAULT_SERVICE_") || variable == "AGENT_VAULT_PORT" || strings.HasPrefix(variable, "AGENT_VAULT_PORT_") {
		return nil
	}
	best, distance := "", 4
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if d := levenshtein.ComputeDistance(variable, name); d < distance {
			best, distance = name, d
		}
	}
	if best == "" {
		return fmt.Errorf("configuration: unknown variable %s", variable)
	}
	return fmt.Errorf("configuration: unknown variable %s; did you mean %s?", variable, best)
}
