// Package broker answers one question for both entrances: what becomes of this
// request?
//
// An exchange passes nine stages, always in this order: receive (done by the
// entrance, which pins the target), admit, decide, record intent, resolve,
// inject, send, scrub, record outcome. A stage that refuses answers with a
// [Fault] and nothing after it happens, except the record of the outcome.
//
// Everything that a decision needs stands in a [View], an immutable value that
// is built aside and swapped in with one atomic pointer. An exchange loads the
// View once and never touches the database.
//
// The zero Broker is not usable; [New] returns one that refuses everything
// with 503 until its first View has been published.
package broker
