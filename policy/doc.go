// Package policy answers one question about a request: may it leave, and for
// which service?
//
// Services are compiled once into a [Set], which never changes afterwards.
// Asking a Set is arithmetic on its arguments: it reads no clock, no database
// and no network, so two nodes at the same revision cannot disagree.
//
// Canonical hosts live here too: [ParseTarget] for what agents send and
// [CanonicalPattern] for what people configure share one grammar, so that what
// is compared was spelled by one hand.
//
// The zero [Decision] denies, and so does a nil Set. Code that forgets to
// decide fails closed.
package policy
