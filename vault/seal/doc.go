// Package seal answers one question: who can read this stored value? Only the
// holder of the master key, and only under the context (vault, credential,
// field, version) that the value was sealed for.
//
// A master (a person's password or a key file) wraps one random data key, kept
// in a [Keyring]. The data key gives every vault a [Key] of its own, and that
// key seals values into boxes with AES-256-GCM.
//
// Nothing in this package logs, stores or prints a value. The zero [Key] seals
// and opens nothing; the zero [Plaintext] is empty.
package seal
