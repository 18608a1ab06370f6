package store

import (
	"errors"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"agentvault/vault"
)

// diskFault turns what SQLite says of a disk that is full or fails into a
// refusal: nothing was changed, and it may work later. Other errors stay.
func diskFault(err error) error {
	var s *sqlite.Error
	var refused *vault.Error
	if !errors.As(err, &s) || errors.As(err, &refused) {
		return err
	}
	message := "the server's disk fails, so nothing was changed"
	switch code := s.Code(); {
	case code&0xff == sqlite3.SQLITE_FULL, code == sqlite3.SQLITE_IOERR_SHMSIZE: // no room for the index beside the log
		message = "the server's disk is full, so nothing was changed"
	case code&0xff != sqlite3.SQLITE_IOERR: // the low byte is the primary code (https://www.sqlite.org/rescode.html)
		return err
	}
	return &vault.Error{Code: vault.CodeUnavailable, Message: message, Err: err}
}
