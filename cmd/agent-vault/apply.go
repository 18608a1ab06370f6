package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"agentvault/api"
	"agentvault/vault"
)

func applyCommand(std stdio) *cobra.Command {
	var file string
	var o output
	c := &cobra.Command{
		Use:   "apply",
		Short: "Declare vaults, services and credentials",
		Long: `Make vaults, services and credentials be as a file declares them.

What the file does not mention stays as it is; the services that it gives for a
vault replace all of that vault's. Credentials' values never stand in the file:
they come from the environment (from: "env:NAME") or another file (from:
"file:PATH"; one line break at its end is left out). Applying the same again
changes nothing.`,
		Example: `  agent-vault apply -f vault.yaml
  agent-vault apply -f - < vault.yaml
  agent-vault apply -f vault.yaml -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				return &usageError{errors.New("-f is missing: it names the file, or - for standard input")}
			}
			request, err := readDeclaration(file, std.in)
			if err != nil {
				return err
			}
			return signedIn(c, func(client *api.Client) error {
				answer, err := client.Apply(c.Context(), request)
				if err != nil {
					return err
				}
				return o.print(c.OutOrStdout(), answer, func(w io.Writer) { printChanges(w, answer.Changes) })
			})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "declaration (YAML or JSON); - for standard input")
	o.add(c)
	return c
}

func printChanges(w io.Writer, changes []vault.Change) {
	unchanged := 0
	for _, ch := range changes {
		if ch.Action == vault.Unchanged {
			unchanged++
			continue
		}
		fmt.Fprintf(w, "%-9s %s %s/%s\n", ch.Action, ch.Kind, ch.Vault, ch.Name)
	}
	fmt.Fprintf(w, "%d changed, %d unchanged\n", len(changes)-unchanged, unchanged)
}

// A declaration is the file's shape.
type declaration struct {
	Vaults []declaredVault `json:"vaults"`
}

type declaredVault struct {
	Name           string                        `json:"name"`
	UnmatchedHosts string                        `json:"unmatched_hosts"`
	Services       []vault.Service               `json:"services"`
	Credentials    map[string]declaredCredential `json:"credentials"`
}

// A declaredCredential says where a value is found.
type declaredCredential struct{ from string }

// UnmarshalJSON takes {"from": "…"} only. Its errors do not repeat what stood
// there, which may be a value.
func (d *declaredCredential) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	var from string
	if json.Unmarshal(b, &fields) != nil || len(fields) != 1 || json.Unmarshal(fields["from"], &from) != nil {
		return errInline
	}
	if kind, name, _ := strings.Cut(from, ":"); kind != "env" && kind != "file" || name == "" {
		return errInline
	}
	d.from = from
	return nil
}

var errInline = errors.New(`a credential is written {from: "env:NAME"} or {from: "file:PATH"}; values never stand in the declaration`)

const (
	maxDeclaration = 16 << 20 // bytes
	maxValueFile   = 64 << 10 // bytes
)

// readDeclaration reads a declaration and fetches its values.
func readDeclaration(file string, stdin io.Reader) (api.ApplyRequest, error) {
	raw, err := readBounded(file, stdin)
	if err != nil {
		return api.ApplyRequest{}, err
	}
	d, err := parseDeclaration(raw)
	if err != nil {
		return api.ApplyRequest{}, fmt.Errorf("%s: %w", file, err)
	}
	var request api.ApplyRequest
	for _, v := range d.Vaults {
		av := api.ApplyVault{Name: v.Name, UnmatchedHosts: v.UnmatchedHosts, Services: v.Services, Credentials: make(map[string]string)}
		for key, c := range v.Credentials {
			value, err := c.value()
			if err != nil {
				return api.ApplyRequest{}, fmt.Errorf("%s: vault %s: credential %s: %w", file, v.Name, key, err)
			}
			av.Credentials[key] = value
		}
		request.Vaults = append(request.Vaults, av)
	}
	return request, nil
}

func readBounded(file string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxDeclaration+1))
	if err == nil && len(raw) > maxDeclaration { // what was cut off might read as a whole
		err = fmt.Errorf("%s: it is longer than %d MiB", file, maxDeclaration>>20)
	}
	return raw, err
}

// parseDeclaration reads YAML, of which JSON is a part, by way of JSON, so
// that services are read by the same code as the API's.
func parseDeclaration(raw []byte) (declaration, error) {
	var document any
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return declaration{}, errors.New("it is empty")
		}
		return declaration{}, errors.New(strings.Join(strings.Fields(err.Error()), " "))
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return declaration{}, errors.New("it holds more than one document")
	}
	asJSON, err := json.Marshal(document)
	if err != nil {
		return declaration{}, errors.New("its keys must be text")
	}
	if err := checkFields(document); err != nil {
		return declaration{}, err
	}
	var d declaration
	j := json.NewDecoder(bytes.NewReader(asJSON))
	j.DisallowUnknownFields()
	if err := j.Decode(&d); err != nil {
		return declaration{}, declarationError(err)
	}
	if len(d.Vaults) == 0 {
		return declaration{}, errors.New("it declares no vaults; the first line of one is \"vaults:\", and a list follows")
	}
	return d, nil
}

// checkFields names the place of a field that there is not. What stands in a
// service is the service's own affair.
func checkFields(document any) error {
	top, ok := document.(map[string]any)
	if !ok && document != nil {
		return errors.New("it must be a map; the first line of one is \"vaults:\"")
	}
	if err := onlyFields(top, "", "vaults"); err != nil {
		return err
	}
	vaults, _ := top["vaults"].([]any) // another type is refused with the rest
	for i, v := range vaults {
		fields, _ := v.(map[string]any)
		if err := onlyFields(fields, fmt.Sprintf("vaults[%d].", i), "name", "unmatched_hosts", "services", "credentials"); err != nil {
			return err
		}
	}
	return nil
}

func onlyFields(m map[string]any, where string, known ...string) error {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(known, name) {
			return fmt.Errorf("there is no field %s%s", where, name)
		}
	}
	return nil
}

func declarationError(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s: a %s does not fit", wrong.Field, wrong.Value)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// value fetches a credential's value.
func (d declaredCredential) value() (string, error) {
	v, err := d.fetch()
	if err == nil && !utf8.ValidString(v) { // JSON would put U+FFFD in the place of what is not
		err = errors.New("the value is not UTF-8")
	}
	return v, err
}

func (d declaredCredential) fetch() (string, error) {
	kind, name, _ := strings.Cut(d.from, ":")
	if kind == "env" {
		v, ok := os.LookupEnv(name)
		if !ok || v == "" {
			return "", fmt.Errorf("the variable %s is not set", name)
		}
		return v, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxValueFile+2))
	if err != nil {
		return "", err
	}
	// Editors end files with a line break; it is no part of the value.
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}
