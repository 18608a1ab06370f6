// Package scrub answers one question about bytes on their way to an agent: do
// they hold a credential of the vault, in any spelling that is listed?
//
// A [Set] is compiled once from all values of a vault and never changes. It
// finds every value in clear, in base64 and base64url at the three alignments
// that it can have inside a longer text (also where the text is broken into
// lines of the usual length), in hex, in UTF-16, and wherever any of these, or
// some of its characters, are percent-encoded, or escaped as in JSON or HTML. Of
// private keys in PEM it finds the lines, and what they spell.
// What is found is overwritten with as many fillers, so that lengths hold.
//
// A [Reader] does that to a body, a [Frames] to the messages of a WebSocket, a
// [Messages] to those of gRPC, compressed or not, and [Decode] takes content
// codings off before. All of them stream. What they hold back of a text that goes on depends on the
// text alone: if it depended on the values, it would tell what they begin with.
//
// The package sees plaintexts: a Set holds every value of its vault. It writes
// none of them anywhere, and logs nothing. The zero Set, and a nil one, find
// nothing.
package scrub
