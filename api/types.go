package api

import "time"

// Status is the body of /health and /ready.
type Status struct {
	Status string `json:"status"`
}

// InstanceStatus is the body of /v1/status.
type InstanceStatus struct {
	Initialized    bool `json:"initialized"`
	NeedsFirstUser bool `json:"needs_first_user"`
}

// ServerInfo is the body of GET /v1/server.
type ServerInfo struct {
	Version   string      `json:"version" doc:"Of the product."`
	Revision  string      `json:"revision,omitempty" doc:"Of its source."`
	Go        string      `json:"go"`
	Platform  string      `json:"platform"`
	Schema    int64       `json:"schema" doc:"Of the store."`
	Listeners []Listener  `json:"listeners"`
	Audit     AuditStatus `json:"audit"`
}

// Listener is where a server is reached.
type Listener struct {
	Name    string `json:"name" doc:"As the configuration names it."`
	Address string `json:"address"`
	URL     string `json:"url,omitempty" doc:"By which people and agents are told to reach it."`
}

// AuditStatus is what the audit log finds of itself at little cost: its end is
// read, and not its whole chain.
type AuditStatus struct {
	LastSeq  uint64     `json:"last_seq" doc:"Of the last record; 0: there is none."`
	LastTime *time.Time `json:"last_time" doc:"Of that record."`
	Segments int        `json:"segments" doc:"Files that there are."`
	Checked  int        `json:"checked" doc:"Records at the end that were found to be as they were written."`
	Problem  string     `json:"problem" doc:"What is wrong with the files; empty: nothing was found."`
	LostFrom uint64     `json:"lost_from,omitempty" doc:"The first record that was gone when the server started."`
	LostTo   uint64     `json:"lost_to,omitempty" doc:"The last one."`
}

// Done is the body of answers that have nothing to say.
type Done struct {
	Done bool `json:"done"`
}
