// Package audit answers one question: what was recorded on this node, and is
// all of it still there?
//
// A [Log] is an append-only file of JSON objects, one per line, that is cut
// into segments. Each line ends in a "mac", HMAC-SHA256 over the mac before it
// and the line itself, so that no line can be changed, dropped or moved without
// breaking the chain; the chain goes on over all segments. [Verify] walks it
// and names the first bad record. [Export] copies it out, with a [Checkpoint]
// that whoever has the public key can check without the key of the chain.
//
// What a record says is its writer's business: this package knows "seq",
// "time" and "kind", which every record has, and the three kinds that it writes
// itself. It never sees a credential, and decides nothing.
//
// The zero Log is not usable; [Open] returns one.
package audit
