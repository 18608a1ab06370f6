package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// comparison is a measure of a target, held against what it is held against.
// ok is false where there is nothing to compare with.
func (r *result) comparison(t *target, m measure) (spread, bool) {
	values := r.values[t.name][m.name]
	base := r.base(t, m)
	if base == "" {
		return spread{}, false
	}
	with := r.values[base][m.name]
	if len(values) == 0 || len(with) == 0 {
		return spread{}, false
	}
	if m.against == beyondDirect {
		return spreadOf(differences(values, with)), true
	}
	return spreadOf(ratios(values, with)), true
}

// of says whether a measure says anything of a target.
func (m measure) of(t *target) bool { return !m.noDirect || t.entrance != entranceDirect }

// base names the target that a measure of t is held against.
func (r *result) base(t *target, m measure) string {
	switch {
	case m.against == nothing:
	case t.base != "":
		return t.base
	case m.against == ratioToReference:
		if t.entrance != entranceDirect {
			return t.entrance + "/reference"
		}
	case m.against == beyondDirect:
		return entranceDirect
	}
	return ""
}

// print writes a table for people.
func (r *result) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s (%s)\n", r.scenario.title, r.scenario.name)
	for _, row := range r.rows() {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// against is what ratios are taken to.
func (s scenario) against() string {
	if s.variants != nil {
		return "× " + s.variants[0].name
	}
	return "× reference"
}

// rows is the table, its head first.
func (r *result) rows() [][]string {
	head := []string{"target"}
	for _, m := range r.scenario.measures {
		head = append(head, strings.TrimSuffix(m.title+", "+m.unit, ", "))
		switch m.against {
		case ratioToReference:
			head = append(head, r.scenario.against())
		case beyondDirect:
			head = append(head, "more than direct")
		}
	}
	rows := [][]string{head}
	for _, t := range r.targets {
		row := []string{t.name}
		for _, m := range r.scenario.measures {
			values, ok := r.values[t.name][m.name]
			if ok = ok && m.of(t); ok {
				row = append(row, spreadOf(values).figure())
			} else {
				row = append(row, "")
			}
			if m.against == nothing {
				continue
			}
			if c, comparable := r.comparison(t, m); ok && comparable {
				row = append(row, c.compared())
			} else {
				row = append(row, "")
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func (s spread) figure() string { return number(s.Median) }

// compared shows the range too.
func (s spread) compared() string {
	if s.Min == s.Max {
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s to %s)", number(s.Median), number(s.Min), number(s.Max))
}

// number has about three digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
