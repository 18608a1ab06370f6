// Package vault is the owner of the nouns (vault, credential, service, agent,
// session, user, invite, proposal) and of the rules by which they change. It
// answers one question about a change: may this caller make it, and is it
// sound?
//
// Every command of the [Registry] takes its [Caller] and does its work in one
// transaction. Nothing here speaks HTTP or SQL, and no command returns a
// credential's value: values go in, sealed, and only the broker opens them.
//
// An [Invite] makes one user or one agent, once. A [Proposal] is what an agent
// asks for: it is pending until a person applies or rejects it, or until it
// expires, and what is applied is what that person was shown. No token of an
// agent decides one.
//
// The package also asks what it owns: what policy would say of a request
// ([Registry.CheckPolicy], [Registry.ReplayPolicy]), what agents have requested
// ([Registry.Requests]) and who has changed what ([Registry.Events]). Nothing is
// decided on those records.
//
// The zero [Caller] may do nothing.
package vault
