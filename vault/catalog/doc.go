// Package catalog answers one question: how is a well-known API entered into a
// vault? For each it knows the hosts, the kind of auth with its header or
// parameter, and where a person gets the credential.
//
// The catalog is data, one file per API below entries, and embedded; README.md
// describes the files. What [Entry.Instantiate] returns is a proposal like any
// other: it goes through the same checks, and nothing is stored or sent here.
// A wildcard never stands in an entry. Where each customer has a host of their
// own below a domain that strangers share, the entry has a [Tenant], and the
// person names theirs.
//
// The zero [Entry] has no services, and the zero [Tenant] means that the
// entry's hosts are the same for everyone.
package catalog
