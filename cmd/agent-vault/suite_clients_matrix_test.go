package main_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const clientMatrix = "../../docs/clients/matrix.md"

// A clientResult is a row of the matrix.
type clientResult struct {
	row     clientRow
	version string // "": it is not there
	cells   map[string]string
}

// TestClients runs every client that is there in every way that it knows, and
// with -update writes the matrix. What fails must be what clients.yaml says, and
// what it says must fail.
func TestClients(t *testing.T) {
	if os.Getenv(suitesVariable) == "" {
		t.Skip("needs the clients, which make clients brings (docs/suites.md)")
	}
	w := newClientWorld(t)
	if out, err := exec.Command("go", "build", "-o", filepath.Join(w.work, "nethttp/client"), "testdata/clients/nethttp/main.go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rows := readClients(t)
	var results []clientResult
	for _, row := range rows {
		t.Run(row.Name, func(t *testing.T) {
			result := w.runClient(t, row, clientCells)
			results = append(results, result)
			if result.version == "" {
				t.Skipf("needs %s: not run", row.Name)
			}
			t.Logf("%s: %v", result.version, result.cells)
		})
	}
	// Whatever a program shows, the person has it.
	if refused := w.must("", "logs", "--status", "refused"); len(results) == len(rows) && strings.Count(refused, "refused.test") < 30 {
		t.Errorf("logs --status refused has not what was refused:\n%s", refused)
	}
	if flag.Lookup("update").Value.String() == "true" && len(results) == len(rows) && !t.Failed() {
		if err := os.WriteFile(clientMatrix, []byte(writeMatrix(results)), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// TestClientsAtHand runs those that are quick and likely there, in short.
func TestClientsAtHand(t *testing.T) {
	w := newClientWorld(t)
	for _, row := range readClients(t) {
		if row.Quick {
			t.Run(row.Name, func(t *testing.T) {
				needs(t, strings.Fields(row.Version)[0])
				w.runClient(t, row, []string{"plain", "upload", "refused"})
			})
		}
	}
}

// runClient runs the cells of a row, and holds them against what the row says.
func (w *clientWorld) runClient(t *testing.T, row clientRow, cells []string) clientResult {
	t.Helper()
	result := clientResult{row: row, version: w.version(row), cells: make(map[string]string)}
	for _, cell := range cells {
		command := row.command(cell)
		switch {
		case command == "":
			result.cells[cell] = cellNone
			continue
		case result.version == "":
			result.cells[cell] = cellNotRun
			continue
		}
		got, problem := w.try(cell, command, row.Flags)
		if why := row.why(cell); (why == "") != (got == cellYes) {
			t.Errorf("%s: %s, and clients.yaml says %q: %s", cell, got, why, problem)
		}
		if got != cellYes && row.Recipe != nil {
			got = w.tryRecipe(t, row, cell, got)
		}
		result.cells[cell] = got
	}
	return result
}

// tryRecipe runs a cell that came to got with the row's recipe.
func (w *clientWorld) tryRecipe(t *testing.T, row clientRow, cell, got string) string {
	t.Helper()
	command := commandOf(row.Recipe.Run, row.Recipe.Driver, row.Does, cell)
	if command == "" {
		return got
	}
	got, problem := w.try(cell, command, append(slices.Clone(row.Flags), row.Recipe.Flags...))
	if still := row.Recipe.Still[cell]; (still == "") != (got == cellYes) {
		t.Errorf("%s, with the recipe: %s, and clients.yaml says %q: %s", cell, got, still, problem)
	}
	if got == cellYes {
		return cellRecipe
	}
	return got
}

// clientHeads are the columns' names.
var clientHeads = map[string]string{
	"plain": "request", "stream": "streamed answer", "upload": "upload", "http2": "HTTP/2", "events": "events (SSE)", "websocket": "WebSocket", "refused": "reason of a refusal",
}

const matrixPreamble = `<!-- Written by make clients. Do not edit: the rows are in cmd/agent-vault/testdata/clients/clients.yaml. -->
# Clients

Unmodified programs and libraries under ` + "`agent-vault vault run -- …`" + `, each with nothing but what that puts into their environment, against real TLS origins on loopback. A cell passes by what the origin saw and handed out: every request had the vault's credential, an answer or a file came back with the same SHA-256, an upload arrived with it, the second event was sent when the first had been read. ` + "`make clients`" + ` runs all of them and writes this page.

- **yes**: as it is.
- **recipe**: with what stands under [What to do](#what-to-do); that was run too.
- **no**: not at all; the reason is there as well.
- **403**: of a refusal a person sees the status, and not the reason.
- **–**: the client has no such thing. **not run**: it was not installed.

What a program shows of a refusal is its own doing: the vault answers with JSON that says why, and what to do ([faults.md](../faults.md)). Of libraries, "yes" means that a program gets hold of it. Whatever is shown, ` + "`agent-vault logs --status refused`" + ` has the reason, and ` + "`agent-vault hosts`" + ` the command that adds the host.
`

// writeMatrix spells the page.
func writeMatrix(results []clientResult) string {
	var b strings.Builder
	b.WriteString(matrixPreamble)
	group := ""
	for _, r := range results {
		if r.row.Group != group {
			group = r.row.Group
			fmt.Fprintf(&b, "\n## %s\n\n| client | version |", group)
			for _, cell := range clientCells {
				fmt.Fprintf(&b, " %s |", clientHeads[cell])
			}
			b.WriteString("\n|" + strings.Repeat("---|", len(clientCells)+2) + "\n")
		}
		fmt.Fprintf(&b, "| %s | %s |", r.row.Name, strings.TrimPrefix(r.version, "v"))
		for _, cell := range clientCells {
			fmt.Fprintf(&b, " %s |", r.cells[cell])
		}
		b.WriteString("\n")
	}
	b.WriteString("\n## What to do\n\n")
	for _, r := range results {
		if said := r.row.notes(); said != "" {
			fmt.Fprintf(&b, "- **%s**: %s\n", r.row.Name, said)
		}
	}
	return b.String()
}

// notes are what the page says of a row besides its cells.
func (r clientRow) notes() string {
	var said []string
	for _, cell := range append([]string{"all"}, clientCells...) {
		if why := r.Fails[cell]; why != "" {
			if head := clientHeads[cell]; head != "" {
				why = head + ": " + why
			}
			said = append(said, why+".")
		}
	}
	if r.Recipe != nil {
		said = append(said, "Recipe: "+r.Recipe.Say+".")
		for _, cell := range clientCells {
			if still := r.Recipe.Still[cell]; still != "" {
				said = append(said, "Not even so, "+clientHeads[cell]+": "+still+".")
			}
		}
	}
	if r.Note != "" {
		said = append(said, r.Note+".")
	}
	return strings.Join(said, " ")
}

// TestClientMatrix: the page has every row, each with cells that can be, and says
// why of each that is not "yes".
func TestClientMatrix(t *testing.T) {
	page, err := os.ReadFile(clientMatrix)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(page), matrixPreamble) {
		t.Error("the page begins otherwise: make clients writes it")
	}
	found := make(map[string][]string)
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|"); strings.HasPrefix(line, "| ") {
			found[strings.TrimSpace(cells[0])] = cells
		}
	}
	rows := readClients(t)
	if len(rows) < 30 {
		t.Errorf("%d rows, and there must be 30", len(rows))
	}
	for _, row := range rows {
		cells := found[row.Name]
		if len(cells) != len(clientCells)+2 {
			t.Errorf("%s: the page has %q: make clients writes it", row.Name, cells)
			continue
		}
		for n, cell := range clientCells {
			got := strings.TrimSpace(cells[n+2])
			switch {
			case got == cellNotRun && row.command(cell) != "":
			case (got == cellNone) != (row.command(cell) == ""):
				t.Errorf("%s, %s: %q on the page", row.Name, cell, got)
			case !slices.Contains([]string{cellYes, cellRecipe, cellNo, cellStatus, cellNone}, got):
				t.Errorf("%s, %s: %q is nothing that a cell says", row.Name, cell, got)
			case (got == cellYes || got == cellNone) == (row.why(cell) != "" && got != cellNone):
				t.Errorf("%s, %s: %s on the page, and clients.yaml says %q", row.Name, cell, got, row.why(cell))
			}
		}
		if said := row.notes(); said != "" && !strings.Contains(string(page), "- **"+row.Name+"**: "+said+"\n") {
			t.Errorf("%s: the page does not say %q", row.Name, said)
		}
	}
}
