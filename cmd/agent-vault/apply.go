package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"agentvault/api"
	"agentvault/vault"
)

func applyCommand() *cobra.Command {
	var file fileFlag
	var dryRun, short bool
	var sure confirmation
	var o output
	c := &cobra.Command{
		Use:   "apply",
		Short: "Declare vaults, services and credentials",
		Long: `Make vaults, services and credentials be as a file declares them.

What the file does not mention stays as it is; the services that it gives for a
vault replace all of that vault's. Credentials' values never stand in the file:
they come from the environment (from: "env:NAME") or another file (from:
"file:PATH"; one line break at its end is left out). Applying the same again
changes nothing.

A service that several vaults have is written once, in a list "services:" at the
top, and stands in each vault as {use: NAME}. Fields beside "use" take the place of
its own.

On a terminal it asks before services are deleted, unless --yes is given. With
--dry-run it says what would change, and changes nothing.`,
		Example: `  agent-vault apply -f vault.yaml
  agent-vault apply -f vault.yaml --dry-run
  agent-vault apply -f - < vault.yaml
  agent-vault apply -f vault.yaml -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			std := stdioOf(c)
			if err := file.check(c); err != nil {
				return err
			}
			request, err := readDeclaration(string(file), std.in)
			if err != nil {
				return err
			}
			request.AllowShort = short
			if !dryRun && !sure.yes && onTerminal(std) {
				if err := confirmDeletions(c, request, &sure); err != nil {
					return err
				}
			}
			request.DryRun = dryRun
			return printAnswer(c, &o, func(client *api.Client) (api.ApplyResponse, error) {
				before := servicesBefore(c.Context(), client, request)
				answer, err := client.Apply(c.Context(), request)
				if err == nil {
					warnApplied(std.err, request, before, answer.Changes)
					sayMissingOf(c, client, request)
				}
				return answer, err
			}, func(w io.Writer, answer api.ApplyResponse) {
				printChanges(w, styleOf(c.OutOrStdout()), answer.Changes, dryRun)
			})
		},
	}
	file.add(c, "declaration (YAML or JSON)")
	allowShort(c, &short)
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say what would change, and change nothing")
	sure.add(c)
	o.add(c)
	return c
}

// servicesBefore are the services of the vaults that a declaration names, as they
// are. A vault that is not there yet, or cannot be read, has none: that is for
// apply itself to say.
func servicesBefore(ctx context.Context, client *api.Client, request api.ApplyRequest) map[string][]vault.Service {
	before := make(map[string][]vault.Service)
	for _, v := range request.Vaults {
		if list, err := client.Services(ctx, v.Name); err == nil {
			before[v.Name] = list.Services
		}
	}
	return before
}

// warnApplied warns of protections that what was created or updated turns off,
// and of short values.
func warnApplied(w io.Writer, request api.ApplyRequest, before map[string][]vault.Service, changes []vault.Change) {
	changed := make(map[vault.Change]bool) // without what was done
	for _, ch := range changes {
		changed[vault.Change{Vault: ch.Vault, Kind: ch.Kind, Name: ch.Name}] = ch.Action != vault.Unchanged
	}
	for _, v := range request.Vaults {
		for _, s := range v.Services {
			if changed[vault.Change{Vault: v.Name, Kind: "service", Name: s.Name}] {
				var was *vault.Service
				if at := slices.IndexFunc(before[v.Name], func(b vault.Service) bool { return b.Name == s.Name }); at >= 0 {
					was = &before[v.Name][at]
				}
				sayWarnings(w, append(vault.EndWarnings(was, s, time.Now()), vault.SwitchWarnings(was, s)...))
			}
		}
		set := maps.Clone(v.Credentials)
		maps.DeleteFunc(set, func(key, _ string) bool {
			return !changed[vault.Change{Vault: v.Name, Kind: "credential", Name: key}]
		})
		warnShort(w, set)
	}
}

// sayMissingOf tells the person which credentials of a declaration that was applied
// have no value yet.
func sayMissingOf(c *cobra.Command, client *api.Client, request api.ApplyRequest) {
	for _, v := range request.Vaults {
		if request.DryRun || len(v.Services) == 0 {
			continue
		}
		_ = sayMissing(c, client, v.Name, v.Services) // it was applied, whether this can be told or not
	}
}

// confirmDeletions shows what would change and asks, if services would be
// deleted.
func confirmDeletions(c *cobra.Command, request api.ApplyRequest, sure *confirmation) error {
	request.DryRun = true
	would, err := byPerson(c, func(client *api.Client) (api.ApplyResponse, error) { return client.Apply(c.Context(), request) })
	if err != nil {
		return err
	}
	deleted := 0
	for _, ch := range would.Changes {
		if ch.Action == vault.Deleted {
			deleted++
		}
	}
	if deleted == 0 {
		return nil
	}
	std := stdioOf(c)
	printChanges(std.err, styleOf(std.err), would.Changes, true)
	return sure.ask(std, "Apply it, and delete %s?", counted(deleted, "service"))
}

// counted is a number of things: 1 service, 2 services.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func printChanges(w io.Writer, paint style, changes []vault.Change, dryRun bool) {
	unchanged := 0
	for _, ch := range changes {
		if ch.Action == vault.Unchanged {
			unchanged++
			continue
		}
		action := fmt.Sprintf("%-9s", ch.Action)
		switch ch.Action {
		case vault.Created:
			action = paint.green(action)
		case vault.Deleted:
			action = paint.red(action)
		}
		fmt.Fprintf(w, "%s %s %s/%s\n", action, ch.Kind, plain(ch.Vault), plain(ch.Name))
	}
	changed := "changed"
	if dryRun {
		changed = "would change"
	}
	fmt.Fprintf(w, "%d %s, %d unchanged\n", len(changes)-unchanged, changed, unchanged)
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

var errInline = hint(errors.New("the value of a credential never stands in the declaration"), `write {from: "env:NAME"} or {from: "file:PATH"}`)

const maxDeclaration = 16 << 20 // bytes

// readDeclaration reads a declaration and fetches its values.
func readDeclaration(file string, stdin io.Reader) (api.ApplyRequest, error) {
	d, err := readParsed(file, stdin, parseDeclaration)
	if err != nil {
		return api.ApplyRequest{}, err
	}
	var request api.ApplyRequest
	for _, v := range d.Vaults {
		av := api.ApplyVault{Name: v.Name, UnmatchedHosts: v.UnmatchedHosts, Services: v.Services, Credentials: make(map[string]string)}
		for key, c := range v.Credentials {
			value, err := valueFrom(c.from)
			if err != nil {
				return api.ApplyRequest{}, fmt.Errorf("%s: vault %s: credential %s: %w", file, v.Name, key, err)
			}
			av.Credentials[key] = value
		}
		request.Vaults = append(request.Vaults, av)
	}
	return request, nil
}

// readParsed reads a file. Errors of parse are given its name.
func readParsed[T any](file string, stdin io.Reader, parse func([]byte) (T, error)) (out T, err error) {
	raw, err := readBounded(file, stdin)
	if err != nil {
		return out, err
	}
	if out, err = parse(raw); err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return out, err
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

// parseDeclaration reads a declaration by way of JSON, so that services are read
// by the same code as the API's.
func parseDeclaration(raw []byte) (declaration, error) {
	document, _, err := readDocument(raw)
	if err != nil {
		return declaration{}, err
	}
	if err := checkFields(document); err != nil {
		return declaration{}, err
	}
	if err := useTemplates(document); err != nil {
		return declaration{}, err
	}
	asJSON, err := json.Marshal(document)
	if err != nil { // it was JSON before
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

// readDocument reads one document of YAML, of which JSON is a part, and returns
// it as JSON too.
func readDocument(raw []byte) (document any, asJSON []byte, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil, errors.New("it is empty")
		}
		return nil, nil, errors.New(strings.Join(strings.Fields(err.Error()), " "))
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("it holds more than one document")
	}
	if asJSON, err = json.Marshal(document); err != nil {
		return nil, nil, errors.New("its keys must be text")
	}
	return document, asJSON, nil
}

// checkFields names the place of a field that there is not. What stands in a
// service is the service's own affair.
func checkFields(document any) error {
	top, ok := document.(map[string]any)
	if !ok && document != nil {
		return errors.New("it must be a map; the first line of one is \"vaults:\"")
	}
	if err := onlyFields(top, "", "vaults", "services"); err != nil {
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
	var own *hinted
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &wrong):
		return fmt.Errorf("%s: a %s does not fit", wrong.Field, wrong.Value)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}
