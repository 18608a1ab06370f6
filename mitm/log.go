package mitm

import (
	"bytes"
	"log"
	"log/slog"
)

// serverLog is a server's ErrorLog. net/http writes there what peers sent, and
// the values of panics; so only the fact of a panic and its stack pass, and
// everything else is dropped: the metrics count it.
func serverLog(to *slog.Logger) *log.Logger { return log.New(panicsOnly{to}, "", 0) }

type panicsOnly struct{ log *slog.Logger }

func (w panicsOnly) Write(line []byte) (int, error) {
	first, stack, _ := bytes.Cut(line, []byte("\n"))
	if bytes.HasPrefix(first, []byte("http: panic serving")) || bytes.HasPrefix(first, []byte("http2: panic serving")) {
		w.log.Error("panic in the proxy entrance", "stack", string(stack))
	}
	return len(line), nil
}
