package main

import (
	"bytes"
	_ "embed"
	"os"
	"strings"
	"text/template"
)

//go:embed benchmarks.md.tmpl
var page string

// writeMarkdown writes the page of the run.
func (b *bench) writeMarkdown(path string) error {
	t, err := template.New("").Funcs(template.FuncMap{"table": markdownTable}).Parse(page)
	if err != nil {
		return err
	}
	type section struct {
		recordScenario
		Rows [][]string
		Noun string
	}
	data := struct {
		record
		Glance    [][]string
		Scenarios []section
	}{record: b.record(), Glance: b.glance()}
	for i, r := range b.results {
		noun := r.scenario.noun
		if noun == "" {
			noun = "requests"
		}
		data.Scenarios = append(data.Scenarios, section{data.record.Scenarios[i], r.rows(), noun})
	}
	var text bytes.Buffer
	if err := t.Execute(&text, data); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}

// glance is the figures that have a goal, of each build at both entrances.
func (b *bench) glance() [][]string {
	head := []string{"", "goal, at most"}
	for _, v := range b.vaults {
		head = append(head, "path/"+v.name, "mitm/"+v.name)
	}
	rows := [][]string{head}
	for _, r := range b.results {
		for _, m := range r.scenario.measures {
			if m.goal == "" {
				continue
			}
			row := []string{r.scenario.title + ": " + m.title, m.goal}
			for _, name := range head[2:] {
				row = append(row, r.cell(name, m))
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// cell is a measure of a target in a few words; of variants, the last one's.
func (r *result) cell(name string, m measure) string {
	text := ""
	for _, t := range r.targets {
		if plain, _, _ := strings.Cut(t.name, ", "); plain != name || len(r.values[t.name][m.name]) == 0 {
			continue
		}
		text = strings.TrimSpace(spreadOf(r.values[t.name][m.name]).figure() + " " + m.unit)
		if c, ok := r.comparison(t, m); ok && m.against == beyondDirect {
			text = c.compared() + " " + m.unit + " more"
		} else if ok {
			text += ", **" + number(c.Median) + "×**" + strings.TrimPrefix(c.compared(), number(c.Median))
		}
	}
	return text
}

// markdownTable spells rows, the head first.
func markdownTable(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|---" + strings.Repeat("|---:", len(row)-1) + "|\n")
		}
	}
	return b.String()
}
