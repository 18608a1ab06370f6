// Package vault is the owner of the nouns (vault, credential, service, agent,
// session, user) and of the rules by which they change. It answers one
// question about a change: may this caller make it, and is it sound?
//
// Every command of the [Registry] takes its [Caller] and does its work in one
// transaction. Nothing here speaks HTTP or SQL, and no command returns a
// credential's value: values go in, sealed, and only the broker opens them.
//
// The zero [Caller] may do nothing.
package vault
