package policy

// A Limit bounds what goes through a service, or through one of its rules, in the
// shape that people write. It sets exactly one of Requests, Concurrent,
// RequestBytes, ResponseBytes, Uses and Budget. Package limit says what they mean.
type Limit struct {
	Name   string `json:"name,omitempty"`   // of a budget or of uses; "" means the field, or "uses"
	Per    string `json:"per,omitempty"`    // PerService, which "" means, or PerAgent
	Window string `json:"window,omitempty"` // a duration, as in 24h

	Requests      int64  `json:"requests,omitempty"`       // in each window
	Concurrent    int64  `json:"concurrent,omitempty"`     // at once
	RequestBytes  int64  `json:"request_bytes,omitempty"`  // of bodies, in each window
	ResponseBytes int64  `json:"response_bytes,omitempty"` // likewise
	Uses          int64  `json:"uses,omitempty"`           // for good
	Budget        string `json:"budget,omitempty"`         // of the sum of Field, in each window: a decimal number

	Field  string `json:"field,omitempty"`  // of the request's body, as in order.total
	Settle string `json:"settle,omitempty"` // of the answer's body: what it came to
}

// Values of [Limit].Per.
const (
	PerService = "service"
	PerAgent   = "agent"
)
