package store

// Tidied returns a channel that gets a signal when what was removed is out of
// the write-ahead log. The function ends them.
func (db *DB) Tidied() (<-chan struct{}, func()) { return db.tidied.subscribe() }
