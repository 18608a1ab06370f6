// Package when answers one question about a request: does a condition that a
// person wrote hold for it?
//
// Conditions are expressions in CEL, compiled and type-checked once. Asking
// one is arithmetic on an [Input]: it reads no clock, no database and no
// network, changes nothing that can be seen from outside, and costs no more
// than a fixed number of steps, whoever wrote the body of the request.
//
// There are three answers. What cannot be told for certain is [Unknown], the
// zero [Outcome]: a field that is not there, a body that was not read, is too
// long or has two readings. Never is a number rounded, or the first of two
// equal names taken, to come to an answer. docs/conditions.md has the language.
package when
