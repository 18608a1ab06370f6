// Package gallery holds attacks on Agent Vault: requests of hostile agents and
// answers of hostile upstreams, as data in testdata, each with what must happen.
// testdata/README.md describes the format.
//
// Its tests drive the built binary: a real server with a data folder of its
// own, agents' connections byte by byte, and origins on loopback that record
// every byte they are sent. What the product promises is judged by code of this
// package alone: its spellings of a credential and its search for them are not
// the product's.
//
// The package has no code but tests.
package gallery
