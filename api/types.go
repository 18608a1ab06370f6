package api

// Status is the body of /health and /ready.
type Status struct {
	Status string `json:"status"`
}

// InstanceStatus is the body of /v1/status.
type InstanceStatus struct {
	Initialized    bool `json:"initialized"`
	NeedsFirstUser bool `json:"needs_first_user"`
}

// Done is the body of answers that have nothing to say.
type Done struct {
	Done bool `json:"done"`
}
