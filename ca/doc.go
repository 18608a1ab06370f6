// Package ca answers one question: with what certificate does the vault speak
// for a host inside an agent's tunnel?
//
// An [Authority] is one local root (ECDSA P-256) and the leaves that it mints,
// each for exactly one host and one day. The root's key leaves this package
// only through [Authority.KeyPKCS8], to be sealed; the package reads and
// writes no files. Agents trust the root only because `vault run`, or a person,
// put it into their trust store.
//
// There is no usable zero Authority: [Create] makes one, [Load] takes one up.
package ca
