package vault

import (
	"slices"
	"strings"
)

// Fields of a header that a decision is not about: they say who asks, how the
// answer travels or how a call is traced, and clients change them from try to try.
// All others it is about, whatever they mean: a field that nobody here has heard
// of may name the account that pays.
var (
	aside = []string{
		"Accept-Charset", "Accept-Encoding", "Accept-Language", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request", "B3", "Baggage", "Cache-Control",
		"Connection", "Content-Length", "Date", "Dnt", "Expect", "Keep-Alive", "Pragma", "Priority", "Request-Id", "Sec-Gpc", "Sec-Websocket-Extensions",
		"Sec-Websocket-Key", "Sentry-Trace", "Te", "Traceparent", "Tracestate", "Upgrade", "Upgrade-Insecure-Requests", "User-Agent",
		"X-Amzn-Trace-Id", "X-Client-Request-Id", "X-Cloud-Trace-Context", "X-Correlation-Id", "X-Github-Request-Id", "X-Request-Id",
		"X-Stripe-Client-Telemetry", "X-Stripe-Client-User-Agent",
	}
	asidePrefixes = []string{"Sec-Ch-", "Sec-Fetch-", "X-B3-", "X-Datadog-", "X-Stainless-"}

	// What an agent signs in with by itself is part of the decision, and not shown.
	ownCredentials = []string{"Authorization", "Cookie", "X-Api-Key"}
)

// HeldHeader returns the fields of a header, in canonical spelling, that a decision
// is about, in order.
func HeldHeader(h map[string][]string) (fields []HeldField) {
	for name, values := range h {
		if slices.Contains(aside, name) || slices.ContainsFunc(asidePrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		for _, v := range values {
			fields = append(fields, HeldField{Name: name, Value: v})
		}
	}
	slices.SortStableFunc(fields, func(a, b HeldField) int { return strings.Compare(a.Name, b.Name) })
	return fields
}

// hideOwn takes out values of what the agent signs in with.
func hideOwn(fields []HeldField) []HeldField {
	fields = slices.Clone(fields)
	for i, f := range fields {
		if slices.Contains(ownCredentials, f.Name) {
			fields[i].Value, fields[i].Hidden = "", len(f.Value)
		}
	}
	return fields
}
