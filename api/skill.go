package api

import (
	_ "embed"
	"net/http"
)

// skill is an agent's own manual, as a skill of the open format that agents
// read (agentskills.io): a head of YAML, and text.
//
//go:embed skill.md
var skill string

// Skill returns an agent's own manual, in Markdown.
func Skill() string { return skill }

// agentSkill answers without a token: an agent may read it before it has one,
// and nothing in it is of this instance.
func (s *server) agentSkill(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
	_, _ = w.Write([]byte(skill)) // a client that went away is no concern of ours
}
