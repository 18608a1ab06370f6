package api

import "strconv"

// Page is what lists that may grow long take. Their routes embed it:
//
//	type logsIn struct {
//		Vault string `query:"vault"`
//		Page
//	}
//
// An answer holds at most Limit entries and, if there are more, says in
// next_cursor what to send as cursor to get them. A cursor is opaque and fits
// the same route with the same other parameters only. Lists that are small by
// nature, such as a vault's services, come whole.
type Page struct {
	Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"How many entries to answer with, at most."`
	Cursor string `query:"cursor" doc:"The next_cursor of the answer before."`
}

// NextPage is embedded in the answers of such lists.
type NextPage struct {
	// NextCursor is "" in the last answer.
	NextCursor string `json:"next_cursor,omitempty" doc:"Send this as cursor to get what comes next. Left out when nothing does."`
}

// number reads the cursor of a list by number: what comes next is below it. 0
// begins with the newest.
func (p Page) number() (int64, error) {
	if p.Cursor == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(p.Cursor, 10, 64)
	if err != nil || n < 1 {
		return 0, bad("the query parameter cursor is not one of this list's")
	}
	return n, nil
}
