package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"golang.org/x/term"

	"agentvault/api/shown"
)

// A screen is where a person reads what an agent asks for. What the agent wrote
// is quoted, and what deceives is shown as escapes.
type screen struct {
	paint style
	width int
}

func screenOf(w io.Writer) screen { return screen{styleOf(w), widthOf(w)} }

// Widths of lines that hold foreign text, in columns.
const (
	usualWidth  = 80
	leastWidth  = 40
	widestWidth = 120
)

// widthOf is how wide a line may be. Foreign text is broken before the terminal
// does it: what a terminal breaks begins at the edge, and could pass for ours.
func widthOf(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return min(max(width, leastWidth), widestWidth)
		}
	}
	return usualWidth
}

// broken breaks a harmless line into pieces of at most so many columns, behind
// a space where there is one.
func broken(line string, width int) (pieces []string) {
	begin, space, used := 0, 0, 0
	for i, r := range line {
		columns := 1
		if r >= 0x1100 { // Hangul and what follows may take two
			columns = 2
		}
		if used+columns > width {
			end := i
			if space > begin+(i-begin)/2 {
				end = space
			}
			pieces = append(pieces, line[begin:end])
			begin, used = end, 0
			for _, r := range line[end:i] {
				used++
				if r >= 0x1100 {
					used++
				}
			}
		}
		used += columns
		if r == ' ' {
			space = i + 1
		}
	}
	return append(pieces, line[begin:])
}

// quote writes the words of somebody else, each line behind a bar.
func quote(w io.Writer, width int, indent, words string) {
	for _, line := range shown.Lines(words) {
		for _, piece := range broken(line, width-len(indent)-len("| ")) {
			fmt.Fprintf(w, "%s| %s\n", indent, piece)
		}
	}
}

// diff shows what is different between two texts, as unified diffs do. The
// texts hold no character that deceives.
func (s screen) diff(w io.Writer, beforeName, before, afterName, after string) {
	text := string(diff.Diff(plain(beforeName), []byte(before), plain(afterName), []byte(after)))
	_, text, _ = strings.Cut(text, "\n") // the command that is not one
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		colour := func(s string) string { return s }
		switch {
		case strings.HasPrefix(line, "+"):
			colour = s.paint.green
		case strings.HasPrefix(line, "-"):
			colour = s.paint.red
		}
		for i, piece := range broken(line, s.width-len("+   ... ")) {
			if i > 0 {
				piece = line[:1] + "   ... " + piece
			}
			fmt.Fprintln(w, colour(piece))
		}
	}
}

// shownHost is the host of a service with the domain that somebody registered
// set off, as in api.[github.com], and, where it has A-labels, what those stand
// for.
func shownHost(pattern string) string { return shown.HostOf(pattern).String() }
